"""EnrollmentTicketService over gRPC."""

# ruff: noqa: ARG002 - a servicer takes what the interface gives

from typing import Any, Protocol

from cofactor.v1 import tickets_pb2 as pb
from cofactor.v1.tickets_pb2_grpc import EnrollmentTicketServiceServicer

from cofactor_server.domain.authenticators.proofs import Code, PublicKeyCredential
from cofactor_server.domain.authenticators.tickets import Confirmed, TicketOffer, Waiting
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.requests import Enrolled, EnrollmentRequest
from cofactor_server.rpc.callers import admitted
from cofactor_server.rpc.convert import tickets as convert
from cofactor_server.rpc.errors import tell


class Tickets(Protocol):
    """Serves whoever holds a ticket; `services.authenticators.tickets` does it."""

    async def offer(self, caller: Caller, ticket: str, /) -> TicketOffer:
        """Return what a ticket is for."""
        ...

    async def begin(self, caller: Caller, ticket: str, request: EnrollmentRequest, /) -> tuple[str, Enrolled]:
        """Begin an enrollment, and name it."""
        ...

    async def confirm(
        self, caller: Caller, ticket: str, enrollment: str, proof: Code | PublicKeyCredential | None, /
    ) -> Confirmed | Waiting:
        """Confirm an enrollment, or tell that its device has not."""
        ...


class EnrollmentTicketServicer(EnrollmentTicketServiceServicer):
    """Speaks for `Tickets`."""

    def __init__(self, tickets: Tickets) -> None:
        self._tickets = tickets

    async def GetEnrollmentTicket(
        self, request: pb.GetEnrollmentTicketRequest, context: Any
    ) -> pb.GetEnrollmentTicketResponse:
        return convert.offered(await self._tickets.offer(admitted(), convert.ticket(request)))

    async def BeginEnrollment(self, request: pb.BeginEnrollmentRequest, context: Any) -> pb.BeginEnrollmentResponse:
        enrollment, enrolled = await self._tickets.begin(admitted(), *convert.beginning(request))
        tell(context, enrolled.quota)
        return convert.begun(enrollment, enrolled)

    async def ConfirmEnrollment(
        self, request: pb.ConfirmEnrollmentRequest, context: Any
    ) -> pb.ConfirmEnrollmentResponse:
        return convert.confirmed(await self._tickets.confirm(admitted(), *convert.confirming(request)))
