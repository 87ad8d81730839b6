"""Adds, lists, removes and caches an operator's policy rules."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.logins.policies import Rule, keeps_one
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.errors import InvalidRequest
from cofactor_server.seams import SECOND, Clock, Entropy, new_id
from cofactor_server.services.transactions.queries import Records
from cofactor_server.services.transactions.refusals import Missing
from cofactor_server.store.repositories import policies, queries

REMEMBERED = 5 * SECOND
"""Cache TTL of the rules, the same as for clients."""


@dataclass(frozen=True, slots=True)
class NewRule:
    """A rule to add."""

    ask: MfaPolicy
    client_id: str = ""
    realm: str = ""
    subject: str = ""
    """With `realm`: the user that the rule applies to; empty for every user."""
    audience: str = ""
    scope: str = ""
    level: Level = Level.ONE_FACTOR
    two_kinds: bool = False
    max_age: int | None = None
    keep_one: bool = False


class Policies:
    """Stores policy rules, and caches them for decisions."""

    def __init__(self, deployment: Deployment, records: Records, clock: Clock, entropy: Entropy) -> None:
        self._deployment = deployment
        self._records = records
        self._clock = clock
        self._entropy = entropy
        self._rules: tuple[Rule, ...] = ()
        self._read_until = 0

    async def current(self) -> Sequence[Rule]:
        """Return every rule from a cache that is at most five seconds old.

        Raises:
            Unavailable: The database is away.
        """
        now = self._clock.now()
        if now >= self._read_until:
            self._rules = await self._records.read(policies.every)
            self._read_until = now + REMEMBERED
        return self._rules

    async def keep_last(self, user_id: str) -> bool:
        """Return whether the settings or a rule forbid that a user removes the last authenticator.

        Args:
            user_id: The user.

        Raises:
            Unavailable: The database is away.
        """
        return self._deployment.keeps_last_authenticator or keeps_one(await self.current(), user_id)

    async def add(self, new: NewRule) -> Rule:
        """Add a rule.

        Args:
            new: The rule.

        Raises:
            InvalidRequest: The rule contradicts itself.
            Missing: The client or user that the rule names does not exist.
        """
        _check(new)
        if new.client_id and await self._records.read(queries.client, new.client_id) is None:
            raise Missing
        user = await self._records.read(queries.user_named, new.realm, new.subject) if new.subject else None
        if new.subject and user is None:
            raise Missing
        rule = Rule(
            id=new_id(self._entropy, "pol_"),
            created_at=self._clock.now(),
            ask=new.ask,
            client_id=new.client_id,
            user_id=user.id if user is not None else "",
            audience=new.audience,
            scope=new.scope,
            level=new.level,
            two_kinds=new.two_kinds,
            max_age=new.max_age,
            keep_one=new.keep_one,
        )
        await self._records.change(policies.add, rule)
        self._read_until = 0
        return rule

    async def every(self) -> Sequence[Rule]:
        """Return every rule, the oldest first."""
        return await self._records.read(policies.every)

    async def standing(self) -> frozenset[MfaPolicy]:
        """Return the default policy for users without a more specific rule: from rules, or else from the settings."""
        said = frozenset(rule.ask for rule in await self.every() if rule.is_standing)
        return said or frozenset({self._deployment.mfa_policy})

    async def set_standing(self, asks: Collection[MfaPolicy]) -> frozenset[MfaPolicy]:
        """Replace the default policy, which overrides the settings; of several, the strongest applies.

        Args:
            asks: The new default; empty to fall back to the settings.

        Returns:
            The stored default, without the fallback to the settings.
        """
        now = self._clock.now()
        rules = [Rule(id=f"pol_standing-{ask}", created_at=now, ask=ask) for ask in sorted(asks)]
        await self._records.change(policies.replace, lambda rule: rule.is_standing, rules)
        self._read_until = 0
        return frozenset(asks)

    async def remove(self, rule_id: str) -> None:
        """Remove a rule.

        Args:
            rule_id: The rule.

        Raises:
            Missing: No rule has this id.
        """
        if not await self._records.change(policies.remove, rule_id):
            raise Missing
        self._read_until = 0


def _check(new: NewRule) -> None:
    violations = []
    demands = new.level > Level.ONE_FACTOR or new.two_kinds or new.max_age is not None
    if new.ask is MfaPolicy.NEVER:
        if demands:
            violations.append(("ask", "is never, which demands nothing of a factor"))
        if new.scope:
            violations.append(("scope", "can only add: whoever asked for one scope more would be asked for less"))
        if not (new.client_id or new.subject or new.audience):
            violations.append(("ask", "never, for everybody, is COFACTOR_MFA_POLICY"))
    if new.keep_one and new.ask is MfaPolicy.NEVER:
        violations.append(("keep_one", "goes with a second factor that is asked for"))
    if new.keep_one and (new.client_id or new.audience or new.scope):
        violations.append(("keep_one", "is for everybody or for a user: one authenticator serves every client"))
    if len(new.scope.split()) > 1:
        violations.append(("scope", "is one value"))
    if new.max_age is not None and new.max_age <= 0:
        violations.append(("max_age", "must be positive"))
    if violations:
        raise InvalidRequest(violations=tuple(violations))
