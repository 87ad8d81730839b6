"""What a login has to show beyond any second factor, and what it has shown so far (S41, S132, S191, ADR-14)."""

from collections.abc import Iterable, Sequence

from cofactor_server.domain.authenticators.acr import Authentication, Level, authentication, level_of
from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.kinds import EMAIL, OURS, PUSH, RECOVERY_CODE, WEBAUTHN
from cofactor_server.domain.authenticators.proofs import Facts, Kind, Possession
from cofactor_server.domain.foundation.values import Value, replace


class Shown(Value, frozen=True):
    """One factor that this login has shown."""

    authenticator_id: str
    group: str
    """What it shares with the authenticators it is linked to."""
    facts: Facts
    time: int


class Demand(Value, frozen=True):
    """What a login has to reach before tokens are issued; sealed into its mfa_token."""

    level: Level = Level.ONE_FACTOR
    """The least level; `ONE_FACTOR` where any second factor will do."""
    two_kinds: bool = False
    """Whether two factors of different possession are needed beside the first factor."""
    shown: tuple[Shown, ...] = ()
    family_id: str = ""
    """Of the refresh token that was presented; empty for a login that began with a first factor (ADR-15)."""
    generation: int = 0
    decided_by: tuple[str, ...] = ()
    """Whose word this is, such as `acr_values`, a rule's id or `hook`."""
    kinds: tuple[Kind, ...] | None = None
    """The kinds that may be shown; None for every kind."""

    @property
    def steps_up(self) -> bool:
        """Whether not any second factor will do."""
        return self.level > Level.ONE_FACTOR or self.two_kinds or bool(self.shown) or self.kinds is not None

    def takes(self, kind: Kind) -> bool:
        """Whether factors of a kind may be shown at all."""
        return self.kinds is None or kind in self.kinds

    def joined(self, shown: Shown) -> "Demand":
        """Return the demand after one more factor was shown."""
        return replace(self, shown=(*self.shown, shown))

    def amounts_to(self, methods: Sequence[str]) -> Authentication:
        """Return what a first factor and everything shown since amount to; at least one factor was shown."""
        each = [authentication(methods, shown.facts, time=shown.time) for shown in self.shown]
        amr = dict.fromkeys(value for one in each for value in one.amr if value != "mfa")
        if any("mfa" in one.amr for one in each):
            amr["mfa"] = None
        return Authentication(
            level=max(one.level for one in each),
            amr=tuple(amr),
            time=max(one.time for one in each),
            recovery=any(one.recovery for one in each),
            two_kinds=len({shown.facts.possession for shown in self.shown}) > 1,
            authenticators=tuple(dict.fromkeys(shown.authenticator_id for shown in self.shown)),
        )

    def met(self, methods: Sequence[str]) -> bool:
        """Whether what was shown is enough."""
        enough = 2 if self.two_kinds else 1
        return len(self.shown) >= enough and self.amounts_to(methods).level >= self.level

    def repeats(self, group: str, facts: Facts) -> bool:
        """Whether a proof is no second factor beside those shown: the same one, its twin, a recovery code, or its kind.

        Two of a kind can reach a level together; it is where two kinds are asked for that they are one.
        """
        if not self.shown:
            return False
        if facts.recovery or any(shown.group == group for shown in self.shown):
            return True
        return self.two_kinds and any(shown.facts.possession is facts.possession for shown in self.shown)

    def admits(self, authenticator: Authenticator) -> bool:
        """Whether an authenticator may still be shown, as far as can be told before it is."""
        if not self.takes(authenticator.kind):
            return False
        if not self.shown:
            return True
        if authenticator.kind == RECOVERY_CODE or any(s.group == authenticator.group for s in self.shown):
            return False
        possession = possession_of(authenticator)
        return not (self.two_kinds and any(shown.facts.possession is possession for shown in self.shown))

    def answered_by(self, usable: Iterable[Authenticator]) -> list[Authenticator]:
        """Return those of the usable authenticators that lead to what is demanded, in their order."""
        mine = [a for a in usable if self.takes(a.kind)]
        if self.two_kinds and not self.shown:
            return [a for a in mine if any(self._pair(a, other) for other in mine)]
        reached = max((level_of(shown.facts) for shown in self.shown), default=Level.ONE_FACTOR)
        return [a for a in mine if self.admits(a) and max(reached, reach_of(a)) >= self.level]

    def _pair(self, first: Authenticator, second: Authenticator) -> bool:
        """Whether two authenticators would do, in this order: a recovery code only ever comes first."""
        if first.group == second.group or second.kind == RECOVERY_CODE:
            return False
        of_first, of_second = possession_of(first), possession_of(second)
        differ = of_first is None or of_second is None or of_first is not of_second
        return differ and max(reach_of(first), reach_of(second)) >= self.level


class Wanted(Value, frozen=True):
    """How a user has to be authenticated for what is asked: by a client, or by policy."""

    level: Level = Level.ONE_FACTOR
    max_age: int | None = None
    """Microseconds; 0 asks for a factor now (S131)."""
    two_kinds: bool = False
    by: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] | None = None
    """The kinds that may be shown; None for every kind. The hook alone says so, of one login."""

    def misses(self, shown: Authentication, now: int) -> bool:
        """Whether an authentication of before is too weak, of one kind where two are wanted, or too old."""
        one_kind = self.two_kinds and not shown.two_kinds
        return one_kind or shown.level < self.level or self.outdates(shown.time, now)

    def outdates(self, time: int, now: int) -> bool:
        """Whether what was shown at `time` is too old."""
        return self.max_age is not None and (self.max_age == 0 or now - time > self.max_age)

    def joined(self, other: "Wanted") -> "Wanted":
        """Return what satisfies both."""
        ages = [age for age in (self.max_age, other.max_age) if age is not None]
        return Wanted(
            max(self.level, other.level),
            min(ages, default=None),
            self.two_kinds or other.two_kinds,
            tuple(dict.fromkeys((*self.by, *other.by))),
            _both(self.kinds, other.kinds),
        )


def _both(one: tuple[Kind, ...] | None, other: tuple[Kind, ...] | None) -> tuple[Kind, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    return tuple(kind for kind in one if kind in other)


def possession_of(authenticator: Authenticator) -> Possession | None:
    """Return what a proof of an authenticator will speak for; None where only the proof can tell."""
    match authenticator.kind:
        case kind if kind in (EMAIL, RECOVERY_CODE):
            return Possession.NONE
        case kind if kind == WEBAUTHN:
            hardware = Level.of(authenticator.acr) is Level.PHISHING_RESISTANT_HARDWARE
            return Possession.HARDWARE if hardware else Possession.SOFTWARE
        case kind if kind in OURS:
            return Possession.SOFTWARE
    return None


def reach_of(authenticator: Authenticator) -> Level:
    """Return the highest level that an authenticator may reach beside a first factor, whether or not it was used.

    A key that can be copied stays one, and a device that only approves stays one: of these two kinds the credential
    decides, and what it showed when it was confirmed is what it can show.
    """
    if authenticator.kind in (WEBAUTHN, PUSH) and authenticator.acr:
        return Level.of(authenticator.acr)
    return kind_reach(authenticator.kind)


def level_to_change(authenticators: Iterable[Authenticator]) -> Level:
    """Return the level that a change of a user's authenticators takes (S34, ADR-8).

    It is the highest that a confirmed one can reach. What was shown so far is no measure: an operator's app, an
    imported token and the twin of a device or telephone are the user's before they are used, and must not fall to a
    weaker factor until then. A plugin's kind may claim any level, so that its user would never reach what it could:
    it counts as what it has shown at best, and as the highest level as long as it has shown nothing.
    """
    confirmed = (a for a in authenticators if a.state is not State.PENDING)
    return max(map(_counted, confirmed), default=Level.ONE_FACTOR)


def _counted(authenticator: Authenticator) -> Level:
    if authenticator.kind not in OURS and authenticator.acr:
        return Level.of(authenticator.acr)
    return reach_of(authenticator)


def kind_reach(kind: Kind) -> Level:
    """Return the highest level that authenticators of a kind may reach; of a plugin's kind nobody knows before."""
    if kind in (EMAIL, RECOVERY_CODE):
        return Level.MFA_LOW
    return Level.MFA if kind in OURS and kind != WEBAUTHN else Level.PHISHING_RESISTANT_HARDWARE
