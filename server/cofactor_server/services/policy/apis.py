"""Registers APIs with their scopes and token lifetimes, and caches them for seconds."""

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
"""Bounds of an access token's lifetime, in seconds."""
MOST_SCOPES = 100

_audience = re.compile(r"[!-~]{1,512}").fullmatch
_scope = re.compile(r"[!#-\[\]-~]{1,128}").fullmatch  # RFC 6749 section 3.3


class InUse(Exception):
    """Raised when clients still request tokens for the API; the text names these clients."""


class Apis:
    """Registers APIs, and limits the scopes of tokens to those that an API knows."""

    def __init__(self, deployment: Deployment, records: Records, clock: Clock) -> None:
        self._deployment = deployment
        self._records = records
        self._clock = clock
        self._known: dict[str, tuple[Api | None, int]] = {}

    async def find(self, audience: str) -> Api | None:
        """Return the API of an audience; None if none is registered.

        Args:
            audience: The API's identifier.

        Raises:
            Unavailable: The database is away, and the audience is not cached.
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
            return known[0]  # a decided grant must not fail because a token lifetime can't be read
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[audience] = (found, now + REMEMBERED)
        return found

    async def granted(self, target: Target) -> Target:
        """Return the target of the tokens, if the API knows every requested scope.

        An audience without a registered API has the standard scopes alone: the operator decides what a client may do
        there, never the client itself.

        Args:
            target: The requested audience and scopes.

        Raises:
            InvalidScope: One of the scopes is neither a standard scope nor one of the API's.
        """
        beyond = set(target.scope.split()) - STANDARD_SCOPES
        if not beyond or target.audience == self._deployment.mfa_audience:
            return target
        api = await self.find(target.audience) if target.audience else None
        if api is None or not beyond.issubset(api.scopes):
            raise InvalidScope
        return target

    async def left(self, granted: Target) -> Target:
        """Return an earlier grant without the scopes that its API has lost since."""
        beyond = set(granted.scope.split()) - STANDARD_SCOPES
        if not beyond or granted.audience == self._deployment.mfa_audience:
            return granted
        api = await self.find(granted.audience) if granted.audience else None
        gone = beyond.difference(api.scopes if api else ())
        return replace(granted, scope=" ".join(scope for scope in granted.scope.split() if scope not in gone))

    async def create(self, api: Api) -> None:
        """Register an API.

        Args:
            api: The API.

        Raises:
            Conflict: Its audience is registered already.
            InvalidRequest: The audience is malformed or one of our own, or another field is outside its limits.
        """
        self._check(api)
        if not await self._records.change(store.add, api):
            raise Conflict

    async def update(self, audience: str, change: Callable[[Api], Api]) -> Api:
        """Change an API: its scopes, token lifetime and signing algorithm. Servers follow within seconds.

        Args:
            audience: The API's identifier.
            change: Returns the changed API; the audience stays the same.

        Returns:
            The API after the change.

        Raises:
            Missing: No API has this audience.
            InvalidRequest: A field is outside its limits.
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

        Args:
            audience: The API's identifier.

        Raises:
            Missing: No API has this audience.
            InUse: A client requests tokens for it.
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
