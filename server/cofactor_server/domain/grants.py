"""What a client exchanges for tokens, and what comes of it."""

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from cofactor_server.domain.acr import Authentication
from cofactor_server.domain.clients import GrantType
from cofactor_server.domain.logins import Login
from cofactor_server.domain.proofs import Kind
from cofactor_server.errors import Quota


@dataclass(frozen=True, slots=True)
class Target:
    """What the tokens are for."""

    scope: str = ""
    audience: str = ""
    acr_values: tuple[str, ...] = ()
    """How strong the authentication has to be; one of them is enough (RFC 9470 section 4)."""
    max_age: int | None = None
    """How long ago it may lie, in microseconds; 0 asks for a factor now."""

    @property
    def steps_up(self) -> bool:
        """Whether more is asked for than policy would ask."""
        return bool(self.acr_values) or self.max_age is not None


@dataclass(frozen=True, slots=True)
class PasswordGrant:
    """A name and a password; an empty realm is the deployment's default."""

    username: str
    password: str = field(repr=False)
    realm: str = ""
    target: Target = Target()
    by_realm: bool = False
    """Whether the password-realm grant was used, which is enabled on its own."""
    remember_token: str = field(default="", repr=False)
    """Of a browser that is remembered; one that is not good is as good as none."""

    @property
    def grant_type(self) -> GrantType:
        """Which of the two grants was used."""
        return GrantType.PASSWORD_REALM if self.by_realm else GrantType.PASSWORD


@dataclass(frozen=True, slots=True)
class RefreshTokenGrant:
    """A refresh token."""

    grant_type: ClassVar[GrantType] = GrantType.REFRESH_TOKEN
    refresh_token: str = field(repr=False)
    target: Target = Target()


@dataclass(frozen=True, slots=True)
class MfaOtpGrant:
    """A one-time password for the login that `mfa_token` stands for."""

    grant_type: ClassVar[GrantType] = GrantType.MFA_OTP
    mfa_token: str = field(repr=False)
    otp: str = field(repr=False)
    authenticator_id: str = ""
    remember: bool = False
    """Whether the browser is to be remembered."""


@dataclass(frozen=True, slots=True)
class MfaOobGrant:
    """A challenge that was answered over another channel, or is answered here with a code."""

    grant_type: ClassVar[GrantType] = GrantType.MFA_OOB
    mfa_token: str = field(repr=False)
    oob_code: str = field(repr=False)
    binding_code: str = field(default="", repr=False)
    remember: bool = False


@dataclass(frozen=True, slots=True)
class MfaRecoveryCodeGrant:
    """A saved recovery code."""

    grant_type: ClassVar[GrantType] = GrantType.MFA_RECOVERY_CODE
    mfa_token: str = field(repr=False)
    recovery_code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MfaWebAuthnGrant:
    """An assertion of a security key or passkey."""

    grant_type: ClassVar[GrantType] = GrantType.MFA_WEBAUTHN
    mfa_token: str = field(repr=False)
    oob_code: str = field(repr=False)
    credential_id: str = field(repr=False)
    """What the document states as its `id`."""
    credential_json: str = field(repr=False)
    remember: bool = False


@dataclass(frozen=True, slots=True)
class VouchedGrant:
    """A trusted client's statement that a user showed a first factor (security.md 6)."""

    grant_type: ClassVar[GrantType] = GrantType.VOUCHED
    realm: str
    subject: str
    methods: tuple[str, ...]
    authenticated_at: int
    label: str = ""
    target: Target = Target()
    remember_token: str = field(default="", repr=False)


Grant: TypeAlias = (
    PasswordGrant
    | RefreshTokenGrant
    | MfaOtpGrant
    | MfaOobGrant
    | MfaRecoveryCodeGrant
    | MfaWebAuthnGrant
    | VouchedGrant
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """A completed login, RFC 6749 section 5.1."""

    access_token: str = field(repr=False)
    expires_in: int
    """Seconds."""
    scope: str = ""
    id_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    recovery_code: str = field(default="", repr=False)
    remember_token: str = field(default="", repr=False)
    remember_expires_at: int = 0
    quota: Quota | None = None
    """The budget that it is counted in."""


@dataclass(frozen=True, slots=True)
class MfaRequired:
    """A second factor is awaited."""

    mfa_token: str = field(repr=False)
    expires_at: int
    enroll: bool
    """True: `kinds` can be enrolled. False: `kinds` can be challenged."""
    kinds: tuple[Kind, ...]
    recovery_code: str = field(default="", repr=False)
    """The replacement, where a recovery code was used and one more factor is needed."""
    quota: Quota | None = None
    """The budget that it is counted in."""


@dataclass(frozen=True, slots=True)
class AnswerPending:
    """The challenge is not answered yet."""

    poll_interval: int
    """Microseconds."""
    quota: Quota | None = None
    """The budget that it is counted in."""


Outcome: TypeAlias = Tokens | MfaRequired | AnswerPending


@dataclass(frozen=True, slots=True)
class Issue:
    """The decided facts from which tokens are minted, again if a reply was lost (security.md 16)."""

    jti: str
    user_id: str
    epoch: int
    client_id: str
    scope: str
    audience: str
    authentication: Authentication
    issued_at: int
    refresh_token: str = field(default="", repr=False)
    recovery_code: str = field(default="", repr=False)
    remember_token: str = field(default="", repr=False)
    remember_expires_at: int = 0
    quota: Quota | None = None
    """The budget that the proof was counted in; it is told once, and not kept."""


@dataclass(frozen=True, slots=True)
class Chained:
    """A factor was accepted, and one more is needed: the login goes on under a new mfa_token."""

    login: Login
    kinds: tuple[Kind, ...]
    recovery_code: str = field(default="", repr=False)
