"""Rules of an operator: for whom and for what a second factor is asked, and how strong it has to be."""

from collections.abc import Collection, Iterable, Sequence

from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.foundation.values import Value
from cofactor_server.domain.logins.demands import Wanted
from cofactor_server.domain.parties.users import MfaPolicy

_STRENGTH = (MfaPolicy.NEVER, MfaPolicy.WHEN_ENROLLED, MfaPolicy.ALWAYS)


def strongest(policies: Iterable[MfaPolicy]) -> MfaPolicy:
    """Return the policy that asks most; there is at least one."""
    return max(policies, key=_STRENGTH.index)


class Rule(Value, frozen=True):
    """One rule. It applies where each of its conditions does; one without conditions applies to everybody."""

    id: str
    """Such as `pol_8Rk2TqLmXw4YbN0a`."""
    created_at: int
    ask: MfaPolicy
    client_id: str = ""
    user_id: str = ""
    audience: str = ""
    scope: str = ""
    """One value; the rule applies where it is among those asked for."""
    level: Level = Level.ONE_FACTOR
    """The least level, where a second factor is asked for."""
    two_kinds: bool = False
    max_age: int | None = None
    """How long ago the last factor may lie when a token is refreshed, in microseconds."""
    keep_one: bool = False
    """Whether the user may not remove the last authenticator; for a rule of everybody, or of a user, alone."""

    def applies(self, user_id: str, client_id: str, audience: str, scopes: Collection[str]) -> bool:
        """Whether each of its conditions does."""
        return (
            self.user_id in ("", user_id)
            and self.client_id in ("", client_id)
            and self.audience in ("", audience)
            and (not self.scope or self.scope in scopes)
        )

    @property
    def is_standing(self) -> bool:
        """Whether it is for everybody, and says no more than when any second factor is asked for."""
        everybody = not (self.user_id or self.client_id or self.audience or self.scope)
        return everybody and not self.keep_one and self.wanted == Wanted()

    @property
    def wanted(self) -> Wanted:
        """What it wants of an authentication; nothing, and by nobody's word, where any second factor will do."""
        if self.level is Level.ONE_FACTOR and self.max_age is None and not self.two_kinds:
            return Wanted()
        return Wanted(self.level, self.max_age, self.two_kinds, (self.id,))


def keeps_one(rules: Iterable[Rule], user_id: str) -> bool:
    """Tell whether a rule forbids a user to remove the last authenticator."""
    return any(rule.keep_one and rule.user_id in ("", user_id) for rule in rules)


class Ruling(Value, frozen=True):
    """What everything that applies amounts to."""

    policy: MfaPolicy
    asks: bool
    """Whether this user is asked for a second factor."""
    by: tuple[str, ...]
    """Whose word that is: `user`, `client`, `deployment`, `mfa_audience`, `hook`, or ids of rules."""
    wanted: Wanted


def rule_on(
    rules: Sequence[Rule],
    standing: tuple[str, MfaPolicy] | None,
    default: MfaPolicy,
    *,
    is_enrolled: bool,
) -> Ruling:
    """Return the strongest of everything that applies.

    The deployment's default holds where neither the user nor the client has a policy and no rule of audience, client or
    user applies. A rule of scope only adds: else whoever asks for one scope more could be asked for less.

    Args:
        rules: Those that apply.
        standing: The user's own policy, else the client's, and which of the two; None without.
        default: The deployment's.
        is_enrolled: Whether the user is (ADR-1).
    """
    said = [standing] if standing is not None else []
    said += [(rule.id, rule.ask) for rule in rules if not rule.scope]
    said = said or [("deployment", default)]
    said += [(rule.id, rule.ask) for rule in rules if rule.scope]
    policy = strongest(ask for _, ask in said)
    asks = policy is MfaPolicy.ALWAYS or (policy is MfaPolicy.WHEN_ENROLLED and is_enrolled)
    wanted = Wanted()
    if asks:
        for rule in rules:
            if rule.ask is not MfaPolicy.NEVER and (rule.ask is MfaPolicy.ALWAYS or is_enrolled):
                wanted = wanted.joined(rule.wanted)
    return Ruling(policy, asks, tuple(name for name, ask in said if ask is policy), wanted)
