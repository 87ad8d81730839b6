"""`cofactor.testing.v1`: what tests ask of a demo in test mode; nothing that serves registers it (ADR-12)."""

# ruff: noqa: ARG002 - a servicer takes what the interface gives

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import grpc.aio
from cofactor.testing.v1 import clock_pb2, outbox_pb2
from cofactor.testing.v1.clock_pb2_grpc import ClockServiceServicer, add_ClockServiceServicer_to_server
from cofactor.testing.v1.outbox_pb2_grpc import OutboxServiceServicer, add_OutboxServiceServicer_to_server
from google.protobuf.descriptor import ServiceDescriptor

from cofactor_server.domain.authenticators.proofs import Message
from cofactor_server.rpc.callers import check_complete
from cofactor_server.rpc.convert.fields import Fields, timestamp
from cofactor_server.seams import DAY, SECOND

FARTHEST = 3_650 * DAY
"""How far the clock is moved at once, in microseconds."""

SERVICES: tuple[ServiceDescriptor, ...] = (
    clock_pb2.DESCRIPTOR.services_by_name["ClockService"],
    outbox_pb2.DESCRIPTOR.services_by_name["OutboxService"],
)


class Clock(Protocol):
    """A clock that goes by itself and can be moved forward; times and spans are in microseconds."""

    def now(self) -> int:
        """Return the time since the Unix epoch."""
        ...

    def advance(self, by: int) -> None:
        """Move forward."""
        ...


class Sent(Protocol):
    """A message that would have been sent."""

    @property
    def message(self) -> Message:
        """What the core asked to send."""
        ...

    @property
    def subject(self) -> str:
        """The subject of an email."""
        ...

    @property
    def text(self) -> str:
        """What the user reads or hears."""
        ...

    @property
    def time(self) -> int:
        """When, in microseconds since the Unix epoch."""
        ...


class ClockServicer(ClockServiceServicer):
    """Tells the time, and moves it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def GetTime(self, request: clock_pb2.GetTimeRequest, context: Any) -> clock_pb2.GetTimeResponse:
        return clock_pb2.GetTimeResponse(time=timestamp(self._clock.now()))

    async def AdvanceTime(self, request: clock_pb2.AdvanceTimeRequest, context: Any) -> clock_pb2.AdvanceTimeResponse:
        fields = Fields()
        by = request.by.seconds * SECOND + request.by.nanos // 1_000
        if not 0 < by <= FARTHEST:
            fields.refuse("by", f"is not between nothing and {FARTHEST // DAY} days")
        fields.done()
        self._clock.advance(by)
        return clock_pb2.AdvanceTimeResponse(time=timestamp(self._clock.now()))


class OutboxServicer(OutboxServiceServicer):
    """Shows what would have been sent."""

    def __init__(self, sent: Callable[[], Sequence[Sent]]) -> None:
        self._sent = sent

    async def ListMessages(
        self, request: outbox_pb2.ListMessagesRequest, context: Any
    ) -> outbox_pb2.ListMessagesResponse:
        wanted = [sent for sent in self._sent() if request.to in ("", sent.message.to)]
        return outbox_pb2.ListMessagesResponse(messages=[_shown(sent) for sent in wanted])


def _shown(sent: Sent) -> outbox_pb2.Message:
    message = sent.message
    return outbox_pb2.Message(
        channel=message.channel,
        to=message.to,
        subject=sent.subject,
        text=sent.text,
        code=message.code,
        payload=message.payload or {},
        create_time=timestamp(sent.time),
    )


def register(server: grpc.aio.Server, clock: Clock, sent: Callable[[], Sequence[Sent]]) -> None:
    """Register both services with a server.

    Raises:
        RuleMissing: A method has no row in the table of callers.
    """
    check_complete(SERVICES)
    add_ClockServiceServicer_to_server(ClockServicer(clock), server)
    add_OutboxServiceServicer_to_server(OutboxServicer(sent), server)
