"""Statements that the driver runs itself, below SQLAlchemy's connection."""

import pytest
from cofactor_server.store import tables as t
from cofactor_server.store.transactions.database import Contention
from cofactor_server.store.transactions.driver import Driver, Prepared
from sqlalchemy import Connection, bindparam, func, insert, select

from tests.unit.store.worlds import opened


async def test_a_connection_that_breaks_is_known_to_and_replaced(postgres_database: str) -> None:
    calls = []

    def change(connection: Connection) -> str:
        calls.append(connection)
        if len(calls) == 1:
            ends = Prepared(select(func.pg_terminate_backend(func.pg_backend_pid())), connection.dialect)
            Driver(connection).rows(ends, {})
        return "done"

    async with opened(postgres_database) as database:
        assert await database.transact(change) == "done"
    assert len(calls) == 2


async def test_a_row_that_is_there_already_is_contention(database_url: str) -> None:
    def change(connection: Connection) -> None:
        row = {"user_id": "u0", "token_id": "t", "expires_at": 1}
        Driver(connection).many(Prepared(insert(t.spent), connection.dialect), [row, row])

    async with opened(database_url) as database:
        with pytest.raises(Contention):
            await database.transact(change)


async def test_constants_of_a_statement_stand_beside_what_is_given(database_url: str) -> None:
    def change(connection: Connection) -> list[tuple[str, int]]:
        driver, dialect = Driver(connection), connection.dialect
        rows = [{"user_id": "u0", "token_id": name, "expires_at": at} for name, at in (("a", 1), ("b", 2))]
        driver.many(Prepared(insert(t.spent), dialect), rows)
        s = t.spent.c
        later = select(s.token_id, s.expires_at).where(s.user_id == bindparam("whose"), s.expires_at > 1)
        return [(name, at) for name, at in driver.rows(Prepared(later, dialect), {"whose": "u0"})]

    async with opened(database_url) as database:
        assert await database.transact(change) == [("b", 2)]
