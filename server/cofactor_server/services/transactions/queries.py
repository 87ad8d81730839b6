"""Reads and single changes outside the group commit, with retries and refusals."""

from collections.abc import Callable
from typing import Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from cofactor_server.errors import Unavailable
from cofactor_server.store.transactions.database import Contention, Database, DatabaseAway, OutcomeUnknown

R = TypeVar("R")


class Records:
    """Runs reads and single changes outside the group commit.

    A change that loses a race is retried. A database that is away becomes the refusal `Unavailable`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, query: Callable[..., R], *arguments: Any) -> R:
        """Run `query(connection, *arguments)` in a read-only transaction and return its result.

        Args:
            query: Reads from the connection.
            arguments: Passed on to `query`.

        Raises:
            Unavailable: The database is away.
        """
        try:
            return await self._database.read(lambda connection: query(connection, *arguments))
        except (DatabaseAway, Contention):
            raise Unavailable(retry_after=1) from None

    async def change(self, change: Callable[..., R], *arguments: Any) -> R:
        """Run `change(connection, *arguments)` in a transaction, commit it, and return its result.

        A transaction that loses a race is run again from the start, with random back-off, five times at most.

        Args:
            change: Writes to the connection; it may run several times.
            arguments: Passed on to `change`.

        Raises:
            Unavailable: The database is away, or the commit's outcome is unknown.
        """
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(Contention),
            stop=stop_after_attempt(5),
            wait=wait_random_exponential(multiplier=0.005, max=0.1),
            reraise=True,
        )
        try:
            return await attempts(self._database.transact, lambda connection: change(connection, *arguments))
        except (DatabaseAway, OutcomeUnknown, Contention):
            raise Unavailable(retry_after=1) from None
