"""Device accounts: what apps of the Guardian wire ask and are told (W13)."""

from typing import Literal, TypeAlias

from cofactor_server.domain.foundation.values import Secret, Value

PushService: TypeAlias = Literal["FCM", "APNS"]


class PushTarget(Value, frozen=True):
    """Where a device is reached."""

    service: PushService
    token: Secret[str]


class NewDeviceAccount(Value, frozen=True):
    """A device is to be enrolled."""

    ticket: Secret[str]
    identifier: Secret[str]
    name: str
    push: PushTarget
    n: str
    """The RSA modulus, base64url."""
    e: str
    """The RSA exponent, likewise."""


class OtpTwin(Value, frozen=True):
    """The secret of the one-time passwords that a device computes, shown to it once."""

    secret: Secret[str]
    algorithm: str
    digits: int
    period: int
    """Seconds."""


class EnrolledDevice(Value, frozen=True):
    """A device is enrolled; `token` is shown once."""

    id: str
    url: str
    issuer_label: str
    user_id: str
    token: Secret[str]
    totp: OtpTwin | None = None


class DeviceAccount(Value, frozen=True):
    """A device as its app knows it."""

    id: str
    identifier: Secret[str]
    name: str
    push: PushTarget | None


class DeviceAccountChange(Value, frozen=True):
    """What a device changes of itself; None leaves a field."""

    id: str
    identifier: Secret[str | None] = None
    name: str | None = None
    push: PushTarget | None = None


class RichConsent(Value, frozen=True):
    """What the login behind a prompt asks for; times in microseconds since the Unix epoch."""

    id: str
    audience: str
    scopes: tuple[str, ...]
    binding_message: str
    authorization_details: str
    """JSON, or nothing."""
    created_at: int
    expires_at: int
