"""The schema: what migrations make is what the code expects."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from operator import itemgetter
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cofactor_server.domain.foundation.events import Event, EventName
from cofactor_server.store import alembic_migrations, schema
from cofactor_server.store import tables as t
from cofactor_server.store.repositories import deployments
from cofactor_server.store.tables import metadata
from cofactor_server.store.transactions import rows
from cofactor_server.store.transactions.database import Database, open_database
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.signing_keys import Algorithm, SigningKey
from sqlalchemy import Connection, Table, insert, inspect, select

from tests.support import world
from tests.unit.store.worlds import ENTROPY, opened


def _differences(connection: Connection) -> list[object]:
    # SQLite writes defaults in another way than it was told them.
    defaults = connection.dialect.name == "postgresql"
    options = {"compare_type": True, "compare_server_default": defaults, "include_object": _is_of(connection)}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def _is_of(connection: Connection) -> Callable[..., bool]:
    """Return whether an object is one of the connection's engine: an index may be for PostgreSQL alone (`ddl_if`)."""
    others = set() if connection.dialect.name == "postgresql" else {"ix_events_time"}
    return lambda _item, name, *_: name not in others


async def test_migrations_make_exactly_the_tables(database_url: str) -> None:
    async with opened(database_url) as database:
        assert await database.transact(_differences) == []


async def _keys(database: Database) -> dict[str, list[str]]:
    """Return the primary key of every table in which users have rows."""
    return await database.read(
        lambda connection: {
            table.name: inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
            for table in metadata.sorted_tables
            if "user_id" in table.c
        }
    )


async def test_primary_keys_begin_with_the_user_where_a_user_has_rows(database_url: str, engine: str) -> None:
    async with opened(database_url) as database:
        keys = await _keys(database)
    in_order_of_time = {"events", "spent"} if engine == "sqlite" else set()
    assert {table for table, key in keys.items() if key[0] != "user_id"} == in_order_of_time
    assert keys["authenticators"] == ["user_id", "id"]


@pytest.mark.parametrize("engine", ["sqlite"])
async def test_what_happened_before_is_there_when_it_is_put_in_order(database_url: str) -> None:
    happened = [Event(f"usr_{n % 3}", EventName.LOGIN_COMPLETED, 10 - n) for n in range(10)]
    events = [rows.of_event(event, f"{event.time:014x}") for event in happened]
    spent = [{"user_id": f"usr_{n % 3}", "token_id": f"{10 - n:014x}", "expires_at": n} for n in range(10)]
    async with opened(database_url) as database:
        await database.transact(lambda connection: command.downgrade(alembic_migrations.configure(connection), "0012"))
        keys = await _keys(database)
        assert (keys["events"], keys["spent"]) == (["user_id", "id"], ["user_id", "token_id"])
        await database.transact(lambda connection: connection.execute(insert(t.events), events))
        await database.transact(lambda connection: connection.execute(insert(t.spent), spent))

        await database.transact(schema.migrate)

        assert await _all(database, t.events) == sorted(events, key=itemgetter("id"))
        assert sorted(await _all(database, t.spent), key=itemgetter("expires_at")) == spent
        keys = await _keys(database)
        assert (keys["events"], keys["spent"]) == (["id", "user_id"], ["token_id", "user_id"])
        indexes = await database.read(lambda connection: inspect(connection).get_indexes("spent"))
        assert [index["column_names"] for index in indexes] == [["expires_at"]]


async def _all(database: Database, table: Table) -> list[dict[str, object]]:
    found = await database.read(lambda connection: connection.execute(select(table)).mappings().all())
    return [dict(row) for row in found]


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    async with opened(database_url) as database:
        before, after = await database.transact(schema.migrate)
        assert before == after != ""
        assert await database.read(schema.is_current)


async def test_a_new_database_is_not_current(database_url: str) -> None:
    database = open_database(database_url)
    try:
        assert not await database.read(schema.is_current)
    finally:
        await database.close()


async def test_replicas_that_start_at_once_all_start(database_url: str) -> None:
    clock = world.MovableClock()
    keyring = Keyring(Keyring.generate(ENTROPY), clock)

    async def start() -> tuple[str, ...]:
        async with world.world_on(database_url, clock=clock, keyring=keyring) as replica:
            return tuple(key["kid"] for key in replica.app.services.tokens.json_web_keys())

    keys = await asyncio.gather(start(), start())
    assert keys[0] == keys[1] != ()


def _key(number: int, algorithm: Algorithm) -> SigningKey:
    return SigningKey(f"{number}-{algorithm}", algorithm, b"nobody signs with it", number, number, retire_at=None)


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[Sequence[Database]]:
    """Engines that are connected already, over a database that knows whose it is."""
    async with AsyncExitStack() as stack:
        await (await stack.enter_async_context(opened(database_url))).transact(_stated)
        engines = [open_database(database_url) for _ in range(6)]
        for database in engines:
            stack.push_async_callback(database.close)
        await asyncio.gather(*(database.transact(_stated) for database in engines))
        yield engines


def _stated(connection: Connection) -> None:
    deployments.state(connection, deployments.ISSUER, b"https://auth.example.test/")


@pytest.mark.requirement("S158")
async def test_replicas_that_look_for_keys_at_once_add_one_for_each_algorithm(replicas: Sequence[Database]) -> None:
    columns = Columns(Keyring(Keyring.generate(ENTROPY), world.MovableClock()))

    def start(number: int) -> Callable[[Connection], None]:
        keys = [_key(number, algorithm) for algorithm in Algorithm]
        return lambda connection: deployments.add_first_signing_keys(connection, columns, keys)

    await asyncio.gather(*(database.transact(start(number)) for number, database in enumerate(replicas)))

    kept = await replicas[0].read(lambda connection: deployments.signing_keys(connection, columns))
    assert sorted(key.algorithm for key in kept) == sorted(Algorithm)


@pytest.mark.requirement("S158")
async def test_of_rotations_at_once_one_rotates(replicas: Sequence[Database]) -> None:
    columns = Columns(Keyring(Keyring.generate(ENTROPY), world.MovableClock()))

    def rotate(number: int) -> Callable[[Connection], bool]:
        keys = [_key(100 + number, algorithm) for algorithm in Algorithm]
        return lambda connection: deployments.rotate_signing_keys(connection, columns, keys, 1_000, 50)

    rotated = await asyncio.gather(*(database.transact(rotate(number)) for number, database in enumerate(replicas)))

    assert sorted(rotated) == [False] * 5 + [True]


@pytest.mark.parametrize("engine", ["sqlite"])
async def test_a_new_database_file_is_for_its_owner_alone_whatever_the_umask(database_url: str, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        async with opened(database_url):
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
    finally:
        os.umask(before)
    assert modes == {f"test.sqlite3{end}": 0o600 for end in ("", "-wal", "-shm")}


def test_the_head_that_is_expected_is_the_newest_migration() -> None:
    versions = Path(schema.__file__).parent / "migrations" / "versions"
    assert max(file.name[:4] for file in versions.glob("[0-9]*.py")) == schema.HEAD
