"""Runs background work: pruning, key reloading, sending notices, and a clock check."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from cofactor_server.errors import Unavailable
from cofactor_server.seams import SECOND, Clock
from cofactor_server.services.messages.notices import Notices
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store import pruning
from cofactor_server.store.repositories import deployments
from cofactor_server.store.transactions.database import Database, PostgresDatabase
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.signing import Signer

PRUNE_EVERY = 60.0
KEYS_EVERY = 60.0
KEYRING_EVERY = 2.0
CLOCK_EVERY = 10.0
NOTICES_EVERY = 5.0
"""Seconds."""
CLOCK_TOLERANCE = 15 * SECOND
"""How far a replica's clock may be from the database's before it reports not-ready (ADR-24, S74)."""

log = structlog.get_logger("cofactor")


class Upkeep:
    """Runs periodic background work until it is cancelled; it waits for a database that is away."""

    def __init__(
        self,
        database: Database,
        records: Records,
        keyring: Keyring,
        columns: Columns,
        signer: Signer,
        notices: Notices,
        clock: Clock,
        events_retention: int,
    ) -> None:
        self._database = database
        self._records = records
        self._keyring = keyring
        self._columns = columns
        self._signer = signer
        self._notices = notices
        self._clock = clock
        self._events_retention = events_retention

    async def run(self, ready: Callable[[bool], Awaitable[None]]) -> None:
        """Run all background work until cancelled.

        Args:
            ready: Called after each clock check with whether this process may serve.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_every(PRUNE_EVERY, self.prune_by_the_right_time), name="prune")
            tasks.create_task(_every(KEYS_EVERY, self.follow_keys), name="follow-keys")
            tasks.create_task(_every(KEYRING_EVERY, self.follow_keyring), name="follow-keyring")
            tasks.create_task(_every(NOTICES_EVERY, self._notices.send_due), name="send-notices")
            tasks.create_task(_every(CLOCK_EVERY, lambda: self._report(ready)), name="watch-clock")

    async def prune(self) -> None:
        """Delete expired rows past their retention, a thousand rows per transaction."""
        while await self._records.change(pruning.prune, self._clock.now(), self._events_retention) >= pruning.ROWS:
            pass

    async def prune_by_the_right_time(self) -> None:
        """Prune unless this process's clock is off: a clock far ahead would delete rows that are still needed."""
        if await self.clock_is_right():
            await self.prune()

    async def follow_keys(self) -> None:
        """Load signing keys that another process added."""
        self._signer.replace_keys(await self._records.read(deployments.signing_keys, self._columns))

    async def follow_keyring(self) -> None:
        """Load root keys that the operator added to the keyring's file."""
        await asyncio.to_thread(self._keyring.follow)

    async def clock_is_right(self) -> bool:
        """Whether this process's clock agrees with the database's; with SQLite both are the same clock."""
        if not isinstance(self._database, PostgresDatabase):
            return True
        before = self._clock.now()
        theirs = await self._records.read(deployments.database_time)
        after = self._clock.now()
        off = max(before - theirs, theirs - after, 0)
        if off > CLOCK_TOLERANCE:
            log.error("clock is off", seconds=off // SECOND)
        return off <= CLOCK_TOLERANCE

    async def _report(self, ready: Callable[[bool], Awaitable[None]]) -> None:
        try:
            await ready(await self.clock_is_right())
        except Unavailable:
            await ready(False)


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Unavailable:
            log.warning("database away")
        except Exception as error:
            log.error("upkeep failed", cause=type(error).__name__)
        await asyncio.sleep(seconds)
