"""What ends when an authenticator goes: everything that it opened (ADR-53).

Refresh tokens, remembered browsers and access tokens name the authenticators that they came from, and each use asks
here. So no way in which an authenticator is removed or disabled can forget to end something.
"""

from collections.abc import Collection, Iterable, Sequence

from cofactor_server.domain.authenticators.acr import Authentication, Level
from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.foundation.values import Value
from cofactor_server.domain.logins.refresh import RefreshFamily
from cofactor_server.domain.parties.users import User


class Opened(Value, frozen=True):
    """What a user has open, each by the ids of the authenticators that it came from."""

    refresh_tokens: tuple[tuple[str, ...], ...] = ()
    browsers: tuple[tuple[str, ...], ...] = ()

    def by(self, gone: Collection[str]) -> "Opened":
        """Return what came from any of the authenticators that are gone, and ends with them."""
        return Opened(
            tuple(ids for ids in self.refresh_tokens if not set(ids).isdisjoint(gone)),
            tuple(ids for ids in self.browsers if not set(ids).isdisjoint(gone)),
        )

    @property
    def details(self) -> dict[str, str]:
        """How many ended, as an event tells it."""
        return {
            "ended_refresh_tokens": str(len(self.refresh_tokens)),
            "ended_browsers": str(len(self.browsers)),
        }


def opened(
    user: User,
    families: Iterable[RefreshFamily],
    browsers: Iterable[tuple[int, tuple[str, ...]]],
    authenticators: Sequence[Authenticator],
    now: int,
) -> Opened:
    """Return what of a user's is open.

    Args:
        user: The user.
        families: Of the user.
        browsers: The epoch at which each was remembered, and by which authenticators.
        authenticators: What the user has.
        now: The time.
    """
    good = (f for f in families if f.epoch == user.epoch and not f.revoked and now < f.expires_at)
    by = (f.authentication.authenticators for f in good)
    return Opened(
        tuple(ids for ids in by if stands(ids, authenticators)),
        tuple(ids for epoch, ids in browsers if epoch == user.epoch and ids and stands(ids, authenticators)),
    )


def gone_of(opened_by: Iterable[str], authenticators: Iterable[Authenticator]) -> frozenset[str]:
    """Return which of the authenticators that opened something are removed or disabled.

    One of a kind that is switched off for everybody is neither.

    Args:
        opened_by: Their ids.
        authenticators: What the user has.
    """
    return frozenset(opened_by).difference(a.id for a in authenticators if a.usable())


def stands(opened_by: Iterable[str], authenticators: Iterable[Authenticator]) -> bool:
    """Whether every authenticator that opened something is still in use."""
    return not gone_of(opened_by, authenticators)


def lacks_factor(shown: Authentication, *, asks: bool) -> bool:
    """Whether a refresh token has to be backed by a factor before it goes on; none is used up by that.

    A password alone opened it, and policy asks for more by now: since the user enrolled, or since a rule was added. Or
    a factor did in a version that did not keep which: it may be gone.

    Args:
        shown: What opened it, or was shown last.
        asks: Whether policy asks for a second factor, of this user at this client, as things are now.
    """
    if shown.authenticators:
        return False
    return shown.level > Level.ONE_FACTOR or (asks and not shown.spared)
