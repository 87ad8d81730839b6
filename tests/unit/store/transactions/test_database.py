"""Transactions that fail: what is told apart, and what a database that comes back finds."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cofactor_server.errors import Unavailable
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import accounts
from cofactor_server.store.transactions.database import (
    ConnectionLost,
    Contention,
    Database,
    DatabaseAway,
    LockTimeout,
    OutcomeUnknown,
    _classified,
    open_database,
)
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.support import postgres
from tests.unit.store.worlds import Network, behind_a_network, opened, user, writing_engine


class DriverError(Exception):
    """As a driver raises it."""

    def __init__(self, message: str = "", sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


def failure(message: str = "", sqlstate: str | None = None, *, invalidated: bool = False) -> DBAPIError:
    return DBAPIError("SELECT", {}, DriverError(message, sqlstate), connection_invalidated=invalidated)


def one(connection: Connection) -> Any:
    return connection.execute(text("SELECT 1")).scalar_one()


def show(connection: Connection, name: str) -> Any:
    return connection.exec_driver_sql(f"SHOW {name}").scalar_one()


def set_busy_timeout(milliseconds: int) -> Any:
    return lambda connection: connection.exec_driver_sql(f"PRAGMA busy_timeout={milliseconds}").scalar_one()


def add(number: int) -> Any:
    return lambda connection: accounts.add_user(connection, user(f"added{number}"))


async def users(database: Database) -> set[str]:
    found = await database.read(accounts.users)
    return {u.id for u, _ in found}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (failure(sqlstate="40001"), Contention),
        (failure(sqlstate="40P01"), Contention),
        (failure(sqlstate="55P03"), LockTimeout),
        (failure("database is locked"), Contention),
        (IntegrityError("INSERT", {}, DriverError("UNIQUE constraint failed")), Contention),
        (failure(sqlstate="57P01"), DatabaseAway),
        (failure(sqlstate="57P03"), DatabaseAway),
        (failure(sqlstate="08006"), DatabaseAway),
        (failure(sqlstate="53300"), DatabaseAway),
        (failure("unable to open database file"), DatabaseAway),
        (failure("connection is closed", invalidated=True), ConnectionLost),
        (failure(sqlstate="22021"), DBAPIError),
        (failure("no such table"), DBAPIError),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(getattr(value.orig, "sqlstate", "")),
)
def test_errors_are_told_apart(error: DBAPIError, expected: type[Exception]) -> None:
    assert type(_classified(error)) is expected


@pytest.mark.parametrize(
    "error", [failure("disk I/O error"), failure(sqlstate="08006", invalidated=True), OSError("broken pipe")]
)
async def test_a_commit_that_fails_has_an_unknown_outcome(error: Exception, database_url: str) -> None:
    async with opened(database_url) as database:

        def fail(_connection: Connection) -> None:
            raise error

        event.listen(writing_engine(database), "commit", fail)
        with pytest.raises(OutcomeUnknown):
            await database.transact(one)
        with pytest.raises(Unavailable):
            await Records(database).change(one)
        event.remove(writing_engine(database), "commit", fail)
        assert await database.transact(one) == 1


async def test_a_commit_that_loses_a_race_is_contention(database_url: str) -> None:
    async with opened(database_url) as database:

        def fail(_connection: Connection) -> None:
            raise failure(sqlstate="40001")

        event.listen(writing_engine(database), "commit", fail)
        with pytest.raises(Contention):
            await database.transact(one)


async def test_a_lone_change_that_loses_a_race_is_run_again(database_url: str) -> None:
    async with opened(database_url) as database:
        races = iter([failure(sqlstate="40001"), failure(sqlstate="40P01")])

        def fail(_connection: Connection) -> None:
            if (error := next(races, None)) is not None:
                raise error

        event.listen(writing_engine(database), "commit", fail)
        assert await Records(database).change(accounts.add_user, user("u9"))
        assert await users(database) == {"u9"}


async def test_a_change_that_raises_writes_nothing(database_url: str) -> None:
    async with opened(database_url) as database:

        def change(connection: Connection) -> None:
            accounts.add_user(connection, user("u9"))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await database.transact(change)
        assert await users(database) == set()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "::"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        open_database(url)


# SQLite


async def test_sqlite_answers_only_what_is_on_the_disk(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'a.sqlite3'}") as database:
        mode = await database.transact(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar_one())
        level = await database.transact(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar_one())
    assert (mode, level) == ("wal", 2)


async def test_a_locked_sqlite_is_contention_and_then_unlocked(tmp_path: Path) -> None:
    file = tmp_path / "a.sqlite3"
    async with opened(f"sqlite:///{file}") as database:
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            # Fetched: a result that is left open keeps its cursor until some thread collects it.
            assert await database.transact(set_busy_timeout(50)) == 50
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Contention):
                await database.transact(one)
            other.execute("ROLLBACK")
        assert await database.transact(add(1))


async def test_a_sqlite_folder_that_is_gone_is_a_database_away(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'folder' / 'a.sqlite3'}")
    shutil.rmtree(tmp_path / "folder")
    try:
        with pytest.raises(DatabaseAway):
            await database.transact(one)
        with pytest.raises(DatabaseAway):
            await database.read(one)
    finally:
        await database.close()


# PostgreSQL


@asynccontextmanager
async def on_a_network(postgres_url: str) -> AsyncIterator[tuple[Network, Database]]:
    name = "on_a_network"
    try:
        url = await postgres.create_database(postgres_url, name)
        async with behind_a_network(url) as (network, through), opened(through) as database:
            yield network, database
    finally:
        await postgres.drop_database(postgres_url, name)


async def warm(database: Database, connections: int = 4) -> None:
    """Have the pool hold several connections."""
    await asyncio.gather(
        *(database.transact(lambda c: c.execute(text("SELECT 1 FROM pg_sleep(0.1)")).all()) for _ in range(connections))
    )


async def test_a_database_that_is_away_is_told_and_found_again(postgres_url: str) -> None:
    async with on_a_network(postgres_url) as (network, database):
        await warm(database)
        await network.down()
        for _ in range(3):
            with pytest.raises(DatabaseAway):
                await database.transact(one)
            with pytest.raises(DatabaseAway):
                await database.read(one)
        await network.up()
        assert [await database.transact(one), await database.read(one)] == [1, 1]


async def test_a_restart_between_calls_goes_unnoticed(postgres_url: str) -> None:
    async with on_a_network(postgres_url) as (network, database):
        for restarted in (database.transact, database.read, database.transact):
            await warm(database)
            network.drop()
            await asyncio.sleep(0.05)
            assert await asyncio.gather(*(restarted(one) for _ in range(4))) == [1] * 4


async def test_a_server_that_ends_its_sessions_goes_unnoticed(postgres_url: str) -> None:
    async with on_a_network(postgres_url) as (_network, database):
        await warm(database)
        operator = await asyncpg.connect(postgres_url)
        try:
            await operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'on_a_network'"
            )
        finally:
            await operator.close()
        assert await asyncio.gather(*(database.transact(one) for _ in range(4))) == [1] * 4


async def test_a_connection_lost_before_the_commit_is_begun_again_once(postgres_url: str) -> None:
    async with on_a_network(postgres_url) as (network, database):
        await database.transact(one)
        network.cut_at, network.deliver = b"INSERT INTO users", False
        assert await database.transact(add(1))
        assert await users(database) == {"added1"}


@pytest.mark.parametrize("delivered", [True, False])
async def test_a_connection_lost_at_the_commit_is_never_begun_again(postgres_url: str, delivered: bool) -> None:
    async with on_a_network(postgres_url) as (network, database):
        await database.transact(one)
        runs = 0

        def change(connection: Connection) -> None:
            nonlocal runs
            runs += 1
            accounts.add_user(connection, user("added1"))

        network.cut_at, network.deliver = b"COMMIT", delivered
        with pytest.raises(OutcomeUnknown):
            await database.transact(change)
        assert runs == 1
        assert await users(database) == ({"added1"} if delivered else set())


async def test_a_lock_that_is_not_granted_in_time_is_told(postgres_url: str) -> None:
    async with on_a_network(postgres_url) as (_network, database):
        await database.transact(add(1))
        operator = await asyncpg.connect(postgres_url.replace("/postgres?", "/on_a_network?"))
        try:
            transaction = operator.transaction()
            await transaction.start()
            await operator.execute("SELECT * FROM users FOR UPDATE")

            def change(connection: Connection) -> None:
                connection.exec_driver_sql("SET LOCAL lock_timeout = 50")
                accounts.lock_user_named(connection, "default", "added1")

            with pytest.raises(LockTimeout):
                await database.transact(change)
            await transaction.rollback()
            await database.transact(change)
        finally:
            await operator.close()


async def test_postgresql_sessions_have_their_limits(postgres_url: str) -> None:
    async with on_a_network(postgres_url) as (_network, database):
        shown = [
            await database.read(partial(show, name=name))
            for name in ("lock_timeout", "idle_in_transaction_session_timeout", "jit")
        ]
    assert shown == ["2s", "10s", "off"]
