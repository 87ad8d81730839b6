"""Whether an authenticator may be removed, and what goes with it: one rule for every way to remove one."""

from collections.abc import Collection

from cofactor_server.domain.authenticators.authenticator import Authenticator, State, enrolled
from cofactor_server.domain.foundation.events import EventName, NoticeName
from cofactor_server.domain.foundation.values import Value


class Removal(Value, frozen=True):
    """What removing authenticators amounts to."""

    gone: tuple[Authenticator, ...]
    """All that is removed: after the last one the recovery codes and what waits to be confirmed, too."""
    is_last: bool
    """Whether the user is enrolled, and is not any more afterwards."""
    is_told: bool
    """Whether it is an event, and the user hears of it: not where nothing was confirmed."""

    @property
    def event(self) -> EventName:
        """What is recorded."""
        return EventName.LAST_AUTHENTICATOR_REMOVED if self.is_last else EventName.AUTHENTICATOR_REMOVED

    @property
    def notice(self) -> NoticeName:
        """What the user is told."""
        return NoticeName.LAST_AUTHENTICATOR_REMOVED if self.is_last else NoticeName.AUTHENTICATOR_REMOVED


def removal(chosen: Collection[Authenticator], mine: Collection[Authenticator]) -> Removal:
    """Return what removing authenticators of a user amounts to.

    The last one is the last of those that count as enrolled (ADR-1): confirmed and not removed, be it disabled
    by failures or of a kind that is switched off. Recovery codes, pending ones and a profile address do not count.
    While one counts, a password alone enrolls nothing.

    Args:
        chosen: What is to be removed, with what it is linked to: a linked pair goes together and is one.
        mine: All of the user's authenticators, as they are under the lock.
    """
    ids = {a.id for a in chosen}
    rest = [a for a in mine if a.id not in ids]
    is_last = enrolled(mine) and not enrolled(rest)
    also = [a for a in rest if not a.implicit] if is_last else []
    return Removal((*chosen, *also), is_last, any(a.state is not State.PENDING for a in chosen))
