"""What the demo would have sent."""

from collections import deque
from dataclasses import dataclass, field

from cofactor_server.delivery.texts import Texts
from cofactor_server.domain.authenticators.proofs import Message
from cofactor_server.seams import Clock

REMEMBERED = 1_000
"""Messages the outbox holds."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message, as its recipient would have got it."""

    message: Message
    subject: str
    text: str = field(repr=False)
    time: int
    """Microseconds since the Unix epoch."""


class Outbox:
    """Keeps what would have been sent, for whoever sits at this machine.

    Args:
        clock: Tells when it was sent.
        friendly_name: Of the deployment, as the texts have it.
    """

    def __init__(self, clock: Clock, friendly_name: str) -> None:
        self._clock = clock
        self._texts = Texts(friendly_name)
        self._sent: deque[Sent] = deque(maxlen=REMEMBERED)

    async def send(self, message: Message) -> None:
        """Keep one message."""
        written = self._texts.written(message, "")
        self._sent.append(Sent(message, written.subject, written.text, self._clock.now()))

    def carries(self, channel: str) -> bool:  # noqa: ARG002 - it takes what a sender takes
        """Return True: here anything can be sent."""
        return True

    async def close(self) -> None:
        """Do nothing."""

    def messages(self) -> list[Sent]:
        """Return what was sent, newest last."""
        return list(self._sent)
