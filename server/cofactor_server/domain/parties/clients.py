"""A client: an application that asks for tokens, with what it was given."""

from enum import StrEnum

from cofactor_server.domain.foundation.values import Secret, Value
from cofactor_server.domain.parties.users import Enrollment, MfaPolicy


class GrantType(StrEnum):
    """Grants that are enabled client by client; the three MFA grants go together (W1.5)."""

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
    USERS_MANAGE = "users:manage"
    """It may name users of its realms without a token of theirs (ADR-5)."""
    HOOK_MAY_SKIP = "hook_may_skip"
    """The operator's hook may spare its users the second factor (ADR-13)."""


class Method(StrEnum):
    """How a client authenticates itself: in one way, whatever else it could show (RFC 7591 section 2)."""

    NONE = "none"
    SECRET = "client_secret"
    TLS = "tls_client_auth"
    """RFC 8705 section 2.1: by a certificate that an authority of the deployment signed, over gRPC."""
    KEY = "private_key_jwt"
    """OpenID Connect Core section 9: by a statement that one of its registered keys signed."""


class Client(Value, frozen=True):
    """An application.

    A client with none of `secret_sha256`, `tls_san` and `jwks` is public: it names itself and proves nothing.
    """

    id: str
    name: str
    created_at: int
    secret_sha256: Secret[bytes] = b""
    grant_types: frozenset[GrantType] = frozenset()
    capabilities: frozenset[Capability] = frozenset()
    audiences: tuple[str, ...] = ()
    """Resource servers it may ask tokens for; the first is the default."""
    algorithm: str = "RS256"
    """Signs access tokens for these audiences (ADR-23)."""
    realms: tuple[str, ...] = ()
    """Realms it may log users of into; empty means the deployment's default realm alone."""
    vouch_methods: tuple[str, ...] = ("pwd",)
    """First factors it may vouch for, RFC 8176 values."""
    mfa_policy: MfaPolicy | None = None
    enrollment: Enrollment = Enrollment.AT_LOGIN
    access_token_seconds: int = 86_400
    refresh_token_seconds: int = 30 * 86_400
    tls_san: str = ""
    """`dns:` or `uri:` and the subject alternative name that its certificates have, to the letter."""
    origins: tuple[str, ...] = ()
    """Of web pages that may read what is answered to it, such as `https://app.example.com`."""
    jwks: Secret[str] = ""
    """Public keys it signs with, a JSON Web Key Set in one line."""

    remember_days: int = 30
    """How long its users' browsers may be remembered; 0 for never."""

    @property
    def method(self) -> Method:
        """How the client authenticates itself."""
        if self.tls_san:
            return Method.TLS
        if self.jwks:
            return Method.KEY
        return Method.SECRET if self.secret_sha256 else Method.NONE

    @property
    def confidential(self) -> bool:
        """Whether the client authenticates itself."""
        return self.method is not Method.NONE
