"""The schema: what migrations make is what the code expects."""

import asyncio

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cofactor_server.store import schema
from cofactor_server.store.database import open_database
from cofactor_server.store.tables import metadata
from cofactor_server.vault.keyring import Keyring
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
