"""What is asked of the challenge and authenticator services, and what they answer."""

from collections.abc import Mapping
from enum import StrEnum

from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.proofs import Kind, Proof
from cofactor_server.domain.foundation.values import Secret, Value, each
from cofactor_server.errors import Quota


class ChallengeType(StrEnum):
    """How a challenge is met, in the words of the wire."""

    OTP = "otp"
    OOB = "oob"
    WEBAUTHN = "webauthn"


class ChallengeRequest(Value, frozen=True):
    """A challenge is wanted; empty fields mean anything."""

    types: tuple[ChallengeType, ...] = ()
    authenticator_id: str = ""
    kinds: tuple[Kind, ...] = ()


class CreatedChallenge(Value, frozen=True):
    """A challenge is ready to be met."""

    type: ChallengeType
    authenticator_id: str
    kind: Kind
    oob_code: Secret[str] = ""
    show: Secret[Mapping[str, str]] = each(default_factory=dict)
    expires_at: int | None = None
    on_device: bool = False
    """Whether a device answers it; otherwise the user types a code."""
    quota: Quota | None = None
    """The budget that the message is counted in."""


class AnswerRequest(Value, frozen=True):
    """A challenge is answered, and left to its login to redeem; it is named in one of two ways."""

    proof: Proof
    oob_code: Secret[str] = ""
    """How the holder of the mfa_token names it."""
    challenge_id: str = ""
    """How a device names it."""


class EnrollmentRequest(Value, frozen=True):
    """An authenticator is to be enrolled."""

    kind: Kind
    name: str = ""
    destination: Secret[str] = ""
    options: Mapping[str, str] = each(default_factory=dict)
    """Parameters of the factor, such as `algorithm`, `digits` and `period` of an authenticator app."""


class Enrolled(Value, frozen=True):
    """A pending authenticator, and what its user must see once."""

    authenticator: Authenticator
    show: Secret[Mapping[str, str]]
    oob_code: Secret[str] = ""
    recovery_codes: Secret[tuple[str, ...]] = ()
    quota: Quota | None = None
    """The budget that the message is counted in."""


class Paired(Value, frozen=True):
    """A device that is paired, and what it keeps; the one-time passwords' secret is told once."""

    device_id: str
    user_id: str
    issuer_label: str
    user_label: str
    otp: Secret[Mapping[str, str]] = each(default_factory=dict)
    """`secret` and `barcode_uri`; empty where authenticator apps are off."""


class UserInfo(Value, frozen=True):
    """Who a user is, as far as a token's scopes tell (OpenID Connect Core section 5.1)."""

    sub: str
    name: str = ""
    preferred_username: str = ""
    email: str = ""
    email_verified: bool = False


class Introspection(Value, frozen=True):
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
