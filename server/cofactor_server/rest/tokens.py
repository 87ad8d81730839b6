"""Tokens over HTTP: the token endpoint, revocation, introspection (W1.1 and W3)."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc.aio
from cofactor.v1 import tokens_pb2 as pb
from cofactor.v1 import tokens_pb2_grpc
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server import errors
from cofactor_server.rest import bodies, credentials, kinds, openapi
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.bodies import Body
from cofactor_server.rest.errors import Refusal, answer, answered

TIMEOUT = 10.0  # seconds

_AUTH0 = "http://auth0.com/oauth/grant-type/"


def _target(body: Body) -> pb.TokenTarget:
    target = pb.TokenTarget(
        scope=body.text("scope"), audience=body.text("audience"), acr_values=body.text("acr_values").split()
    )
    if (max_age := body.whole_number("max_age")) is not None:
        target.max_age.seconds = max_age
    return target


def _password(body: Body) -> pb.IssueTokenRequest:
    if body.has("realm"):  # auth-js sends it with the plain grant
        return _password_realm(body)
    name, password = body.required("username"), body.required("password")
    return pb.IssueTokenRequest(password=pb.PasswordGrant(username=name, password=password, target=_target(body)))


def _password_realm(body: Body) -> pb.IssueTokenRequest:
    name, password, realm = body.required("username"), body.required("password"), body.required("realm")
    grant = pb.PasswordRealmGrant(username=name, password=password, realm=realm, target=_target(body))
    return pb.IssueTokenRequest(password_realm=grant)


def _refresh_token(body: Body) -> pb.IssueTokenRequest:
    grant = pb.RefreshTokenGrant(refresh_token=body.required("refresh_token"), target=_target(body))
    return pb.IssueTokenRequest(refresh_token=grant)


def _mfa_otp(body: Body) -> pb.IssueTokenRequest:
    return pb.IssueTokenRequest(mfa_otp=pb.MfaOtpGrant(mfa_token=body.required("mfa_token"), otp=body.required("otp")))


def _mfa_oob(body: Body) -> pb.IssueTokenRequest:
    mfa_token, oob_code = body.required("mfa_token"), body.required("oob_code")
    grant = pb.MfaOobGrant(mfa_token=mfa_token, oob_code=oob_code, binding_code=body.text("binding_code"))
    return pb.IssueTokenRequest(mfa_oob=grant)


def _mfa_recovery_code(body: Body) -> pb.IssueTokenRequest:
    mfa_token, code = body.required("mfa_token"), body.required("recovery_code")
    return pb.IssueTokenRequest(mfa_recovery_code=pb.MfaRecoveryCodeGrant(mfa_token=mfa_token, recovery_code=code))


def _mfa_webauthn(body: Body) -> pb.IssueTokenRequest:
    mfa_token, oob_code = body.required("mfa_token"), body.required("oob_code")
    grant = pb.MfaWebAuthnGrant(mfa_token=mfa_token, oob_code=oob_code, credential_json=body.document("credential"))
    return pb.IssueTokenRequest(mfa_webauthn=grant)


# Vouching has no name here: it is not served over HTTP (ADR-6).
GRANTS: Mapping[str, Callable[[Body], pb.IssueTokenRequest]] = {
    "password": _password,
    f"{_AUTH0}password-realm": _password_realm,
    "refresh_token": _refresh_token,
    f"{_AUTH0}mfa-otp": _mfa_otp,
    f"{_AUTH0}mfa-oob": _mfa_oob,
    f"{_AUTH0}mfa-recovery-code": _mfa_recovery_code,
    f"{_AUTH0}mfa-webauthn": _mfa_webauthn,
}


class Tokens:
    """The routes.

    Parameters:
        limit: how much of a body is read, in octets.
    """

    def __init__(self, channel: grpc.aio.Channel, *, limit: int) -> None:
        self._stub = tokens_pb2_grpc.TokenServiceStub(channel)
        self._limit = limit

    def register(self, app: HttpApplication) -> None:
        """Add the routes to `app`."""
        app.add("POST", "/oauth/token", self.issue, openapi.TOKEN)
        app.add("POST", "/oauth/revoke", self.revoke, openapi.REVOKE)
        app.add("POST", "/oauth/introspect", self.introspect, openapi.INTROSPECT)

    async def issue(self, request: Request) -> Response:
        """Exchange a grant for tokens. What the query string says does not matter."""
        body = await bodies.read(request, self._limit)
        grant = GRANTS.get(body.required("grant_type"))
        if grant is None:
            raise errors.UnsupportedGrantType
        metadata = credentials.of_client(request, body)
        response, rates = await answered(self._stub.IssueToken(grant(body), metadata=metadata, timeout=TIMEOUT))
        match response.WhichOneof("outcome"):
            case "tokens":
                return JSONResponse(_tokens(response.tokens), headers=rates)
            case "mfa_required":
                return _mfa_required(response.mfa_required, rates)
            case "answer_pending":
                return answer(Refusal("AUTHORIZATION_PENDING", rates=rates))
        raise errors.Internal  # an outcome that this edge does not know

    async def revoke(self, request: Request) -> Response:
        """Revoke a refresh token with its family, or an access token. Unknown tokens are answered alike."""
        body = await bodies.read(request, self._limit)
        metadata = credentials.of_client(request, body)
        message = pb.RevokeTokenRequest(token=body.required("token"))
        await self._stub.RevokeToken(message, metadata=metadata, timeout=TIMEOUT)
        return Response()

    async def introspect(self, request: Request) -> Response:
        """Tell whether a token is active and what it says."""
        body = await bodies.read(request, self._limit)
        metadata = credentials.of_client(request, body)
        message = pb.IntrospectTokenRequest(token=body.required("token"))
        response = await self._stub.IntrospectToken(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse(_introspection(response))


_WAYS = {
    pb.ENROLLMENT_WAY_TICKET: "ticket",
    pb.ENROLLMENT_WAY_VOUCHED_LOGIN: "vouched_login",
    pb.ENROLLMENT_WAY_NEW_LOGIN: "new_login",
}
"""How else the first authenticator is enrolled, as refusals name it, too."""


def _present(message: Any) -> dict[str, Any]:
    """Return the fields that are set, by their names, in the order of the proto."""
    return {field.name: value for field, value in message.ListFields()}


def _tokens(tokens: pb.Tokens) -> dict[str, Any]:
    return {
        "access_token": tokens.access_token,
        "token_type": tokens.token_type or "Bearer",
        "expires_in": tokens.expires_in.seconds,
        **{
            name: value
            for name in ("scope", "id_token", "refresh_token", "recovery_code")
            if (value := getattr(tokens, name))
        },
    }


def _mfa_required(required: pb.MfaRequired, rates: Mapping[str, str]) -> Response:
    row = errors.TABLE["MFA_REQUIRED"]
    body: dict[str, Any] = {"error": row.oauth, "error_description": row.text, "mfa_token": required.mfa_token}
    if required.recovery_code:
        body["recovery_code"] = required.recovery_code
    match required.WhichOneof("requirement"):
        case "challenge":
            body["mfa_requirements"] = {"challenge": kinds.challengeable(required.challenge.kinds)}
        case "enroll":
            body["mfa_requirements"] = {"enroll": kinds.enrollable(required.enroll.kinds)}
            # Beside what SDKs parse, and only where this login does not enroll.
            if way := _WAYS.get(required.enroll.way):
                body["enrollment_way"] = way
                body |= {"contact": required.enroll.contact} if required.enroll.contact else {}
    return JSONResponse(body, row.http, rates)


def _introspection(response: pb.IntrospectTokenResponse) -> dict[str, Any]:
    if not response.active:
        return {"active": False}
    said = _present(response)
    for name in ("aud", "amr"):
        if name in said:
            said[name] = list(said[name])
    return said
