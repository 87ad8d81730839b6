"""What a device is told of the prompts that wait for it."""

from typing import TypeAlias

from cofactor_server.domain.foundation.values import Secret, Value


class Listening(Value, frozen=True):
    """The device will hear of its prompts; this many wait now, and follow."""

    waiting: int


class WaitingPrompt(Value, frozen=True):
    """A challenge that waits for the device's answer."""

    challenge_id: str
    shown: Secret[bytes]
    """What the device shows its user, and hashes."""
    number_wanted: bool
    expires_at: int


class Withdrawn(Value, frozen=True):
    """A challenge that waits no more."""

    challenge_id: str


DeviceEvent: TypeAlias = Listening | WaitingPrompt | Withdrawn
