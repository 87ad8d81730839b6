"""Engines and transactions: SQLite on a thread of its own, PostgreSQL over asyncpg."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from cofactor_server.seams import Entropy
from cofactor_server.store.transactions.rows import AddressesOf
from cofactor_server.store.transactions.statements import Statements
from cofactor_server.store.transactions.work import Work

R = TypeVar("R")

LOCK_TIMEOUT_MS = 2_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
POOL_SIZE = 8
_CHECKPOINT = "wal_autocheckpoint=4000"
"""Pages, 16 MB, after which SQLite copies its log into the file: a page that changed four times meanwhile goes once."""


class Contention(Exception):
    """Another transaction was in the way; nothing was decided, and deciding afresh is right."""


class LockTimeout(Contention):
    """A lock was not granted in time; asking again at once would hold up everybody behind."""


class OutcomeUnknown(Exception):
    """The commit failed in a way that does not tell whether it happened; it must not be repeated."""


class DatabaseAway(Exception):
    """The database cannot be reached; nothing was decided."""


class ConnectionLost(DatabaseAway):
    """An open connection broke before anything was decided; a new one may well work."""


class Database(Protocol):
    """Where the rows are. Transactions open in services only, through this."""

    statements: Statements

    async def read(self, query: Callable[[Connection], R]) -> R:
        """Run `query` in a read-only transaction and return its result.

        Raises:
            DatabaseAway: The database cannot be reached.
        """
        ...

    async def transact(self, change: Callable[[Connection], R]) -> R:
        """Run `change` in a transaction and commit.

        Raises:
            Contention: Nothing was decided; deciding afresh is right.
            OutcomeUnknown: The commit may or may not have happened.
            DatabaseAway: The database cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


def deciding(
    statements: Statements, entropy: Entropy, decide: Callable[[Work], R], addresses_of: AddressesOf | None = None
) -> Callable[[Connection], R]:
    """Return `decide` as a change that reads and writes through a `Work` of its own."""

    def change(connection: Connection) -> R:
        work = Work(connection, statements, entropy, addresses_of)
        result = decide(work)
        work.flush()
        return result

    return change


def open_database(url: str) -> Database:
    """Return the database at `url`, without connecting yet.

    Args:
        url: `sqlite:///path` or `postgresql://user@host/name`.

    Raises:
        ValueError: The URL cannot be read, or names another engine.
    """
    try:
        parsed = make_url(url)
    except sqlalchemy.exc.ArgumentError:
        raise ValueError("not a database URL") from None
    match parsed.get_backend_name():
        case "sqlite":
            return SqliteDatabase(parsed)
        case "postgresql":
            return PostgresDatabase(parsed)
        case other:
            raise ValueError(f"{other} is not supported: sqlite and postgresql are")


class SqliteDatabase:
    """One SQLite file.

    Reads go through aiosqlite. Deciding transactions run whole, as plain synchronous code, on one thread that owns the
    only writing connection: they take turns there instead of waiting for each other's file lock, and no statement
    hops between threads.
    """

    def __init__(self, url: URL) -> None:
        self.statements = Statements("sqlite")
        path = url.database
        if not path or path == ":memory:":
            raise ValueError("an SQLite database needs a file: sqlite:///path")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        _create_for_its_owner(path)
        self._reader: AsyncEngine = create_async_engine(url.set(drivername="sqlite+aiosqlite"))
        event.listen(self._reader.sync_engine, "connect", _configure_sqlite)
        event.listen(self._reader.sync_engine, "begin", _begin_reading)
        self._writer: Engine = sqlalchemy.create_engine(
            url.set(drivername="sqlite+pysqlite"), connect_args={"check_same_thread": False}, pool_size=1
        )
        event.listen(self._writer, "connect", _configure_sqlite)
        event.listen(self._writer, "begin", _begin_writing)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cofactor-sqlite")

    async def read(self, query: Callable[[Connection], R]) -> R:
        """Run `query` in a read-only transaction; see `Database.read`."""
        return await _read(self._reader, query)

    async def transact(self, change: Callable[[Connection], R]) -> R:
        """Run `change` whole on the writing thread; see `Database.transact`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, change)

    async def close(self) -> None:
        """Close every connection."""
        await self._reader.dispose()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.dispose)
        self._thread.shutdown()

    def _transact(self, change: Callable[[Connection], R]) -> R:
        try:
            with self._writer.connect() as connection:
                return _transact(connection, change)
        except DBAPIError as error:
            raise _classified(error) from error


class PostgresDatabase:
    """A PostgreSQL, or an engine that speaks its wire.

    A server that was restarted has closed the pool's connections, which shows when one is used: what was begun on it is
    begun once more on a new one.
    """

    def __init__(self, url: URL) -> None:
        self.statements = Statements("postgresql")
        limits = {
            "lock_timeout": str(LOCK_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
            "application_name": "cofactor",
            # Estimated costs of a batch's arrays tip PostgreSQL into compiling statements that run for microseconds.
            "jit": "off",
        }
        self._engine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=POOL_SIZE,
            pool_pre_ping=False,
            connect_args={"server_settings": limits, "timeout": 5},
        )

    async def read(self, query: Callable[[Connection], R]) -> R:
        """Run `query` in a read-only transaction; see `Database.read`."""
        try:
            return await _read(self._engine, query)
        except ConnectionLost:
            return await _read(self._engine, query)

    async def transact(self, change: Callable[[Connection], R]) -> R:
        """Run `change` in a transaction of its own; see `Database.transact`."""
        try:
            return await self._transact(change)
        except ConnectionLost:
            return await self._transact(change)

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def _transact(self, change: Callable[[Connection], R]) -> R:
        try:
            async with self._engine.connect() as connection:
                return await connection.run_sync(_transact, change)
        except DBAPIError as error:
            raise _classified(error) from error
        except (OSError, TimeoutError, sqlalchemy.exc.TimeoutError) as error:
            raise DatabaseAway from error


def _transact(connection: Connection, change: Callable[[Connection], R]) -> R:
    transaction = connection.begin()
    try:
        result = change(connection)
    except BaseException:
        transaction.rollback()
        raise
    try:
        transaction.commit()
    except Exception as error:
        # SQLAlchemy takes the transaction for over now, and would pool a connection on which it may still be open.
        if isinstance(error, DBAPIError) and _is_contention(error):
            connection.connection.rollback()
            raise Contention from error
        # Whatever the driver raised, a broken socket included: the server may have committed.
        connection.invalidate()
        raise OutcomeUnknown from error
    return result


async def _read(engine: AsyncEngine, query: Callable[[Connection], R]) -> R:
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(query)
    except DBAPIError as error:
        raise _classified(error) from error
    except (OSError, TimeoutError, sqlalchemy.exc.TimeoutError) as error:
        raise DatabaseAway from error


def _classified(error: DBAPIError) -> Exception:
    if _is_contention(error):
        return LockTimeout() if _sqlstate(error) == "55P03" else Contention()
    if error.connection_invalidated:
        return ConnectionLost()
    return DatabaseAway() if _is_away(error) else error


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _is_contention(error: DBAPIError) -> bool:
    # A row that another replica inserted first (IntegrityError) is read the next time, like any other lost race.
    if isinstance(error, IntegrityError) or _sqlstate(error) in ("40001", "40P01", "55P03"):
        return True
    return "database is locked" in str(error.orig)


def _is_away(error: DBAPIError) -> bool:
    state = _sqlstate(error)
    return state.startswith(("08", "57P")) or state == "53300" or "unable to open database file" in str(error.orig)


def _create_for_its_owner(path: str) -> None:
    # SQLite would go by the umask, which lets everybody read; what it puts beside the file gets the file's own mode.
    with suppress(OSError):  # connecting will say what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: `begin` says which kind.
    connection.isolation_level = None
    cursor = connection.cursor()
    pragmas = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON", _CHECKPOINT)
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
