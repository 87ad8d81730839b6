"""A user's authenticators over HTTP (W5 to W7)."""

import json
from typing import Any

import grpc.aio
from cofactor.v1 import authenticators_pb2 as pb
from cofactor.v1 import authenticators_pb2_grpc
from google.protobuf.field_mask_pb2 import FieldMask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server import errors
from cofactor_server.rest import bodies, credentials, kinds, openapi
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.bodies import Body
from cofactor_server.rest.errors import answered
from cofactor_server.rest.tokens import TIMEOUT

_TYPES = ("authenticator_types", "authentication_types")  # the wire's name, and the one Auth0's tables use
_CHANNELS = ("oob_channels", "oob_channel")
_LISTS = frozenset({*_TYPES, "oob_channels"})


class Authenticators:
    """The routes; `limit` is how much of a body is read, in octets."""

    def __init__(self, channel: grpc.aio.Channel, *, limit: int) -> None:
        self._stub = authenticators_pb2_grpc.AuthenticatorServiceStub(channel)
        self._limit = limit

    def register(self, app: HttpApplication) -> None:
        """Add the routes to `app`."""
        one = "/mfa/authenticators/{id}"
        app.add("POST", "/mfa/associate", self.enroll, openapi.ASSOCIATE)
        app.add("GET", "/mfa/authenticators", self.list, openapi.LIST)
        app.add("PATCH", one, self.rename, openapi.RENAME)
        app.add("DELETE", one, self.delete, openapi.DELETE)

    async def enroll(self, request: Request) -> Response:
        """Begin an enrollment; the first good answer to the token endpoint confirms it."""
        credentials.of_bearer(request, bare=True)  # a stranger's body is not read
        body = await bodies.read(request, self._limit, _LISTS)
        metadata = credentials.of_bearer(request, body, bare=True)
        call = self._stub.EnrollAuthenticator(_enrollment(body), metadata=metadata, timeout=TIMEOUT)
        response, rates = await answered(call)
        return JSONResponse(_enrolled(response), headers=rates)

    async def list(self, request: Request) -> Response:
        """List the user's authenticators, those not confirmed included."""
        metadata = credentials.of_bearer(request)
        response = await self._stub.ListAuthenticators(
            pb.ListAuthenticatorsRequest(), metadata=metadata, timeout=TIMEOUT
        )
        return JSONResponse([_row(authenticator) for authenticator in response.authenticators])

    async def rename(self, request: Request) -> Response:
        """Change what the user calls an authenticator; an empty name or null takes the name away (RFC 7396)."""
        credentials.of_bearer(request)
        body = await bodies.read(request, self._limit)
        metadata = credentials.of_bearer(request, body)
        if "name" not in body.members:
            raise errors.MissingParameter(parameter="name")
        message = pb.UpdateAuthenticatorRequest(
            authenticator=pb.Authenticator(id=_id(request), name=body.text("name")),
            update_mask=FieldMask(paths=["name"]),
        )
        response = await self._stub.UpdateAuthenticator(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse(_row(response.authenticator))

    async def delete(self, request: Request) -> Response:
        """Remove an authenticator, and with it the one it is linked to."""
        metadata = credentials.of_bearer(request)
        message = pb.DeleteAuthenticatorRequest(id=_id(request))
        await self._stub.DeleteAuthenticator(message, metadata=metadata, timeout=TIMEOUT)
        return Response(status_code=204)


def _id(request: Request) -> str:
    """Return the id of the path, which the server has decoded once."""
    authenticator_id: str = request.path_params["id"]
    if not authenticator_id.isprintable():  # nobody's; a NUL or surrogate goes no further
        raise errors.AuthenticatorNotFound
    return authenticator_id


def _enrollment(body: Body) -> pb.EnrollAuthenticatorRequest:
    types = body.words(*_TYPES)
    if not types:
        raise errors.MissingParameter(parameter="authenticator_types")
    name = body.text("name")
    match types[0]:
        case "otp":
            return pb.EnrollAuthenticatorRequest(totp=pb.TotpEnrollment(), name=name)
        case "oob":
            return _oob_enrollment(body, name)
        case "webauthn":  # ours
            wanted = pb.WebAuthnEnrollment(resident_key=body.flag("resident_key"))
            return pb.EnrollAuthenticatorRequest(webauthn=wanted, name=name)
        case "duo" | "google-authenticator" as kind:  # of the past: the answer names what there is instead
            return pb.EnrollAuthenticatorRequest(plugin=pb.PluginEnrollment(kind=kind), name=name)
    raise errors.AuthenticatorTypeUnsupported


def _oob_enrollment(body: Body, name: str) -> pb.EnrollAuthenticatorRequest:
    channels = body.words(*_CHANNELS)
    if not channels:
        raise errors.MissingParameter(parameter="oob_channels")
    match channels[0]:
        case "sms":
            return pb.EnrollAuthenticatorRequest(sms=pb.SmsEnrollment(phone_number=_phone_number(body)), name=name)
        case "voice":
            return pb.EnrollAuthenticatorRequest(voice=pb.VoiceEnrollment(phone_number=_phone_number(body)), name=name)
        case "email":
            return pb.EnrollAuthenticatorRequest(email=pb.EmailEnrollment(email=body.text("email")), name=name)
        case "auth0":
            return pb.EnrollAuthenticatorRequest(push=pb.PushEnrollment(), name=name)
    raise bodies.malformed("oob_channels", "is unknown")


def _phone_number(body: Body) -> str:
    number = body.text("phone_number")
    if not number:  # answered like a bad one (W5)
        raise errors.PhoneNumberInvalid
    return number


def _enrolled(response: pb.EnrollAuthenticatorResponse) -> dict[str, Any]:
    """Return the body in the order of keys that was recorded; never `id`, never `oob_channels`."""
    names = kinds.named(response.authenticator.kind, response.authenticator.plugin_kind)
    body: dict[str, Any] = {"authenticator_type": names.authenticator_type}
    codes = {"recovery_codes": list(response.recovery_codes)} if response.recovery_codes else {}
    match response.WhichOneof("enrollment"):
        case "otp_secret":
            return {
                **body,
                "secret": response.otp_secret.secret,
                "barcode_uri": response.otp_secret.barcode_uri,
                **codes,
            }
        case "oob":
            channel = {"oob_channel": names.oob_channel} if names.oob_channel else {}
            return {**body, "binding_method": "prompt", **codes, **channel, "oob_code": response.oob.oob_code}
        case "pairing":
            return {
                **body,
                "barcode_uri": response.pairing.barcode_uri,
                **codes,
                "oob_channel": names.oob_channel,
                "oob_code": response.pairing.oob_code,
            }
        case "webauthn":  # ours
            public_key = json.loads(response.webauthn.public_key_json)
            return {**body, **codes, "oob_code": response.webauthn.oob_code, "authn_params_public_key": public_key}
    return {**body, **codes}


def _row(authenticator: pb.Authenticator) -> dict[str, Any]:
    names = kinds.named(authenticator.kind, authenticator.plugin_kind)
    row: dict[str, Any] = {
        "id": authenticator.id,
        "authenticator_type": names.authenticator_type,
        "active": authenticator.state == pb.AUTHENTICATOR_STATE_ACTIVE,
    }
    if names.oob_channel:
        row["oob_channel"] = names.oob_channel
    if authenticator.name:
        row["name"] = authenticator.name
    row["type"] = names.type
    return row
