"""The schema: what migrations make is what the code expects."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cofactor_server.store import deployments, schema
from cofactor_server.store.database import Database, open_database
from cofactor_server.store.tables import metadata
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.signing_keys import Algorithm, SigningKey
from sqlalchemy import Connection, inspect

from tests import world
from tests.store.worlds import ENTROPY, opened


def _differences(connection: Connection) -> list[object]:
    # SQLite writes defaults in another way than it was told them.
    defaults = connection.dialect.name == "postgresql"
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": defaults})
    return list(compare_metadata(context, metadata))


async def test_migrations_make_exactly_the_tables(database_url: str) -> None:
    async with opened(database_url) as database:
        assert await database.transact(_differences) == []


async def test_primary_keys_begin_with_the_user_where_a_user_has_rows(database_url: str) -> None:
    async with opened(database_url) as database:
        keys = await database.read(
            lambda connection: {
                table.name: inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
                for table in metadata.sorted_tables
                if "user_id" in table.c
            }
        )
    assert keys
    assert {key[0] for key in keys.values()} == {"user_id"}


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
