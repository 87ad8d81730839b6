"""What carries messages must be able to do, and how it says that one was not carried."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message as it leaves: written in a language, for one channel."""

    id: str
    """A UUID, the same at every attempt."""
    channel: str
    to: str = field(repr=False)
    """As in `Message.to`."""
    subject: str = field(repr=False)
    """Of a mail; the title of a push; empty elsewhere."""
    text: str = field(repr=False)
    locale: str = "en-US"
    """BCP 47 tag of the language it is written in, for voices."""
    payload: Mapping[str, str] | None = field(default=None, repr=False)


class Provider(Protocol):
    """One way to carry messages, such as a mail server or an SMS gateway.

    It tries once: trying again, time limits and the circuit breaker are the sender's. Texts of its exceptions are
    logged, and hold no number, address, code or secret.
    """

    @property
    def channels(self) -> frozenset[str]:
        """The channels it can carry."""
        ...

    async def carry(self, outgoing: Outgoing) -> None:
        """Hand one message over.

        Raises:
            NotTaken: It was certainly not taken.
            MaybeTaken: Nobody knows.
            ProviderRefuses: This provider will not take any message until an operator mends something.
            NoSuchDestination: Nothing arrives where it was to go.
        """
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class Failure(Exception):
    """A message was not carried, or nobody knows; the text is for the operator's log."""


class NotTaken(Failure):
    """The provider certainly did not take the message: trying again sends it once.

    Args:
        text: For the log.
        wait: Seconds that the provider asks to be left alone.
    """

    def __init__(self, text: str, wait: float = 0) -> None:
        super().__init__(text)
        self.wait = wait


class MaybeTaken(Failure):
    """The provider had the message and did not say what became of it: trying again might send it twice."""


class ProviderRefuses(Failure):
    """The provider takes nothing from us: credentials, account or sender are wrong."""


class NoSuchDestination(Exception):
    """Nothing arrives at this number, address or device, says the provider. No fault of the provider's."""
