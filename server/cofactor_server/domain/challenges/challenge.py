"""A challenge: asked of one authenticator for one login, answered once, redeemed once."""

from enum import StrEnum

from cofactor_server.domain.authenticators.proofs import Purpose
from cofactor_server.domain.foundation.values import Secret, Value, replace
from cofactor_server.seams import MINUTE, SECOND

CHALLENGE_LIFE = 5 * MINUTE
"""W2; well inside the ten minutes of S8."""

PENDING_PER_USER = 10
"""How many of one user's wait for an answer at once, over all logins; the oldest gives way.

Of strangers and of known sources as many each, so that strangers do not push out what the owner is about to answer."""


POLL_INTERVAL = 5 * SECOND
"""The least time between two polls at first, and what it grows by at each that comes too soon (S136)."""
LONGEST_POLL_INTERVAL = MINUTE
POLL_LEEWAY = SECOND // 2
"""How much too soon a poll may come: networks deliver those that were sent in time unevenly."""
POLL_RETRIES = 3 * SECOND
"""How long after a poll that came too soon its retries are not counted.

HTTP clients repeat a request that was answered 429 before their caller hears of it: auth0-java three times within
0.84 s, go-auth0 twice within 1.5 s, and the time of the round trips on top. Three retries, each within a second of
the poll before, are one burst.
"""


class ChallengeState(StrEnum):
    """What is stored: pending to approved, denied or superseded; approved to redeemed. Never back."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    REDEEMED = "redeemed"
    SUPERSEDED = "superseded"


class Standing(StrEnum):
    """Where a challenge stands, as those who wait for it are told."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    REDEEMED = "redeemed"

    @property
    def final(self) -> bool:
        """Whether it stays so."""
        return self not in (Standing.PENDING, Standing.APPROVED)


class Challenge(Value, frozen=True):
    """One challenge; bound to its login, client, user, purpose and authenticator (ADR-2)."""

    user_id: str
    id: str
    client_id: str
    login_id: str
    purpose: Purpose
    authenticator_id: str
    state: ChallengeState
    epoch: int
    created_at: int
    expires_at: int
    expected: Secret[bytes]
    """What the factor expects in answer, sealed with the row's name as associated data."""
    answered_at: int | None = None
    """When it was approved or denied, by whomever."""
    answer: Secret[bytes] = b""
    """What the answer showed, sealed likewise, for the login that redeems it; empty unless somebody approved it."""
    poll_interval: int = POLL_INTERVAL
    """The least time between two polls from now on, in microseconds; kept here, so that replicas share it (S137)."""
    next_poll_at: int = 0
    """Before this instant a poll comes too soon."""
    known: bool = False
    """Whether it was asked for from a source where the user completed MFA lately, or from a remembered browser."""

    @property
    def by_ticket(self) -> bool:
        """Whether it belongs to an enrollment ticket, which is no client's; `login_id` is the ticket's then."""
        return not self.client_id

    def standing(self, now: int) -> Standing:
        """Return where it stands at `now`."""
        waiting = self.state in (ChallengeState.PENDING, ChallengeState.APPROVED)
        if self.state is ChallengeState.SUPERSEDED or (waiting and now >= self.expires_at):
            return Standing.EXPIRED
        return Standing(self.state)

    def polled(self, now: int) -> "tuple[Challenge, bool]":
        """Return the challenge after a poll of its client, and whether the poll came too soon.

        One that does lets the interval grow, for this and all later polls (RFC 8628 section 3.5). Retries that follow
        within `POLL_RETRIES` are refused too, and change nothing: the challenge comes back as it is.
        """
        soon = now < self.next_poll_at - POLL_LEEWAY
        if soon and self._is_retry(now):
            return self, True
        interval = min(self.poll_interval + POLL_INTERVAL, LONGEST_POLL_INTERVAL) if soon else self.poll_interval
        return replace(self, poll_interval=interval, next_poll_at=now + interval), soon

    def _is_retry(self, now: int) -> bool:
        counted_at = self.next_poll_at - self.poll_interval
        has_grown = self.poll_interval > POLL_INTERVAL  # until then no poll was refused that could be retried
        return has_grown and now < counted_at + POLL_RETRIES
