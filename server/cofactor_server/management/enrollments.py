"""Tickets, enrollments, recovery codes and browsers (W10.2)."""

import grpc.aio
from cofactor.admin.v1 import enrollments_pb2 as pb
from cofactor.admin.v1.enrollments_pb2_grpc import EnrollmentServiceStub
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server.management import requests, shapes
from cofactor_server.management.errors import wrong_path
from cofactor_server.rest import credentials
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.bodies import malformed
from cofactor_server.rest.tokens import TIMEOUT

_FACTORS = {
    "": pb.TICKET_FACTOR_UNSPECIFIED,
    "push-notification": pb.TICKET_FACTOR_PUSH,
    "phone": pb.TICKET_FACTOR_PHONE,
    "email": pb.TICKET_FACTOR_EMAIL,
    "otp": pb.TICKET_FACTOR_OTP,
    "webauthn-roaming": pb.TICKET_FACTOR_WEBAUTHN,
    "webauthn-platform": pb.TICKET_FACTOR_WEBAUTHN,
}
_TICKET = frozenset({"user_id", "email", "send_mail", "email_locale", "factor", "allow_multiple_enrollments"})
_PROVIDERS = ("duo", "google-authenticator")
_LONGEST = 320


class Enrollments:
    """The routes.

    Parameters:
        channel: to cofactor.admin.v1.
        limit: how much of a body is read, in octets.
    """

    def __init__(self, channel: grpc.aio.Channel, *, limit: int) -> None:
        self._stub = EnrollmentServiceStub(channel)
        self._limit = limit

    def register(self, app: HttpApplication, base: str) -> None:
        """Add the routes to `app`, below `base`."""
        at, user = f"{base}/guardian/enrollments", f"{base}/users/{{id}}"
        app.add("POST", f"{at}/ticket", self.ticket)
        app.add("GET", f"{at}/{{id}}", self.get)
        app.add("DELETE", f"{at}/{{id}}", self.remove)
        app.add("GET", f"{user}/enrollments", self.list)
        app.add("DELETE", f"{user}/authenticators", self.remove_all)
        app.add("DELETE", f"{user}/multifactor/{{provider}}", self.remove_provider)
        forget = f"{user}/multifactor/actions/invalidate-remember-browser"
        app.add("POST", forget, self.forget_browsers)
        app.add("POST", f"{user}/recovery-code-regeneration", self.regenerate)

    async def ticket(self, request: Request) -> Response:
        """Issue a ticket; with the role `support` it is mailed, and told to nobody else."""
        requests.query(request)
        metadata = credentials.of_bearer(request)
        body = await requests.body(request, self._limit, _TICKET)
        user_id = requests.text(body, "user_id", longest=requests.LONGEST_ID)
        if not user_id:
            raise malformed("user_id", "is required")
        factor, language = body.text("factor"), requests.text(body, "email_locale", longest=35)
        if factor not in _FACTORS:
            raise malformed("factor", f"must be one of {', '.join(name for name in _FACTORS if name)}")
        message = pb.CreateEnrollmentTicketRequest(
            user_id=user_id,
            factor=_FACTORS[factor],
            allow_multiple=body.flag("allow_multiple_enrollments"),
            send_mail=body.flag("send_mail"),
            email=requests.text(body, "email", longest=_LONGEST),
            languages=[language] if language else [],
        )
        issued = await self._stub.CreateEnrollmentTicket(message, metadata=metadata, timeout=TIMEOUT)
        if not issued.ticket:
            return JSONResponse({})
        return JSONResponse({"ticket_id": issued.ticket, "ticket_url": issued.url})

    async def get(self, request: Request) -> Response:
        """Show an enrollment."""
        requests.query(request)
        message = pb.GetEnrollmentRequest(id=requests.path(request))
        metadata = credentials.of_bearer(request)
        found = await self._stub.GetEnrollment(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse(shapes.enrollment(found.method))

    async def remove(self, request: Request) -> Response:
        """Remove an enrollment and what it is linked to."""
        requests.query(request)
        message = pb.DeleteEnrollmentRequest(id=requests.path(request))
        metadata = credentials.of_bearer(request)
        await self._stub.DeleteEnrollment(message, metadata=metadata, timeout=TIMEOUT)
        return Response(status_code=204)

    async def list(self, request: Request) -> Response:
        """List what a user has enrolled."""
        requests.query(request)
        message = pb.ListEnrollmentsRequest(user_id=requests.path(request))
        metadata = credentials.of_bearer(request)
        found = await self._stub.ListEnrollments(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse([shapes.users_enrollment(method) for method in found.methods])

    async def remove_all(self, request: Request) -> Response:
        """Reset a user."""
        requests.query(request)
        message = pb.DeleteEnrollmentsRequest(user_id=requests.path(request))
        metadata = credentials.of_bearer(request)
        await self._stub.DeleteEnrollments(message, metadata=metadata, timeout=TIMEOUT)
        return Response(status_code=204)

    async def remove_provider(self, request: Request) -> Response:
        """Remove what a provider of the past has enrolled, which is nothing."""
        requests.query(request)
        metadata, user_id = credentials.of_bearer(request), requests.path(request)
        if requests.path(request, "provider") not in _PROVIDERS:
            raise wrong_path(f"the provider must be {' or '.join(_PROVIDERS)}")
        await self._stub.GetUser(pb.GetUserRequest(user_id=user_id), metadata=metadata, timeout=TIMEOUT)
        return Response(status_code=204)

    async def forget_browsers(self, request: Request) -> Response:
        """Have a second factor asked for again wherever a browser is remembered."""
        requests.query(request)
        message = pb.ForgetBrowsersRequest(user_id=requests.path(request))
        metadata = credentials.of_bearer(request)
        await self._stub.ForgetBrowsers(message, metadata=metadata, timeout=TIMEOUT)
        return Response(status_code=204)

    async def regenerate(self, request: Request) -> Response:
        """Make a new recovery code; the old one is dead, and the user is told."""
        requests.query(request)
        message = pb.RegenerateRecoveryCodeRequest(user_id=requests.path(request))
        metadata = credentials.of_bearer(request)
        made = await self._stub.RegenerateRecoveryCode(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse({"recovery_code": made.recovery_code})
