"""Keeps the messages that the demo would have sent."""

from collections import deque
from dataclasses import dataclass, field

from cofactor_server.delivery.texts import Texts
from cofactor_server.domain.authenticators.proofs import Message
from cofactor_server.seams import Clock

REMEMBERED = 1_000
"""The maximum number of messages in the outbox; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, as its recipient would have received it."""

    message: Message
    subject: str
    text: str = field(repr=False)
    time: int
    """Microseconds since the Unix epoch."""


class Outbox:
    """A sender that keeps messages in memory, for the user of this machine to read.

    Args:
        clock: The clock for the time of each message.
        friendly_name: The deployment's name in the texts.
    """

    def __init__(self, clock: Clock, friendly_name: str) -> None:
        self._clock = clock
        self._texts = Texts(friendly_name)
        self._sent: deque[Sent] = deque(maxlen=REMEMBERED)

    async def send(self, message: Message) -> None:
        """Keep a message."""
        written = self._texts.written(message, "")
        self._sent.append(Sent(message, written.subject, written.text, self._clock.now()))

    def carries(self, channel: str) -> bool:  # noqa: ARG002 - the signature is that of `Sender`
        """Return True: the outbox accepts every channel."""
        return True

    async def close(self) -> None:
        """Do nothing."""

    def messages(self) -> list[Sent]:
        """Return the kept messages, newest last."""
        return list(self._sent)
