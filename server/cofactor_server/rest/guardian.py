"""The wire of Guardian apps: device accounts, answers to pushes, rich consents (W13)."""

import json
import re
from collections.abc import Mapping
from typing import Any

import grpc.aio
from cofactor.v1 import authenticators_pb2 as authenticators
from cofactor.v1 import guardian_pb2 as pb
from cofactor.v1 import guardian_pb2_grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server import errors
from cofactor_server.rest import bodies, openapi
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.bodies import Body
from cofactor_server.rest.credentials import MAX_TOKEN, authorization
from cofactor_server.rest.tokens import TIMEOUT

_ticket = re.compile(r'(?:Ticket +)?(?:id=)?"?([A-Za-z0-9_-]+)"?', re.IGNORECASE).fullmatch
_word = re.compile(r"[!-~]+").fullmatch

_SERVICES = {"GCM": pb.PUSH_SERVICE_FCM, "FCM": pb.PUSH_SERVICE_FCM, "APNS": pb.PUSH_SERVICE_APNS}
_SERVICE_NAMES = {pb.PUSH_SERVICE_FCM: "GCM", pb.PUSH_SERVICE_APNS: "APNS"}
_ALGORITHMS = {
    authenticators.OTP_ALGORITHM_SHA1: "sha1",
    authenticators.OTP_ALGORITHM_SHA256: "sha256",
    authenticators.OTP_ALGORITHM_SHA512: "sha512",
}


class DeviceAccounts:
    """The routes.

    Parameters:
        channel: to the gRPC API.
        limit: how much of a body is read, in octets.
        own_host: whether apps are told of a host of its own for this wire, where their SDKs leave the prefix away.
    """

    def __init__(self, channel: grpc.aio.Channel, *, limit: int, own_host: bool) -> None:
        self._stub = guardian_pb2_grpc.DeviceAccountServiceStub(channel)
        self._limit = limit
        self._own_host = own_host

    def register(self, app: HttpApplication) -> None:
        """Add the routes to `app`."""
        self._add(app, "/appliance-mfa/api", described=True)
        if self._own_host:
            self._add(app, "/api", described=False)  # the same once more
        app.add("GET", "/rich-consents/{id}", self.consent, openapi.RICH_CONSENT)

    def _add(self, app: HttpApplication, prefix: str, *, described: bool) -> None:
        one = f"{prefix}/device-accounts/{{id}}"
        for path, endpoint, method, operation in (
            (f"{prefix}/enroll", self.enroll, "POST", openapi.ENROLL_DEVICE),
            (f"{prefix}/resolve-transaction", self.resolve, "POST", openapi.RESOLVE),
            (one, self.update, "PATCH", openapi.UPDATE_DEVICE),
            (one, self.delete, "DELETE", openapi.DELETE_DEVICE),
        ):
            app.add(method, path, endpoint, operation if described else None)

    async def enroll(self, request: Request) -> Response:
        """Enroll a device with the ticket of a QR code, once; whoever began the enrollment then confirms it."""
        ticket = _ticket(_authorized(request))
        if ticket is None:
            raise errors.PairingNotFound
        body = await bodies.read(request, self._limit)
        message = pb.EnrollDeviceAccountRequest(
            ticket=ticket[1],
            identifier=body.required("identifier"),
            name=body.required("name"),
            push_credentials=_push(body),
            public_key=_public_key(body.object("public_key")),
        )
        response = await self._stub.EnrollDeviceAccount(message, timeout=TIMEOUT)
        return JSONResponse(_enrolled(response))

    async def resolve(self, request: Request) -> Response:
        """Approve or deny the prompt that a push was about, once."""
        token = _token(request, "bearer")
        body = await bodies.read(request, self._limit)
        message = pb.ResolveTransactionRequest(
            transaction_token=token, challenge_response=_presented(body.required("challenge_response"))
        )
        await self._stub.ResolveTransaction(message, timeout=TIMEOUT)
        return Response(status_code=204)

    async def update(self, request: Request) -> Response:
        """Change what a device is called, and where it is reached."""
        token = _token(request, "bearer")
        body = await bodies.read(request, self._limit)
        account = pb.DeviceAccount(id=_id(request), identifier=body.text("identifier"), name=body.text("name"))
        paths = [name for name in ("identifier", "name", "push_credentials") if body.has(name)]
        if "push_credentials" in paths:
            account.push_credentials.CopyFrom(_push(body))
        message = pb.UpdateDeviceAccountRequest(device_token=token, account=account, update_mask=FieldMask(paths=paths))
        response = await self._stub.UpdateDeviceAccount(message, timeout=TIMEOUT)
        return JSONResponse(_account(response.account))

    async def delete(self, request: Request) -> Response:
        """Remove a device, and the one-time passwords it computes."""
        message = pb.DeleteDeviceAccountRequest(device_token=_token(request, "bearer"), id=_id(request))
        await self._stub.DeleteDeviceAccount(message, timeout=TIMEOUT)
        return Response(status_code=204)

    async def consent(self, request: Request) -> Response:
        """Tell what the login that a prompt belongs to asks for, until the prompt is answered."""
        token = _token(request, "mfa-dpop")
        proofs = request.headers.getlist("mfa-dpop")
        if len(proofs) != 1:
            raise errors.DeviceInvalid
        message = pb.GetRichConsentRequest(id=_id(request), transaction_token=token, proof=_presented(proofs[0]))
        response = await self._stub.GetRichConsent(message, timeout=TIMEOUT)
        return JSONResponse(_consent(response))


def _authorized(request: Request) -> str:
    values = request.headers.getlist("authorization")
    if len(values) != 1 or len(values[0]) > MAX_TOKEN:
        raise errors.PairingNotFound if values else errors.BearerMissing
    return values[0].strip()


def _token(request: Request, wanted: str) -> str:
    scheme, token = authorization(request)
    if not scheme:
        raise errors.BearerMissing
    if scheme != wanted:
        raise errors.DeviceInvalid
    return _presented(token)


def _presented(text: str) -> str:
    if len(text) > MAX_TOKEN or not _word(text):
        raise errors.DeviceInvalid
    return text


def _id(request: Request) -> str:
    """Return the id of the path, which the server has decoded once."""
    account_id: str = request.path_params["id"]
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", account_id):
        raise errors.AuthenticatorNotFound
    return account_id


def _push(body: Body) -> pb.PushCredentials:
    given = body.object("push_credentials")
    service = _SERVICES.get(given.required("service"))
    if service is None:
        raise bodies.malformed("service", "must be GCM, FCM or APNS")
    return pb.PushCredentials(service=service, token=given.required("token"))


def _public_key(key: Body) -> pb.RsaPublicKey:
    # Only what kind of key it is; whether it is a good one is the server's decision.
    kind, algorithm, use = key.required("kty"), key.text("alg"), key.text("use")
    if kind != "RSA" or algorithm not in ("", "RS256") or use not in ("", "sig"):
        raise bodies.malformed("public_key", "must be an RSA key for signatures by RS256")
    return pb.RsaPublicKey(n=key.required("n"), e=key.required("e"))


def _enrolled(response: pb.EnrollDeviceAccountResponse) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": response.id,
        "url": response.url,
        "issuer": response.issuer_label,
        "user_id": response.user_id,
        "token": response.device_token,
    }
    if response.HasField("totp"):
        body["totp"] = {
            "secret": response.totp.secret,
            "algorithm": _ALGORITHMS[response.totp.algorithm],
            "digits": response.totp.digits,  # numbers: an app that gets texts stops
            "period": response.totp.period_seconds,
        }
    return body


def _account(account: pb.DeviceAccount) -> dict[str, Any]:
    body: dict[str, Any] = {"id": account.id, "identifier": account.identifier, "name": account.name}
    if account.HasField("push_credentials"):
        push = account.push_credentials
        body["push_credentials"] = {"service": _SERVICE_NAMES[push.service], "token": push.token}
    return body


def _consent(response: pb.GetRichConsentResponse) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if response.audience:
        details["audience"] = response.audience
    if response.scopes:
        details["scope"] = list(response.scopes)
    if response.binding_message:
        details["binding_message"] = response.binding_message
    if response.authorization_details_json:
        details["authorization_details"] = json.loads(response.authorization_details_json)
    times: Mapping[str, Timestamp] = {"created_at": response.create_time, "expires_at": response.expire_time}
    return {"id": response.id, "requested_details": details, **{name: _iso(at) for name, at in times.items()}}


def _iso(at: Timestamp) -> str:
    return at.ToDatetime().isoformat(timespec="milliseconds") + "Z"
