"""What a device is told of the prompts that wait for it."""

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Listening:
    """The device will hear of its prompts; this many wait now, and follow."""

    waiting: int


@dataclass(frozen=True, slots=True)
class WaitingPrompt:
    """A challenge that waits for the device's answer."""

    challenge_id: str
    shown: bytes = field(repr=False)
    """What the device shows its user, and hashes."""
    number_wanted: bool
    expires_at: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A challenge that waits no more."""

    challenge_id: str


DeviceEvent: TypeAlias = Listening | WaitingPrompt | Withdrawn
