"""What an authentication amounts to: facts in, acr and amr out (ADR-14, RFC 8176)."""

from collections.abc import Iterable
from enum import IntEnum

from cofactor_server.domain.authenticators.proofs import Facts, Possession
from cofactor_server.domain.foundation.values import Value

PREFIX = "urn:cofactor:acr:"
PAPE_MULTI_FACTOR = "http://schemas.openid.net/pape/policies/2007/06/multi-factor"
"""An alias of `urn:cofactor:acr:mfa` in requests."""
FIRST_FACTOR_METHODS = frozenset({"pwd", "pin", "kba", "user", "fpt", "face", "wia", "sc"})
"""RFC 8176 values that may be stated of a first factor; `mfa` and possession values never."""


class Level(IntEnum):
    """How strong an authentication was, weakest first."""

    ONE_FACTOR = 1
    MFA_LOW = 2
    MFA = 3
    PHISHING_RESISTANT = 4
    PHISHING_RESISTANT_HARDWARE = 5

    @property
    def acr(self) -> str:
        """The acr value, such as `urn:cofactor:acr:mfa`."""
        return _ACRS[self]

    @property
    def demanded(self) -> str:
        """The acr value where this is demanded; empty for the weakest, which whoever logs in has anyway."""
        return self.acr if self > Level.ONE_FACTOR else ""

    @classmethod
    def named(cls, acr: str) -> "Level | None":
        """Return the level an acr value names; None for a value that is not ours."""
        return cls.MFA if acr == PAPE_MULTI_FACTOR else _LEVELS.get(acr)

    @classmethod
    def of(cls, acr: str) -> "Level":
        """Return the level an acr value names; unknown and empty values are the weakest."""
        return cls.named(acr) or cls.ONE_FACTOR


_ACRS = {
    Level.ONE_FACTOR: f"{PREFIX}1fa",
    Level.MFA_LOW: f"{PREFIX}mfa-low",
    Level.MFA: f"{PREFIX}mfa",
    Level.PHISHING_RESISTANT: f"{PREFIX}phr",
    Level.PHISHING_RESISTANT_HARDWARE: f"{PREFIX}phrh",
}
_LEVELS = {acr: level for level, acr in _ACRS.items()}


class Authentication(Value, frozen=True):
    """How a user was authenticated, as tokens state it."""

    level: Level
    amr: tuple[str, ...]
    time: int
    """When the last factor was shown, in microseconds since the Unix epoch (S134)."""
    recovery: bool = False
    """Whether a recovery code was the second factor: enough to replace authenticators (S32), never a raised level."""
    two_kinds: bool = False
    """Whether factors of two sorts of possession were shown beside the first factor (S41)."""
    authenticators: tuple[str, ...] = ()
    """Ids of those that were shown, or that a browser is remembered by.

    What was opened ends with them: `domain.authenticators.endings`.
    """
    spared: bool = False
    """Whether a factor was asked for and a remembered browser, or the hook, spared it."""


def level_of(facts: Facts) -> Level:
    """Return the level that a first factor together with this proof reaches."""
    if facts.recovery or facts.delivered_by == "email" or facts.approve_deny:
        return Level.MFA_LOW
    if facts.possession is Possession.NONE:
        return Level.ONE_FACTOR
    if facts.phishing_resistant:
        hardware = facts.possession is Possession.HARDWARE and not facts.exportable
        return Level.PHISHING_RESISTANT_HARDWARE if hardware else Level.PHISHING_RESISTANT
    return Level.MFA


def authentication(
    methods: Iterable[str],
    facts: Facts | None,
    *,
    time: int,
    authenticators: tuple[str, ...] = (),
    spared: bool = False,
) -> Authentication:
    """Return what a first factor and, if given, one second factor amount to.

    Args:
        methods: RFC 8176 values of the first factor, such as `pwd`.
        facts: What the second factor showed; None where there was none.
        time: When the last of them was shown, in microseconds since the Unix epoch.
        authenticators: What it came from; see `Authentication`.
        spared: Whether a second factor was asked for, and spared.
    """
    first = tuple(methods)
    if facts is None:
        return Authentication(Level.ONE_FACTOR, first, time, authenticators=authenticators, spared=spared)
    if not first:
        return Authentication(Level.ONE_FACTOR, facts.amr, time, recovery=facts.recovery, authenticators=authenticators)
    both = facts.possession is not Possession.NONE
    amr = dict.fromkeys((*first, *facts.amr, *(("mfa",) if both else ())))
    return Authentication(level_of(facts), tuple(amr), time, recovery=facts.recovery, authenticators=authenticators)
