"""An operator's rules: added, listed and removed, and at hand wherever one decides."""

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
"""How long rules that were read count as read, as with clients."""


@dataclass(frozen=True, slots=True)
class NewRule:
    """A rule to be added."""

    ask: MfaPolicy
    client_id: str = ""
    realm: str = ""
    subject: str = ""
    """With `realm`: the user it is for."""
    audience: str = ""
    scope: str = ""
    level: Level = Level.ONE_FACTOR
    two_kinds: bool = False
    max_age: int | None = None
    keep_one: bool = False


class Policies:
    """Keeps the rules."""

    def __init__(self, deployment: Deployment, records: Records, clock: Clock, entropy: Entropy) -> None:
        self._deployment = deployment
        self._records = records
        self._clock = clock
        self._entropy = entropy
        self._rules: tuple[Rule, ...] = ()
        self._read_until = 0

    async def current(self) -> Sequence[Rule]:
        """Return every rule, as it was at most five seconds ago.

        Raises:
            Unavailable: The database is away.
        """
        now = self._clock.now()
        if now >= self._read_until:
            self._rules = await self._records.read(policies.every)
            self._read_until = now + REMEMBERED
        return self._rules

    async def keep_last(self, user_id: str) -> bool:
        """Tell whether a user keeps the last authenticator, by the settings or by a rule.

        Raises:
            Unavailable: The database is away.
        """
        return self._deployment.keeps_last_authenticator or keeps_one(await self.current(), user_id)

    async def add(self, new: NewRule) -> Rule:
        """Add a rule.

        Raises:
            InvalidRequest: It contradicts itself.
            Missing: The client or user that it names does not exist.
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
        """Return what is asked of everybody of whom nothing more particular is said: by rules, or by the settings."""
        said = frozenset(rule.ask for rule in await self.every() if rule.is_standing)
        return said or frozenset({self._deployment.mfa_policy})

    async def set_standing(self, asks: Collection[MfaPolicy]) -> frozenset[MfaPolicy]:
        """Replace what is asked of everybody, instead of the settings; the strongest holds. Return what stands now."""
        now = self._clock.now()
        rules = [Rule(id=f"pol_standing-{ask}", created_at=now, ask=ask) for ask in sorted(asks)]
        await self._records.change(policies.replace, lambda rule: rule.is_standing, rules)
        self._read_until = 0
        return frozenset(asks)

    async def remove(self, rule_id: str) -> None:
        """Remove a rule.

        Raises:
            Missing: There is none of this id.
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
