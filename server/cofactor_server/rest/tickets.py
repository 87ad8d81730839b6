"""Enrollment by ticket over HTTP: what the hosted page calls, and no page of another origin can read."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import grpc.aio
from cofactor.v1 import authenticators_pb2 as authenticators
from cofactor.v1 import tickets_pb2 as pb
from cofactor.v1 import tickets_pb2_grpc
from google.protobuf.duration_pb2 import Duration
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server import errors
from cofactor_server.rest import bodies, credentials, openapi
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.bodies import Body
from cofactor_server.rest.errors import answered
from cofactor_server.rest.tokens import TIMEOUT

_Wanted = authenticators.EnrollAuthenticatorRequest

_FACTORS: "Mapping[authenticators.FactorKind.ValueType, str]" = {
    authenticators.FACTOR_KIND_TOTP: "otp",
    authenticators.FACTOR_KIND_SMS: "sms",
    authenticators.FACTOR_KIND_VOICE: "voice",
    authenticators.FACTOR_KIND_EMAIL: "email",
    authenticators.FACTOR_KIND_PUSH: "push",
    authenticators.FACTOR_KIND_WEBAUTHN: "webauthn",
}
"""What a page can enroll: counter tokens and factors of plugins are for pages that know them, over gRPC."""


def _number(body: Body) -> str:
    number = body.text("phone_number")
    if not number:  # answered like a bad one (W5)
        raise errors.PhoneNumberInvalid
    return number


_ENROLLMENTS: Mapping[str, Callable[[Body], _Wanted]] = {
    "otp": lambda _: _Wanted(totp=authenticators.TotpEnrollment()),
    "sms": lambda body: _Wanted(sms=authenticators.SmsEnrollment(phone_number=_number(body))),
    "voice": lambda body: _Wanted(voice=authenticators.VoiceEnrollment(phone_number=_number(body))),
    "email": lambda body: _Wanted(email=authenticators.EmailEnrollment(email=body.text("email"))),
    "push": lambda _: _Wanted(push=authenticators.PushEnrollment()),
    "webauthn": lambda _: _Wanted(webauthn=authenticators.WebAuthnEnrollment()),
}


class Tickets:
    """The routes.

    Parameters:
        channel: to the gRPC API.
        limit: how much of a body is read, in octets.
        draw: returns a text as a QR code, in SVG; None for none.
    """

    def __init__(self, channel: grpc.aio.Channel, *, limit: int, draw: Callable[[str], str] | None) -> None:
        self._stub = tickets_pb2_grpc.EnrollmentTicketServiceStub(channel)
        self._limit = limit
        self._draw = draw

    def register(self, app: HttpApplication) -> None:
        """Add the routes to `app`."""
        for name, endpoint, operation in (
            ("ticket", self.offer, openapi.GET_TICKET),
            ("begin", self.begin, openapi.BEGIN_ENROLLMENT),
            ("confirm", self.confirm, openapi.CONFIRM_ENROLLMENT),
        ):
            app.add("POST", f"/mfa/enrollment/{name}", endpoint, operation)

    async def offer(self, request: Request) -> Response:
        """Tell what a ticket is for. It is in the body, since an address is kept in many places; nothing is used up."""
        body = await bodies.read(request, self._limit)
        message = pb.GetEnrollmentTicketRequest(ticket=body.required("ticket"))
        metadata = credentials.of_nobody(request)
        response = await self._stub.GetEnrollmentTicket(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse(
            {
                "issuer_name": response.issuer_label,
                "user": response.user_label,
                "factors": [_FACTORS[kind] for kind in response.kinds if kind in _FACTORS],
                "expires_at": response.expire_time.ToDatetime().isoformat(timespec="milliseconds") + "Z",
            }
        )

    async def begin(self, request: Request) -> Response:
        """Begin an enrollment: ten minutes are left to confirm it, and five where a code is sent or a device pairs."""
        body = await bodies.read(request, self._limit)
        ticket, factor = body.required("ticket"), body.required("factor")
        wanted = _ENROLLMENTS.get(factor)
        if wanted is None:
            raise errors.AuthenticatorTypeUnsupported
        message = pb.BeginEnrollmentRequest(ticket=ticket, wanted=wanted(body))
        message.wanted.name = body.text("name")
        call = self._stub.BeginEnrollment(message, metadata=credentials.of_nobody(request), timeout=TIMEOUT)
        response, rates = await answered(call)
        begun = _begun(response)
        if self._draw is not None and "barcode_uri" in begun:
            # Here, since the page would need a program for it, and a picture's own address would have the secret in it.
            begun["barcode_svg"] = await asyncio.to_thread(self._draw, begun["barcode_uri"])
        return JSONResponse(begun, headers=rates)

    async def confirm(self, request: Request) -> Response:
        """Confirm an enrollment with its first good answer, which uses the ticket up.

        Where a device answers, there is nothing to send beside: 202 says that it has not yet, 200 that it has.
        """
        body = await bodies.read(request, self._limit)
        message = pb.ConfirmEnrollmentRequest(ticket=body.required("ticket"), enrollment=body.required("enrollment"))
        if body.has("credential"):
            message.credential_json = body.document("credential")
        elif body.has("code"):
            message.code = body.text("code")
        call = self._stub.ConfirmEnrollment(message, metadata=credentials.of_nobody(request), timeout=TIMEOUT)
        response, rates = await answered(call)
        if response.HasField("pending"):
            waiting = {"confirmed": False, "poll_interval": _seconds(response.pending.poll_interval)}
            return JSONResponse(waiting, 202, rates)
        codes = list(response.confirmed.recovery_codes)
        return JSONResponse({"confirmed": True, **({"recovery_codes": codes} if codes else {})}, headers=rates)


def _begun(response: pb.BeginEnrollmentResponse) -> dict[str, Any]:
    body: dict[str, Any] = {"enrollment": response.enrollment}
    match response.WhichOneof("confirmation"):
        case "otp_secret":
            body |= {"secret": response.otp_secret.secret, "barcode_uri": response.otp_secret.barcode_uri}
        case "sent_code":
            body["masked_address"] = response.authenticator.name
            if response.sent_code.risk_notice:
                body["risk_notice"] = response.sent_code.risk_notice
        case "pairing":
            interval = _seconds(response.pairing.poll_interval)
            body |= {"barcode_uri": response.pairing.barcode_uri, "poll_interval": interval}
        case "webauthn":
            body["webauthn_options"] = json.loads(response.webauthn.public_key_json)
    return body


def _seconds(duration: Duration) -> int:
    return -(-(duration.seconds * 1_000_000_000 + duration.nanos) // 1_000_000_000)
