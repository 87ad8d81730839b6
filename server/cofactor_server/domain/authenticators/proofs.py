"""What passes between the core and a factor: what is enrolled, asked, answered and concluded (ADR-47)."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar

from cofactor_server.domain.foundation.events import NoticeName
from cofactor_server.domain.foundation.values import Secret, Value, each

C = TypeVar("C")
S = TypeVar("S")

Kind: TypeAlias = str
"""A factor's registered name: one of `domain.authenticators.kinds`, or a plugin's."""


class Purpose(StrEnum):
    """Why a proof is asked for; a challenge of one purpose never serves the other (ADR-2)."""

    LOGIN = "login"
    ENROLL = "enroll"


class Possession(StrEnum):
    """The category that a proof speaks for, when two proofs must be of different kinds (S41)."""

    NONE = "none"
    SOFTWARE = "software"
    HARDWARE = "hardware"


class Facts(Value, frozen=True):
    """What one accepted proof showed; the core alone turns facts into acr and amr (ADR-14)."""

    amr: tuple[str, ...]
    """RFC 8176 values this proof earns by itself; empty for email and recovery codes."""
    possession: Possession
    user_verified: bool = False
    phishing_resistant: bool = False
    replay_resistant: bool = False
    exportable: bool = True
    approve_deny: bool = False
    """True where the user only approved or denied: such a proof never exceeds `mfa-low` (S13)."""
    delivered_by: str = ""
    """`email` for codes sent by mail, which never exceed `mfa-low` (S14)."""
    recovery: bool = False
    """True for recovery codes, which never count as the second of a pair."""


class Account(Value, frozen=True):
    """For whom an authenticator is enrolled, as a factor may show it to that user."""

    user_id: str
    label: str
    """What the user calls the account, such as an email address; shown inside an authenticator app."""
    issuer_label: str
    """The deployment's friendly name, shown beside `label`."""
    issuer: str = ""
    """The deployment's URL."""


class Names(Value, frozen=True):
    """What a challenge is bound to, in words that a device can sign."""

    issuer: str = ""
    challenge_id: str = ""
    user_id: str = ""
    authenticator_id: str = ""
    account: str = ""
    """What the user calls the account, as in `Account.label`."""


CodeMac: TypeAlias = Callable[[str, str], tuple[str, bytes]]
"""From a short code, and a key's id or nothing for the active key, to the key's id and a MAC of 32 octets."""


def _unbound(_code: str, _key_id: str) -> tuple[str, bytes]:
    raise RuntimeError("this context is of no challenge: there is nothing to bind a code to")


class Context(Value, frozen=True):
    """The circumstances of one challenge or verification."""

    application: str
    """The client's display name."""
    purpose: Purpose
    now: int
    """The server's time of decision, in microseconds since the Unix epoch; never the caller's (S93)."""
    source: str = ""
    audience: str = ""
    """What the login asks tokens for, and `scope` likewise; only where it is challenged."""
    scope: str = ""
    transaction: Mapping[str, str] = each(default_factory=dict)
    siblings: Secret[tuple[Any, ...]] = ()
    """Decoded credentials of the user's other active authenticators of the same kind.

    Empty for a challenge that names its authenticator: nothing else may answer it.
    """
    code_mac: Secret[CodeMac] = _unbound
    """Binds a short code to this challenge and authenticator: a factor keeps the MAC, never the code (ADR-10).
    Only where the factor prompts."""
    names: Names = each(default_factory=Names)
    """Only where the factor prompts."""


class Code(Value, frozen=True):
    """A typed code: an OTP, a binding code, a recovery code."""

    value: Secret[str]


class Signed(Value, frozen=True):
    """A signed statement of a device or security key."""

    payload: Secret[bytes]
    signature: Secret[bytes]


class PublicKeyCredential(Value, frozen=True):
    """What a browser's WebAuthn call returned (WebAuthn Level 3 section 5.1)."""

    id: Secret[str]
    """The credential id it states, base64url: enough to choose among authenticators, and proof of nothing."""
    document: Secret[str]
    """All of it, as JSON."""


class Ticket(Value, frozen=True):
    """The secret of a QR code, with what the device that read it says of itself (W13.1)."""

    secret: Secret[str]
    identifier: Secret[str]
    """What the device calls itself, and signs as."""
    name: str
    key: Secret[bytes]
    """A SubjectPublicKeyInfo of a sort that is taken; the holder of the secret states that it is the device's."""
    push_service: str
    push_token: Secret[str]
    token_sha256: Secret[bytes]
    """Of the token that the device gets, to change itself."""


Proof: TypeAlias = Code | Signed | PublicKeyCredential | Ticket


class Message(Value, frozen=True):
    """What the core sends after commit, at most once."""

    channel: str
    """`sms`, `voice`, `email`, `push`, or what a plugin's provider carries."""
    to: Secret[str]
    """A number in E.164 form, an address; for a push `fcm:` or `apns:` and the token of the device."""
    code: Secret[str] = ""
    payload: Secret[Mapping[str, str] | None] = None
    """What a push carries to the app on the device; it is not shown."""
    purpose: Purpose = Purpose.LOGIN
    languages: tuple[str, ...] = ()
    """BCP 47 tags such as `de` or `pt-BR`, best first; none of them known: the deployment's own."""
    notice: NoticeName | None = None
    """What the user is told of, where this is no code."""
    facts: Mapping[str, str] = each(default_factory=dict)
    """Of a notice: `kind` of the authenticator, `time` and `source`; of a link, `time` until which it is good. Never a
    secret."""
    link: Secret[str] = ""
    """Where the user goes on, in place of a code: the page that an enrollment ticket opens."""


class Enrollment(Value, Generic[C], frozen=True):
    """A new, unconfirmed credential and what the user must see once."""

    credential: Secret[C]
    show: Secret[Mapping[str, str]]
    """Shown once to the user and never stored in clear: `secret`, `barcode_uri`, `recovery_code`."""
    name: str = ""
    """A masked, displayable description, such as `XXXXXXXXXXX5044`; empty where W9 has none."""
    unique: Secret[str | None] = None
    """What must be unique over all users of this kind while it is pending, such as the hash of a pairing secret."""


class Prompt(Value, Generic[S], frozen=True):
    """What a challenge expects in answer, what the caller may see, and what is to be sent."""

    expected: Secret[S]
    show: Secret[Mapping[str, str]] = each(default_factory=dict)
    send: Secret[Message | None] = None


class Approved(Value, Generic[C], frozen=True):
    """The proof is good; `credential` is the state from now on."""

    credential: Secret[C]
    facts: Facts
    unique: str | None = None
    """What must be unique over all users of this kind, such as a WebAuthn credential id."""
    show: Secret[str] = ""
    """Shown once to the user: the replacement recovery code."""
    name: str = ""
    """What the proof calls the authenticator, such as a device's name; the user's own name for it wins."""


class Denied(Value, frozen=True):
    """The user refused on purpose."""


class Mismatch(Value, frozen=True):
    """The proof is not good."""

    hint: str = ""
    """What may help whoever asks, such as `check_clock` where a nearby step would have matched (S75)."""
    replay: bool = False
    """True where the proof was good but is used up (S20)."""
    cloned: bool = False
    """True where the proof was good but its counter went back: two devices hold one key (S164)."""


Verdict: TypeAlias = Approved[C] | Denied | Mismatch
