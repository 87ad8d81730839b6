"""What is asked of the challenge and authenticator services, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cofactor_server.domain.authenticators import Authenticator
from cofactor_server.domain.proofs import Kind, Proof
from cofactor_server.errors import Quota


class ChallengeType(StrEnum):
    """How a challenge is met, in the words of the wire."""

    OTP = "otp"
    OOB = "oob"
    WEBAUTHN = "webauthn"


@dataclass(frozen=True, slots=True)
class ChallengeRequest:
    """A challenge is wanted; empty fields mean anything."""

    types: tuple[ChallengeType, ...] = ()
    authenticator_id: str = ""
    kinds: tuple[Kind, ...] = ()


@dataclass(frozen=True, slots=True)
class CreatedChallenge:
    """A challenge is ready to be met."""

    type: ChallengeType
    authenticator_id: str
    kind: Kind
    oob_code: str = field(default="", repr=False)
    show: Mapping[str, str] = field(default_factory=dict, repr=False)
    expires_at: int | None = None
    on_device: bool = False
    """Whether a device answers it; otherwise the user types a code."""
    quota: Quota | None = None
    """The budget that the message is counted in."""


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A challenge is answered, and left to its login to redeem; it is named in one of two ways."""

    proof: Proof
    oob_code: str = field(default="", repr=False)
    """How the holder of the mfa_token names it."""
    challenge_id: str = ""
    """How a device names it."""


@dataclass(frozen=True, slots=True)
class EnrollmentRequest:
    """An authenticator is to be enrolled."""

    kind: Kind
    name: str = ""
    destination: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the factor, such as `algorithm`, `digits` and `period` of an authenticator app."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A pending authenticator, and what its user must see once."""

    authenticator: Authenticator
    show: Mapping[str, str] = field(repr=False)
    oob_code: str = field(default="", repr=False)
    recovery_codes: tuple[str, ...] = field(default=(), repr=False)
    quota: Quota | None = None
    """The budget that the message is counted in."""


@dataclass(frozen=True, slots=True)
class Paired:
    """A device that is paired, and what it keeps; the one-time passwords' secret is told once."""

    device_id: str
    user_id: str
    issuer_label: str
    user_label: str
    otp: Mapping[str, str] = field(default_factory=dict, repr=False)
    """`secret` and `barcode_uri`; empty where authenticator apps are off."""


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Who a user is, as far as a token's scopes tell (OpenID Connect Core section 5.1)."""

    sub: str
    name: str = ""
    preferred_username: str = ""
    email: str = ""
    email_verified: bool = False


@dataclass(frozen=True, slots=True)
class Introspection:
    """What a token says, RFC 7662; an inactive one says nothing."""

    active: bool
    iss: str = ""
    sub: str = ""
    aud: tuple[str, ...] = ()
    client_id: str = ""
    scope: str = ""
    jti: str = ""
    token_type: str = ""
    iat: int = 0
    exp: int = 0
    auth_time: int = 0
    acr: str = ""
    amr: tuple[str, ...] = ()
