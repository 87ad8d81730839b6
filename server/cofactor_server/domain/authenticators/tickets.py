"""An enrollment ticket: an operator's word that its holder may enroll an authenticator for a user (ADR-3)."""

from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.kinds import EMAIL, RECOVERY_CODE
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.foundation.values import Secret, Value
from cofactor_server.seams import ALPHANUMERIC, DAY, MINUTE, Entropy

TICKET_LIFE = 5 * DAY
"""W2."""
STRICT_TICKET_LIFE = 10 * MINUTE
"""Of the strict profile (S36)."""
_LENGTH = 32


class EnrollmentTicket(Value, frozen=True):
    """A ticket as it is kept: what never changes of it. Whether it is used up is told by the spent marks."""

    user_id: str
    id: str
    """Names it in events, and as the login that its enrollments belong to."""
    sha256: Secret[bytes]
    """Of what its holder presents."""
    epoch: int
    """The user's when it was issued: it dies with that (ADR-7)."""
    created_at: int
    expires_at: int
    kinds: frozenset[Kind] = frozenset()
    """What it is for; empty for whatever is offered for a first enrollment."""
    several: bool = False
    """Whether it is for a user who is enrolled already, too."""

    def takes(self, kind: Kind) -> bool:
        """Whether it is for a kind; mail only where it is named, as at a login (W3.8)."""
        if kind == RECOVERY_CODE:
            return False  # they come with what is confirmed
        return kind in self.kinds if self.kinds else kind != EMAIL

    def expired(self, now: int) -> bool:
        """Whether its time is over."""
        return now >= self.expires_at


class NewTicket(Value, frozen=True):
    """A ticket that an operator wants."""

    user_id: str
    kinds: frozenset[Kind] = frozenset()
    several: bool = False
    send_mail: bool = False
    """Whether its holder is to get it by mail."""
    email: Secret[str] = ""
    """Where the letter goes; empty for the profile's address, if that is verified."""
    languages: tuple[str, ...] = ()
    """BCP 47 tags of what the user reads, best first."""


class IssuedTicket(Value, frozen=True):
    """A ticket as it is told once, to whoever hands it on."""

    ticket: Secret[str]
    url: Secret[str]
    expires_at: int


class TicketOffer(Value, frozen=True):
    """What a ticket is for, as its holder sees it."""

    issuer_label: str
    user_label: str
    kinds: tuple[Kind, ...]
    expires_at: int


class Confirmed(Value, frozen=True):
    """An authenticator is active, and the ticket used up."""

    authenticator: Authenticator
    recovery_codes: Secret[tuple[str, ...]] = ()


class Waiting(Value, frozen=True):
    """The device has not paired yet."""

    poll_interval: int
    """Microseconds."""


def new_ticket(entropy: Entropy) -> str:
    """Return a ticket: 190 bits, in the letters of W2."""
    return entropy.choose(ALPHANUMERIC, _LENGTH)


def masked(label: str) -> str:
    """Return what the holder of a ticket sees of an account's name: enough to know one's own."""
    name, at, domain = label.rpartition("@")
    if not at:
        name, domain = label, ""
    return f"{name[: 2 if len(name) > 4 else 1]}****{at}{domain}"
