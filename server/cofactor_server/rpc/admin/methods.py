"""AuthenticationMethodService and EnrollmentService over gRPC."""

# ruff: noqa: ARG002 - a servicer takes what the interface gives

from collections.abc import Sequence
from typing import Any, Protocol

from cofactor.admin.v1 import enrollments_pb2 as enrollments
from cofactor.admin.v1 import methods_pb2 as pb
from cofactor.admin.v1.enrollments_pb2_grpc import EnrollmentServiceServicer
from cofactor.admin.v1.methods_pb2_grpc import AuthenticationMethodServiceServicer

from cofactor_server.domain.authenticators.methods import Method, NewMethod
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.authenticators.tickets import IssuedTicket, NewTicket
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.parties.users import User
from cofactor_server.rpc.admin import convert
from cofactor_server.rpc.callers import admitted
from cofactor_server.rpc.convert.fields import timestamp


class Methods(Protocol):
    """Keeps what users have enrolled; `services.operators.methods` does it."""

    async def user(self, user_id: str, /) -> User:
        """Return a user."""
        ...

    async def list(self, user_id: str, /) -> Sequence[Method]:
        """Return a user's methods."""
        ...

    async def enrollments(self, user_id: str, /) -> Sequence[Method]:
        """Return those that the user has enrolled."""
        ...

    async def get(self, user_id: str, method_id: str, /) -> Method:
        """Return one method."""
        ...

    async def find(self, suffix: str, /) -> tuple[str, Method]:
        """Return whose enrollment it is, and its method."""
        ...

    async def add(self, caller: Caller, user_id: str, new: NewMethod, /) -> Method:
        """Add a method."""
        ...

    async def replace(self, caller: Caller, user_id: str, new: Sequence[NewMethod], /) -> Sequence[Method]:
        """Replace all methods."""
        ...

    async def change(
        self, caller: Caller, user_id: str, method_id: str, /, *, name: str | None, preferred: Kind | None
    ) -> Method:
        """Rename a method, or have one of its ways offered first."""
        ...

    async def remove(self, caller: Caller, user_id: str, method_id: str, /) -> None:
        """Remove a method."""
        ...

    async def reset(self, caller: Caller, user_id: str, /) -> None:
        """Remove everything."""
        ...

    async def forget_browsers(self, user_id: str, /) -> int:
        """Forget every remembered browser."""
        ...

    async def regenerate_recovery_code(self, caller: Caller, user_id: str, /) -> str:
        """Return a new recovery code."""
        ...


class Tickets(Protocol):
    """Issues enrollment tickets; `services.operators.tickets` does it."""

    async def issue(self, caller: Caller, new: NewTicket, factor: Kind, /) -> IssuedTicket:
        """Issue a ticket."""
        ...


class AuthenticationMethodServicer(AuthenticationMethodServiceServicer):
    """Speaks for `Methods`."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods

    async def ListAuthenticationMethods(
        self, request: pb.ListAuthenticationMethodsRequest, context: Any
    ) -> pb.ListAuthenticationMethodsResponse:
        found = await self._methods.list(convert.id_of(request.user_id, "user_id"))
        return pb.ListAuthenticationMethodsResponse(methods=map(convert.method, found))

    async def GetAuthenticationMethod(
        self, request: pb.GetAuthenticationMethodRequest, context: Any
    ) -> pb.GetAuthenticationMethodResponse:
        user_id, method_id = convert.id_of(request.user_id, "user_id"), convert.id_of(request.id, "id")
        found = await self._methods.get(user_id, method_id)
        return pb.GetAuthenticationMethodResponse(method=convert.method(found))

    async def AddAuthenticationMethod(
        self, request: pb.AddAuthenticationMethodRequest, context: Any
    ) -> pb.AddAuthenticationMethodResponse:
        user_id, (new,) = convert.id_of(request.user_id, "user_id"), convert.new_methods([request.method])
        return pb.AddAuthenticationMethodResponse(
            method=convert.method(await self._methods.add(admitted(), user_id, new))
        )

    async def ReplaceAuthenticationMethods(
        self, request: pb.ReplaceAuthenticationMethodsRequest, context: Any
    ) -> pb.ReplaceAuthenticationMethodsResponse:
        user_id, new = convert.id_of(request.user_id, "user_id"), convert.new_methods(request.methods)
        made = await self._methods.replace(admitted(), user_id, new)
        return pb.ReplaceAuthenticationMethodsResponse(
            methods=[convert.method(method, unmasked=True) for method in made]
        )

    async def UpdateAuthenticationMethod(
        self, request: pb.UpdateAuthenticationMethodRequest, context: Any
    ) -> pb.UpdateAuthenticationMethodResponse:
        user_id, (method_id, name, preferred) = convert.id_of(request.user_id, "user_id"), convert.changed(request)
        changed = await self._methods.change(admitted(), user_id, method_id, name=name, preferred=preferred)
        return pb.UpdateAuthenticationMethodResponse(method=convert.method(changed))

    async def DeleteAuthenticationMethod(
        self, request: pb.DeleteAuthenticationMethodRequest, context: Any
    ) -> pb.DeleteAuthenticationMethodResponse:
        user_id, method_id = convert.id_of(request.user_id, "user_id"), convert.id_of(request.id, "id")
        await self._methods.remove(admitted(), user_id, method_id)
        return pb.DeleteAuthenticationMethodResponse()

    async def DeleteAuthenticationMethods(
        self, request: pb.DeleteAuthenticationMethodsRequest, context: Any
    ) -> pb.DeleteAuthenticationMethodsResponse:
        await self._methods.reset(admitted(), convert.id_of(request.user_id, "user_id"))
        return pb.DeleteAuthenticationMethodsResponse()


class EnrollmentServicer(EnrollmentServiceServicer):
    """Speaks for `Methods` and `Tickets`."""

    def __init__(self, methods: Methods, tickets: Tickets) -> None:
        self._methods = methods
        self._tickets = tickets

    async def GetUser(self, request: enrollments.GetUserRequest, context: Any) -> enrollments.GetUserResponse:
        user = await self._methods.user(convert.id_of(request.user_id, "user_id"))
        return enrollments.GetUserResponse(user_id=user.id)

    async def CreateEnrollmentTicket(
        self, request: enrollments.CreateEnrollmentTicketRequest, context: Any
    ) -> enrollments.CreateEnrollmentTicketResponse:
        issued = await self._tickets.issue(admitted(), *convert.new_ticket(request))
        return enrollments.CreateEnrollmentTicketResponse(
            ticket=issued.ticket, url=issued.url, expire_time=timestamp(issued.expires_at)
        )

    async def GetEnrollment(
        self, request: enrollments.GetEnrollmentRequest, context: Any
    ) -> enrollments.GetEnrollmentResponse:
        user_id, method = await self._methods.find(convert.suffix(request.id))
        return enrollments.GetEnrollmentResponse(user_id=user_id, method=convert.method(method))

    async def DeleteEnrollment(
        self, request: enrollments.DeleteEnrollmentRequest, context: Any
    ) -> enrollments.DeleteEnrollmentResponse:
        user_id, method = await self._methods.find(convert.suffix(request.id))
        await self._methods.remove(admitted(), user_id, method.id)
        return enrollments.DeleteEnrollmentResponse()

    async def ListEnrollments(
        self, request: enrollments.ListEnrollmentsRequest, context: Any
    ) -> enrollments.ListEnrollmentsResponse:
        found = await self._methods.enrollments(convert.id_of(request.user_id, "user_id"))
        return enrollments.ListEnrollmentsResponse(methods=map(convert.method, found))

    async def DeleteEnrollments(
        self, request: enrollments.DeleteEnrollmentsRequest, context: Any
    ) -> enrollments.DeleteEnrollmentsResponse:
        await self._methods.reset(admitted(), convert.id_of(request.user_id, "user_id"))
        return enrollments.DeleteEnrollmentsResponse()

    async def ForgetBrowsers(
        self, request: enrollments.ForgetBrowsersRequest, context: Any
    ) -> enrollments.ForgetBrowsersResponse:
        forgotten = await self._methods.forget_browsers(convert.id_of(request.user_id, "user_id"))
        return enrollments.ForgetBrowsersResponse(forgotten=forgotten)

    async def RegenerateRecoveryCode(
        self, request: enrollments.RegenerateRecoveryCodeRequest, context: Any
    ) -> enrollments.RegenerateRecoveryCodeResponse:
        code = await self._methods.regenerate_recovery_code(admitted(), convert.id_of(request.user_id, "user_id"))
        return enrollments.RegenerateRecoveryCodeResponse(recovery_code=code)
