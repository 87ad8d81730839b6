"""Tokens over HTTP: the token endpoint, revocation, introspection, discovery and keys (W1.1 and W3)."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc.aio
from cofactor.v1 import tokens_pb2 as pb
from cofactor.v1 import tokens_pb2_grpc
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server import errors
from cofactor_server.rest import bodies, credentials, kinds, openapi
from cofactor_server.rest.bodies import Body
from cofactor_server.rest.errors import Refusal, answer, answered

TIMEOUT = 10.0  # seconds

_AUTH0 = "http://auth0.com/oauth/grant-type/"
_AUTH_METHODS = ["none", "client_secret_post", "client_secret_basic", "private_key_jwt"]
_ASSERTION_ALGORITHMS = ["RS256", "RS384", "PS256", "ES256"]
_SCOPES = ["openid", "profile", "email", "offline_access", "enroll", "read:authenticators", "remove:authenticators"]

_CLAIMS = [
    *("iss", "sub", "aud", "exp", "iat", "auth_time", "acr", "amr", "at_hash"),
    *("name", "preferred_username", "email", "email_verified"),
]
_ACR_VALUES = [f"urn:cofactor:acr:{level}" for level in ("1fa", "mfa-low", "mfa", "phr", "phrh")]
_PUBLIC = {"cache-control": "public, max-age=300"}
"""Of what changes with the keys; they are published much longer than this before they sign (S158)."""


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
        issuer: with its trailing slash; endpoints are named below it.
        limit: how much of a body is read, in octets.
    """

    def __init__(self, channel: grpc.aio.Channel, *, issuer: str, limit: int) -> None:
        self._stub = tokens_pb2_grpc.TokenServiceStub(channel)
        self._limit = limit
        self._discovery = _discovery(issuer)

    def register(self, app: FastAPI) -> None:
        """Add the routes to `app`."""
        app.add_api_route("/oauth/token", self.issue, methods=["POST"], **openapi.TOKEN)
        app.add_api_route("/oauth/revoke", self.revoke, methods=["POST"], response_class=Response, **openapi.REVOKE)
        app.add_api_route("/oauth/introspect", self.introspect, methods=["POST"], **openapi.INTROSPECT)
        app.add_api_route("/.well-known/openid-configuration", self.discover, methods=["GET"], **openapi.DISCOVERY)
        app.add_api_route("/.well-known/jwks.json", self.rsa_keys, methods=["GET"], **openapi.RSA_KEYS)
        app.add_api_route("/.well-known/keys.json", self.keys, methods=["GET"], **openapi.KEYS)

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

    async def discover(self) -> Response:
        """Describe the issuer to OpenID Connect libraries."""
        return JSONResponse(self._discovery, headers=_PUBLIC)

    async def rsa_keys(self) -> Response:
        """Hand out the RSA keys, which verify id_tokens and RS256 access tokens.

        Libraries of this wire take every key of the set for one of RSA, and fail on others (auth0-python 6.8).
        """
        return JSONResponse({"keys": [key for key in await self._keys() if key["kty"] == "RSA"]}, headers=_PUBLIC)

    async def keys(self) -> Response:
        """Hand out every public key: what a resource server needs that takes ES256 access tokens."""
        return JSONResponse({"keys": await self._keys()}, headers=_PUBLIC)

    async def _keys(self) -> list[dict[str, Any]]:
        response = await self._stub.GetJsonWebKeySet(pb.GetJsonWebKeySetRequest(), timeout=TIMEOUT)
        return [_present(key) for key in response.keys]


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
    return JSONResponse(body, row.http, rates)


def _introspection(response: pb.IntrospectTokenResponse) -> dict[str, Any]:
    if not response.active:
        return {"active": False}
    said = _present(response)
    for name in ("aud", "amr"):
        if name in said:
            said[name] = list(said[name])
    return said


def _discovery(issuer: str) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}authorize",  # SDKs want the key; nothing is served there
        "token_endpoint": f"{issuer}oauth/token",
        "revocation_endpoint": f"{issuer}oauth/revoke",
        "introspection_endpoint": f"{issuer}oauth/introspect",
        "userinfo_endpoint": f"{issuer}userinfo",
        "jwks_uri": f"{issuer}.well-known/jwks.json",
        "grant_types_supported": list(GRANTS),
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "scopes_supported": _SCOPES,
        "claims_supported": _CLAIMS,
        "claim_types_supported": ["normal"],
        "acr_values_supported": _ACR_VALUES,
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": _AUTH_METHODS,
        "revocation_endpoint_auth_methods_supported": _AUTH_METHODS,
        "introspection_endpoint_auth_methods_supported": [method for method in _AUTH_METHODS if method != "none"],
        **{
            f"{endpoint}_endpoint_auth_signing_alg_values_supported": _ASSERTION_ALGORITHMS
            for endpoint in ("token", "revocation", "introspection")
        },
    }
