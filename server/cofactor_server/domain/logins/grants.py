"""What a client exchanges for tokens, and what comes of it."""

from typing import ClassVar, TypeAlias

from cofactor_server.domain.authenticators.acr import Authentication
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.foundation.values import Secret, Value
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.clients import GrantType
from cofactor_server.domain.parties.users import EnrollmentWay
from cofactor_server.errors import Quota


class Target(Value, frozen=True):
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


class PasswordGrant(Value, frozen=True):
    """A name and a password; an empty realm is the deployment's default."""

    username: str
    password: Secret[str]
    realm: str = ""
    target: Target = Target()
    by_realm: bool = False
    """Whether the password-realm grant was used, which is enabled on its own."""
    remember_token: Secret[str] = ""
    """Of a browser that is remembered; one that is not good is as good as none."""

    @property
    def grant_type(self) -> GrantType:
        """Which of the two grants was used."""
        return GrantType.PASSWORD_REALM if self.by_realm else GrantType.PASSWORD


class RefreshTokenGrant(Value, frozen=True):
    """A refresh token."""

    grant_type: ClassVar[GrantType] = GrantType.REFRESH_TOKEN
    refresh_token: Secret[str]
    target: Target = Target()


class MfaOtpGrant(Value, frozen=True):
    """A one-time password for the login that `mfa_token` stands for."""

    grant_type: ClassVar[GrantType] = GrantType.MFA_OTP
    mfa_token: Secret[str]
    otp: Secret[str]
    authenticator_id: str = ""
    remember: bool = False
    """Whether the browser is to be remembered."""


class MfaOobGrant(Value, frozen=True):
    """A challenge that was answered over another channel, or is answered here with a code."""

    grant_type: ClassVar[GrantType] = GrantType.MFA_OOB
    mfa_token: Secret[str]
    oob_code: Secret[str]
    binding_code: Secret[str] = ""
    remember: bool = False


class MfaRecoveryCodeGrant(Value, frozen=True):
    """A saved recovery code."""

    grant_type: ClassVar[GrantType] = GrantType.MFA_RECOVERY_CODE
    mfa_token: Secret[str]
    recovery_code: Secret[str]


class MfaWebAuthnGrant(Value, frozen=True):
    """An assertion of a security key or passkey."""

    grant_type: ClassVar[GrantType] = GrantType.MFA_WEBAUTHN
    mfa_token: Secret[str]
    oob_code: Secret[str]
    credential_id: Secret[str]
    """What the document states as its `id`."""
    credential_json: Secret[str]
    remember: bool = False


class VouchedGrant(Value, frozen=True):
    """A trusted client's statement that a user showed a first factor (ADR-6)."""

    grant_type: ClassVar[GrantType] = GrantType.VOUCHED
    realm: str
    subject: str
    methods: tuple[str, ...]
    authenticated_at: int
    label: str = ""
    target: Target = Target()
    remember_token: Secret[str] = ""


Grant: TypeAlias = (
    PasswordGrant
    | RefreshTokenGrant
    | MfaOtpGrant
    | MfaOobGrant
    | MfaRecoveryCodeGrant
    | MfaWebAuthnGrant
    | VouchedGrant
)


class Tokens(Value, frozen=True):
    """A completed login, RFC 6749 section 5.1."""

    access_token: Secret[str]
    expires_in: int
    """Seconds."""
    scope: str = ""
    id_token: Secret[str] = ""
    refresh_token: Secret[str] = ""
    recovery_code: Secret[str] = ""
    remember_token: Secret[str] = ""
    remember_expires_at: int = 0
    quota: Quota | None = None
    """The budget that it is counted in."""


class MfaRequired(Value, frozen=True):
    """A second factor is awaited."""

    mfa_token: Secret[str]
    expires_at: int
    enroll: bool
    """True: `kinds` can be enrolled. False: `kinds` can be challenged."""
    kinds: tuple[Kind, ...]
    way: EnrollmentWay = EnrollmentWay.AT_LOGIN
    """How the user enrolls, where the user has to."""
    contact: str = ""
    """Whom to ask, where a ticket would enroll."""
    recovery_code: Secret[str] = ""
    """The replacement, where a recovery code was used and one more factor is needed."""
    quota: Quota | None = None
    """The budget that it is counted in."""


class AnswerPending(Value, frozen=True):
    """The challenge is not answered yet."""

    poll_interval: int
    """Microseconds."""
    quota: Quota | None = None
    """The budget that it is counted in."""


Outcome: TypeAlias = Tokens | MfaRequired | AnswerPending


class Issue(Value, frozen=True):
    """The decided facts from which tokens are minted, again if a reply was lost (ADR-16)."""

    jti: str
    user_id: str
    epoch: int
    client_id: str
    scope: str
    audience: str
    authentication: Authentication
    issued_at: int
    refresh_token: Secret[str] = ""
    recovery_code: Secret[str] = ""
    remember_token: Secret[str] = ""
    remember_expires_at: int = 0
    quota: Quota | None = None
    """The budget that the proof was counted in; it is told once, and not kept."""


class Chained(Value, frozen=True):
    """A factor was accepted, and one more is needed: the login goes on under a new mfa_token."""

    login: Login
    kinds: tuple[Kind, ...]
    recovery_code: Secret[str] = ""
