"""Decides which web origins may read responses to clients (CORS): only those that an operator registered."""

from collections.abc import Iterable, Mapping

from cofactor_server.domain.parties.clients import Client
from cofactor_server.errors import Unavailable
from cofactor_server.seams import SECOND, Clock
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import accounts

REMEMBERED = 5 * SECOND


class Origins:
    """Looks up the clients of an origin, in a cache that is refreshed after `REMEMBERED`."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._owners: Mapping[str, frozenset[str]] = {}
        self._good_until = 0

    async def allows(self, origin: str, client_id: str) -> bool:
        """Whether an origin is registered for a client, or for any client if `client_id` is empty.

        Raises:
            Unavailable: The database is unavailable, and has been since the start.
        """
        now = self._clock.now()
        if now >= self._good_until:
            try:
                self._owners = _owners(await self._records.read(accounts.clients))
            except Unavailable:
                if not self._good_until:
                    raise
                # Keep the old entries: a page that may not read the response could not see that the database is down.
            self._good_until = now + REMEMBERED
        owners = self._owners.get(origin, frozenset())
        return client_id in owners if client_id else bool(owners)


def _owners(clients: Iterable[Client]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for client in clients:
        for origin in client.origins:
            found.setdefault(origin, set()).add(client.id)
    return {origin: frozenset(ids) for origin, ids in found.items()}
