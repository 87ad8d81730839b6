"""APIs: registered with their scopes and lifetimes, and remembered for seconds."""

import re
from collections.abc import Callable, Sequence

from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.grants import Target
from cofactor_server.domain.parties.apis import STANDARD_SCOPES, Api
from cofactor_server.errors import InvalidRequest, InvalidScope, Unavailable
from cofactor_server.seams import SECOND, Clock
from cofactor_server.services.transactions.queries import Records
from cofactor_server.services.transactions.refusals import Conflict, Missing
from cofactor_server.store.repositories import apis as store

REMEMBERED = 5 * SECOND
MOST_REMEMBERED = 1_000
SHORTEST_LIFE, LONGEST_LIFE = 60, 30 * 86_400
"""Of access tokens, in seconds."""
MOST_SCOPES = 100

_audience = re.compile(r"[!-~]{1,512}").fullmatch
_scope = re.compile(r"[!#-\[\]-~]{1,128}").fullmatch  # RFC 6749 section 3.3


class InUse(Exception):
    """Clients ask tokens for the API; its text names them."""


class Apis:
    """Registers APIs, and tells what tokens for them may allow."""

    def __init__(self, deployment: Deployment, records: Records, clock: Clock) -> None:
        self._deployment = deployment
        self._records = records
        self._clock = clock
        self._known: dict[str, tuple[Api | None, int]] = {}

    async def find(self, audience: str) -> Api | None:
        """Return the API of an audience; None if none is registered.

        Raises:
            Unavailable: The database is away, and the audience was never looked up.
        """
        now = self._clock.now()
        known = self._known.get(audience)
        if known is not None and now < known[1]:
            return known[0]
        try:
            found = await self._records.read(store.api, audience)
        except Unavailable:
            if known is None:
                raise
            return known[0]  # what was decided is not lost for want of a lifetime
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[audience] = (found, now + REMEMBERED)
        return found

    async def granted(self, target: Target) -> Target:
        """Return what the tokens will be for, where the API knows every scope that is asked for.

        An audience that no API is registered for has the standard scopes alone: what a client may do there is an
        operator's word, never the client's own.

        Raises:
            InvalidScope: One of the scopes is neither a standard one nor the API's.
        """
        beyond = set(target.scope.split()) - STANDARD_SCOPES
        if not beyond or target.audience == self._deployment.mfa_audience:
            return target
        api = await self.find(target.audience) if target.audience else None
        if api is None or not beyond.issubset(api.scopes):
            raise InvalidScope
        return target

    async def left(self, granted: Target) -> Target:
        """Return what was granted once without the scopes that were taken from its API since."""
        beyond = set(granted.scope.split()) - STANDARD_SCOPES
        if not beyond or granted.audience == self._deployment.mfa_audience:
            return granted
        api = await self.find(granted.audience) if granted.audience else None
        gone = beyond.difference(api.scopes if api else ())
        return replace(granted, scope=" ".join(scope for scope in granted.scope.split() if scope not in gone))

    async def create(self, api: Api) -> None:
        """Register an API.

        Raises:
            Conflict: Its audience is registered.
            InvalidRequest: The audience is one of our own or can't be one, or another member is beyond its limits.
        """
        self._check(api)
        if not await self._records.change(store.add, api):
            raise Conflict

    async def update(self, audience: str, change: Callable[[Api], Api]) -> Api:
        """Change an API: what tokens may allow there, how long they live, what signs them. Servers follow in seconds.

        Args:
            audience: The API's.
            change: Returns what an API becomes; its audience stays.

        Raises:
            Missing: There is none.
            InvalidRequest: A member is beyond its limits.
        """
        found = await self._records.read(store.api, audience)
        if found is None:
            raise Missing
        changed = change(found)
        self._check(changed)
        if not await self._records.change(store.change, changed):
            raise Missing
        self._known.pop(audience, None)
        return changed

    async def listed(self) -> Sequence[Api]:
        """Return every API."""
        return await self._records.read(store.apis)

    async def delete(self, audience: str) -> None:
        """Delete an API.

        Raises:
            Missing: There is none.
            InUse: A client asks tokens for it.
        """
        there, users = await self._records.change(store.remove, audience)
        if not there:
            raise Missing
        if users:
            raise InUse(", ".join(users))

    def _check(self, api: Api) -> None:
        violations = []
        own = (self._deployment.mfa_audience, self._deployment.mfa_audience[:-1], self._deployment.userinfo_audience)
        if not _audience(api.audience) or api.audience in own:
            violations.append(("audience", "must be a name such as https://api.example.com/, and none of our own"))
        if not api.name:
            violations.append(("name", "must not be empty"))
        if len(api.scopes) > MOST_SCOPES or not all(map(_scope, api.scopes)):
            violations.append(("scopes", f"are at most {MOST_SCOPES} words such as read:orders"))
        if not STANDARD_SCOPES.isdisjoint(api.scopes):
            violations.append(("scopes", f"don't list {', '.join(sorted(STANDARD_SCOPES))}, which every API has"))
        if not SHORTEST_LIFE <= api.access_token_seconds <= LONGEST_LIFE:
            violations.append(("access_token_seconds", f"is {SHORTEST_LIFE} to {LONGEST_LIFE}"))
        if violations:
            raise InvalidRequest(violations=tuple(violations))
