"""Origins of web pages that may read what is answered to clients (CORS); none but those that an operator gave."""

from collections.abc import Mapping

from cofactor_server.seams import SECOND, Clock
from cofactor_server.services.records import Records
from cofactor_server.store import accounts

REMEMBERED = 5 * SECOND


class Origins:
    """Tells whose an origin is; what clients have is read anew after some seconds."""

    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._clock = clock
        self._clients: Mapping[str, frozenset[str]] = {}
        self._good_until = 0

    async def allows(self, origin: str, client_id: str) -> bool:
        """Whether a client has an origin; any client, where none is named.

        Raises:
            Unavailable: The database is away.
        """
        now = self._clock.now()
        if now >= self._good_until:
            found: dict[str, set[str]] = {}
            for client in await self._records.read(accounts.clients):
                for given in client.origins:
                    found.setdefault(given, set()).add(client.id)
            self._clients = {given: frozenset(ids) for given, ids in found.items()}
            self._good_until = now + REMEMBERED
        owners = self._clients.get(origin, frozenset())
        return client_id in owners if client_id else bool(owners)
