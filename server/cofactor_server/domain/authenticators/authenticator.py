"""An authenticator: one way of one user to prove possession, with its guess budgets."""

from collections.abc import Iterable
from enum import StrEnum

from cofactor_server.domain.authenticators.kinds import RECOVERY_CODE
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.foundation.budgets import Guard
from cofactor_server.domain.foundation.values import Secret, Value, each, replace
from cofactor_server.seams import ALPHANUMERIC, MINUTE, Entropy

PENDING_LIFE = 10 * MINUTE
"""A pending authenticator is gone this long after it was made (ADR-3, S36)."""
PENDING_PER_LOGIN = 5
PENDING_PER_USER = 15
"""Over all of a user's logins, which cost a password each; the oldest gives way."""
ACTIVE_CODE_AUTHENTICATORS = 5
"""How many that answer with a typed code one user may hold (ADR-9)."""
NAME_LENGTH = 64
_SUFFIX_LENGTH = 16


class State(StrEnum):
    """Where an authenticator stands; states go one way only."""

    PENDING = "pending"
    ACTIVE = "active"
    DISABLED = "disabled"
    REMOVED = "removed"
    """Kept without its credential, as the record of what was bound (S33)."""


class Authenticator(Value, frozen=True):
    """One way to prove possession."""

    user_id: str
    id: str
    """Such as `totp|dev_8Rk2TqLmXw4YbN0a`, unique for the user."""
    kind: Kind
    state: State
    created_at: int
    credential: Secret[bytes]
    """The factor's state, sealed with the row's name as associated data."""
    login_id: str = ""
    """The login that made it, while pending; the login or token that removed it, once removed."""
    name: str = ""
    link_id: str = ""
    """Shared by authenticators that are removed together and have one budget."""
    unique_ref: str | None = None
    confirmed_at: int | None = None
    last_used_at: int | None = None
    removed_at: int | None = None
    acr: str = ""
    """The highest level it has reached alone with a first factor; empty until it is used.

    What it can reach is `demands.reach_of`, and what guards adding and removing is `demands.level_to_change`.
    """
    guard: Guard = each(default_factory=Guard)
    implicit: bool = False
    """True for a verified profile address: nobody enrolled it, so it counts as no enrollment and is not removed."""

    @property
    def group(self) -> str:
        """What it shares with the authenticators it is linked to, and with no other."""
        return self.link_id or self.id

    def usable(self) -> bool:
        """Whether it may serve a login."""
        return self.state is State.ACTIVE

    def pending_for(self, login_id: str, now: int) -> bool:
        """Whether `login_id` may confirm it at `now`."""
        return self.state is State.PENDING and self.login_id == login_id and not self.lapsed(now)

    def lapsed(self, now: int) -> bool:
        """Whether nobody confirmed it in time: it is gone, whether or not its row is pruned yet."""
        return self.state is State.PENDING and now >= self.created_at + PENDING_LIFE

    def removed(self, now: int, by: str = "") -> "Authenticator":
        """Return the record that stays when it is removed: no credential, no unique reference.

        Args:
            now: When.
            by: Id of the login or token that removes it; empty for an operator, and for one that was pending.
        """
        return replace(self, state=State.REMOVED, credential=b"", unique_ref=None, login_id=by, removed_at=now)


def enrolled(authenticators: Iterable[Authenticator]) -> bool:
    """Tell whether a user is enrolled (ADR-1).

    Confirmed and not removed is enough: an authenticator that failures disabled, or of a kind that is switched off,
    still counts, so that exhausting it never opens the way to enroll another. Recovery codes do not count, and neither
    does a profile address that nobody enrolled.
    """
    for a in authenticators:
        if (a.state is State.ACTIVE or a.state is State.DISABLED) and a.kind != RECOVERY_CODE and not a.implicit:
            return True
    return False


def held(authenticators: Iterable[Authenticator]) -> int:
    """Return how many authenticators a user enrolled and can use; a linked pair, having one budget, is one."""
    return len({a.group for a in authenticators if a.usable() and a.kind != RECOVERY_CODE and not a.implicit})


def offered_order(authenticators: Iterable[Authenticator]) -> list[Authenticator]:
    """Return authenticators as they are offered: confirmed last first, pending after, recovery codes last (S199).

    Of two that were confirmed together the one comes first that was used last: the one that was asked for.
    """
    return sorted(
        authenticators,
        key=lambda a: (
            a.kind == RECOVERY_CODE,
            -(a.confirmed_at or 0),
            -(a.last_used_at or 0),
            -a.created_at,
            a.id,
        ),
    )


def new_suffix(entropy: Entropy) -> str:
    """Return the end of an authenticator's id, which the two of one telephone share (W6)."""
    return entropy.choose(ALPHANUMERIC, _SUFFIX_LENGTH)


def id_of(kind: Kind, suffix: str) -> str:
    """Return the id of an authenticator."""
    return f"{kind}|dev_{suffix}"
