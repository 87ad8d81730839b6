"""What one deployment decides for all its users and clients."""

from urllib.parse import urlsplit

from cofactor_server.domain.authenticators.kinds import EMAIL, HOTP, RESTRICTED, SMS, TOTP, VOICE
from cofactor_server.domain.authenticators.proofs import Account, Kind
from cofactor_server.domain.foundation.budgets import (
    CLIENT_SENDS,
    DISABLE_AFTER,
    EMAIL_SENDS,
    LOGINS,
    PHONE_SENDS,
    PUMPING,
    SOURCE_LOGINS,
    Bucket,
    Pumping,
    guess_chance,
)
from cofactor_server.domain.foundation.events import EVENTS_RETENTION
from cofactor_server.domain.foundation.values import Value
from cofactor_server.domain.logins.login import MFA_TOKEN_LIFE
from cofactor_server.domain.parties.relying_party import RelyingParty, UserVerification, origin_of
from cofactor_server.domain.parties.users import MfaPolicy, User
from cofactor_server.seams import MINUTE, SECOND

MFA_SCOPES = ("enroll", "read:authenticators", "remove:authenticators")
MFA_ACCESS_TOKEN_SECONDS = 600
"""Fixed by W2."""


class Deployment(Value, frozen=True):
    """One tenant, one issuer."""

    issuer: str
    """With a trailing slash, such as `https://auth.example.com/`."""
    friendly_name: str = "Cofactor"
    default_realm: str = "default"
    mfa_policy: MfaPolicy = MfaPolicy.WHEN_ENROLLED
    kinds: frozenset[Kind] = frozenset({"totp"})
    """Factors that are switched on; recovery codes among them or not."""
    mfa_token_life: int = MFA_TOKEN_LIFE
    """Microseconds."""
    vouch_max_age: int = 5 * MINUTE
    """How long ago a vouched first factor may lie, in microseconds."""
    refresh_reuse_leeway: int = 0
    """How long a used refresh token still gets its successor, in microseconds (ADR-15)."""
    hotp_look_ahead: int = 9
    """How many codes beyond the next one of a token are taken, for a button that was pressed in vain."""
    strict: bool = False
    """The strict profile (docs/requirements.md, "Where the sources disagree")."""
    webauthn_rp_id: str = ""
    """Default: the issuer's host."""
    webauthn_origins: tuple[str, ...] = ()
    """Default: the issuer's."""
    user_verification: UserVerification = UserVerification.PREFERRED
    """Of security keys and passkeys; the strict profile requires it."""
    guardian_url: str = ""
    """A host of its own that apps of the Guardian wire call, with a trailing slash; empty where it is the issuer's."""
    logins: Bucket = LOGINS
    """Wrong passwords for a name, from strangers; from the owner's sources as many again."""
    source_logins: Bucket = SOURCE_LOGINS
    """Wrong passwords from a source, over all names."""
    refusal_pause: int = SECOND // 2
    """How long a source waits to hear that a login is throttled, in microseconds.

    A known user's password is looked at meanwhile, so that time does not tell who is known."""
    number_sends: Bucket = PHONE_SENDS
    """Text messages and calls to a number that is being enrolled, over all users."""
    address_sends: Bucket = EMAIL_SENDS
    """Mails to an address that is being enrolled, likewise."""
    client_sends: Bucket = CLIENT_SENDS
    """Text messages and calls that a client causes."""
    pumping: Pumping = PUMPING
    """When messages to numbers of one prefix are stopped."""
    disable_after: int = DISABLE_AFTER
    """Consecutive failures that disable an authenticator (S1, S56)."""
    events_retention: int = EVENTS_RETENTION
    """How long events are kept, in microseconds; 0 keeps them for ever."""
    keep_last_authenticator: bool = False
    """Whether no user removes the last authenticator; always so in the strict profile."""
    support_contact: str = ""
    """Whom a user asks for help, such as `help@example.com`; printable ASCII, empty for none."""

    def account(self, user: User) -> Account:
        """Return for whom an authenticator is enrolled, as a factor may show it."""
        return Account(user.id, user.shown_label, self.friendly_name, self.issuer)

    def serves(self, kind: Kind) -> bool:
        """Whether a kind is switched on; the strict profile leaves out those whose codes others may read."""
        return kind in self.kinds and not (self.strict and kind in RESTRICTED)

    @property
    def keeps_last_authenticator(self) -> bool:
        """Whether no user of this deployment removes the last authenticator, whatever rules say."""
        return self.keep_last_authenticator or self.strict

    def guess_chances(self) -> dict[Kind, float]:
        """Return, by kind that takes typed codes, the chance that a stranger's ten guesses have a right one (S59)."""
        accepted = {TOTP: 1 if self.strict else 3, HOTP: self.hotp_look_ahead + 1, SMS: 1, VOICE: 1, EMAIL: 1}
        return {kind: guess_chance(codes) for kind, codes in accepted.items() if self.serves(kind)}

    @property
    def mfa_audience(self) -> str:
        """The audience of tokens that manage authenticators."""
        return self.issuer + "mfa/"

    @property
    def userinfo_audience(self) -> str:
        """The audience added where `openid` is asked for."""
        return self.issuer + "userinfo"

    @property
    def token_endpoint(self) -> str:
        """Where grants are exchanged over HTTP; clients may name it as the audience of what they sign."""
        return self.issuer + "oauth/token"

    @property
    def relying_party(self) -> RelyingParty:
        """For whom security keys and passkeys are registered."""
        return RelyingParty(
            id=self.webauthn_rp_id or urlsplit(self.issuer).hostname or "",
            name=self.friendly_name,
            origins=self.webauthn_origins or (origin_of(self.issuer),),
            user_verification=UserVerification.REQUIRED if self.strict else self.user_verification,
        )

    def is_mfa_audience(self, audience: str) -> bool:
        """Whether `audience` asks for the MFA audience; the slash at its end may be missing (W2)."""
        return audience in (self.mfa_audience, self.mfa_audience[:-1])
