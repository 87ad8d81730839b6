"""Device accounts: what apps of the Guardian wire ask and are told (contract section 13)."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

PushService: TypeAlias = Literal["FCM", "APNS"]


@dataclass(frozen=True, slots=True)
class PushTarget:
    """Where a device is reached."""

    service: PushService
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewDeviceAccount:
    """A device is to be enrolled."""

    ticket: str = field(repr=False)
    identifier: str = field(repr=False)
    name: str
    push: PushTarget
    n: str
    """The RSA modulus, base64url."""
    e: str
    """The RSA exponent, likewise."""


@dataclass(frozen=True, slots=True)
class OtpTwin:
    """The secret of the one-time passwords that a device computes, shown to it once."""

    secret: str = field(repr=False)
    algorithm: str
    digits: int
    period: int
    """Seconds."""


@dataclass(frozen=True, slots=True)
class EnrolledDevice:
    """A device is enrolled; `token` is shown once."""

    id: str
    url: str
    issuer_label: str
    user_id: str
    token: str = field(repr=False)
    totp: OtpTwin | None = None


@dataclass(frozen=True, slots=True)
class DeviceAccount:
    """A device as its app knows it."""

    id: str
    identifier: str = field(repr=False)
    name: str
    push: PushTarget | None


@dataclass(frozen=True, slots=True)
class DeviceAccountChange:
    """What a device changes of itself; None leaves a field."""

    id: str
    identifier: str | None = field(default=None, repr=False)
    name: str | None = None
    push: PushTarget | None = None


@dataclass(frozen=True, slots=True)
class RichConsent:
    """What the login behind a prompt asks for; times in microseconds since the Unix epoch."""

    id: str
    audience: str
    scopes: tuple[str, ...]
    binding_message: str
    authorization_details: str
    """JSON, or nothing."""
    created_at: int
    expires_at: int
