"""Guess budgets: how many wrong codes are borne, and from whom (ADR-9, W8)."""

from cofactor_server.domain.foundation.values import Value, replace
from cofactor_server.errors import Quota
from cofactor_server.seams import DAY, HOUR, MINUTE, SECOND

STRANGER_FAILURES_PER_DAY = 30
KNOWN_SOURCE_LIFE = 30 * DAY
"""A source that completed MFA for a user counts as the user's own for this long."""
KNOWN_SOURCE_NOTED = HOUR
"""How often that is noted: who logs in again and again from one place does not have it written each time."""
WARN_AFTER = 5
"""Consecutive failures after which the user is told."""
DISABLE_AFTER = 100
"""Consecutive failures that disable the authenticator (S1, S2)."""


PROMPTS_IN_VAIN = 10
"""Prompts on devices without a completed login, after which strangers cause no more and the user is told (S12)."""


class Bucket(Value, frozen=True):
    """A bucket of `size` that regains one every `refill` microseconds.

    Its whole state is one instant, the time at which it would be full again (the generic cell rate
    algorithm), so that a charge is one addition and time alone refills.
    """

    size: int
    refill: int

    def wait(self, full_at: int, now: int) -> int:
        """Return microseconds until one can be taken; 0 if now."""
        return max(0, full_at - now - (self.size - 1) * self.refill)

    def quota(self, name: str, full_at: int, now: int) -> Quota:
        """Return what is left, and when it grows by one."""
        missing = min(self.size, -(-max(0, full_at - now) // self.refill))
        grows_at = full_at - (missing - 1) * self.refill if missing else now
        return Quota(name, self.size, self.size - missing, -(-grows_at // SECOND))

    def exhausted(self, name: str, wait: int, now: int) -> Quota:
        """Return that nothing is left, for `wait` microseconds."""
        return Quota(name, self.size, 0, -(-(now + wait) // SECOND))

    def charged(self, full_at: int, now: int) -> int:
        """Return the state after taking one at `now`."""
        return max(full_at, now) + self.refill

    def refunded(self, full_at: int) -> int:
        """Return the state after giving back what a charge took."""
        return max(0, full_at - self.refill)


class Charge(Value, frozen=True):
    """One to be taken from a bucket that many share, whichever replica serves them."""

    key: str
    """Whose bucket it is, such as `login:` and the MAC of a name."""
    name: str
    """What it limits, such as `login-attempts`."""
    bucket: Bucket


PHONE_SENDS = Bucket(size=10, refill=HOUR)
EMAIL_SENDS = Bucket(size=20, refill=MINUTE)
"""Messages to one user, over all of the user's addresses (W8)."""
PUSH_SENDS = Bucket(size=5, refill=MINUTE // 5)
"""Prompts on the devices of one user, likewise."""
CLIENT_SENDS = Bucket(size=1_000, refill=HOUR // 1_000)
"""Text messages and calls that one client causes, over all users: each of them costs money."""
UNBOUNDED = Bucket(size=1_000_000, refill=1)
"""For what reaches nobody and costs nothing."""


class Pumping(Value, frozen=True):
    """When messages to numbers of one prefix are stopped: whoever earns by them verifies none (S204).

    Only enrollments are counted, and stopped: a number that was verified is no longer anybody's to choose.
    """

    window: int = HOUR
    """Microseconds for which a message counts."""
    messages: int = 50
    """How many must have been sent before anything is concluded; 0 stops nothing ever."""
    verified: float = 0.1
    """Which part of them must have been answered with the right code."""
    digits: int = 3
    """How much of a number, beyond its country's code, makes its prefix."""

    def stops(self, sent: int, verified: int) -> bool:
        """Whether a prefix gets no more."""
        return 0 < self.messages <= sent and verified < sent * self.verified


PUMPING = Pumping()
FAILED_CODES = Bucket(size=10, refill=6 * MINUTE)
SOURCE_FAILED_CODES = Bucket(size=100, refill=6 * MINUTE // 10)
"""A source's budget over all users is ten of a user's; it slows and never disables."""


LOGINS = Bucket(size=10, refill=6 * MINUTE)
"""Wrong passwords for one name, from strangers; the owner's sources have as many of their own (ADR-22)."""
SOURCE_LOGINS = Bucket(size=100, refill=6 * MINUTE // 10)
"""Wrong passwords from one source, over all names."""
SOURCE_TICKETS = SOURCE_LOGINS
"""Enrollment tickets that nobody issued, from one source."""

MOST_GUESS_CHANCE = 1e-4
"""What an operator is warned above (S59)."""


def guess_chance(accepted: int, *, digits: int = 6) -> float:
    """Return the chance that a stranger's whole budget of guesses has a right one (RFC 4226 section 6).

    Args:
        accepted: How many codes are taken at once.
        digits: Of a code.
    """
    return accepted * FAILED_CODES.size / 10.0**digits


class Guard(Value, frozen=True):
    """The failures of one authenticator, or of a linked pair."""

    failures: int = 0
    """Consecutive, cleared by a success."""
    stranger_full_at: int = 0
    known_full_at: int = 0
    stranger_failures: tuple[int, ...] = ()
    """When strangers failed in the last day, oldest first; at most `STRANGER_FAILURES_PER_DAY` are kept."""

    def wait(self, *, known: bool, now: int) -> int:
        """Return microseconds until a guess is allowed; 0 if now.

        Args:
            known: Whether the guess comes from a source that completed MFA for this user lately.
            now: Microseconds since the Unix epoch.
        """
        if known:
            return FAILED_CODES.wait(self.known_full_at, now)
        wait = FAILED_CODES.wait(self.stranger_full_at, now)
        if len(self.stranger_failures) >= STRANGER_FAILURES_PER_DAY:
            wait = max(wait, self.stranger_failures[-STRANGER_FAILURES_PER_DAY] + DAY - now)
        return wait

    def quota(self, *, known: bool, now: int) -> Quota:
        """Return how many guesses are left, and when one more is regained."""
        quota = FAILED_CODES.quota("failed-codes", self.known_full_at if known else self.stranger_full_at, now)
        lately = [at for at in self.stranger_failures if at > now - DAY]
        left = STRANGER_FAILURES_PER_DAY - len(lately)
        if known or left >= quota.remaining:
            return quota
        return quota._replace(remaining=left, resets_at=-(-(lately[0] + DAY) // SECOND))

    def failed(self, *, known: bool, now: int) -> "Guard":
        """Return the guard after a wrong guess at `now`."""
        if known:
            charged = FAILED_CODES.charged(self.known_full_at, now)
            return replace(self, failures=self.failures + 1, known_full_at=charged)
        return replace(
            self,
            failures=self.failures + 1,
            stranger_full_at=FAILED_CODES.charged(self.stranger_full_at, now),
            stranger_failures=(*self.stranger_failures, now)[-STRANGER_FAILURES_PER_DAY:],
        )

    def succeeded(self) -> "Guard":
        """Return the guard after a right guess: the row of failures ends, and nothing is refilled."""
        return replace(self, failures=0) if self.failures else self
