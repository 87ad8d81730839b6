"""A client: an application that asks for tokens, with what it was given."""

from dataclasses import dataclass, field
from enum import StrEnum

from cofactor_server.domain.users import Enrollment, MfaPolicy


class GrantType(StrEnum):
    """Grants that are enabled client by client; the three MFA grants go together (contract section 1.5)."""

    PASSWORD = "password"
    PASSWORD_REALM = "http://auth0.com/oauth/grant-type/password-realm"
    REFRESH_TOKEN = "refresh_token"
    MFA_OTP = "http://auth0.com/oauth/grant-type/mfa-otp"
    MFA_OOB = "http://auth0.com/oauth/grant-type/mfa-oob"
    MFA_RECOVERY_CODE = "http://auth0.com/oauth/grant-type/mfa-recovery-code"
    MFA_WEBAUTHN = "http://auth0.com/oauth/grant-type/mfa-webauthn"
    VOUCHED = "urn:cofactor:grant-type:vouched"


MFA_GRANTS = frozenset({GrantType.MFA_OTP, GrantType.MFA_OOB, GrantType.MFA_RECOVERY_CODE, GrantType.MFA_WEBAUTHN})


class Capability(StrEnum):
    """Powers beyond a grant; none is on by default."""

    VOUCH = "vouch"
    PROVISION = "provision"
    ENROLL = "enroll"
    FORWARD_SOURCE = "forward-source"


@dataclass(frozen=True, slots=True)
class Client:
    """An application.

    A client without `secret_sha256` is public: it names itself and proves nothing.
    """

    id: str
    name: str
    created_at: int
    secret_sha256: bytes = field(default=b"", repr=False)
    grant_types: frozenset[GrantType] = frozenset()
    capabilities: frozenset[Capability] = frozenset()
    audiences: tuple[str, ...] = ()
    """Resource servers it may ask tokens for; the first is the default."""
    algorithm: str = "RS256"
    """Signs access tokens for these audiences (security.md 23)."""
    realms: tuple[str, ...] = ()
    """Realms it may log users of into; empty means the deployment's default realm alone."""
    vouch_methods: tuple[str, ...] = ("pwd",)
    """First factors it may vouch for, RFC 8176 values."""
    mfa_policy: MfaPolicy | None = None
    enrollment: Enrollment = Enrollment.AT_LOGIN
    access_token_seconds: int = 86_400
    refresh_token_seconds: int = 30 * 86_400

    @property
    def confidential(self) -> bool:
        """Whether the client authenticates itself."""
        return bool(self.secret_sha256)
