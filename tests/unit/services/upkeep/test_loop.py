"""What a serving process does beside serving: prunes, and watches its clock."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cofactor_server.domain.authenticators.authenticator import PENDING_LIFE, State
from cofactor_server.domain.foundation.budgets import KNOWN_SOURCE_LIFE
from cofactor_server.domain.foundation.events import EVENTS_RETENTION, Event, EventName
from cofactor_server.seams import DAY
from cofactor_server.store import pruning
from cofactor_server.store import tables as t
from cofactor_server.store.pruning import GRACE, LONGEST_WINDOW
from cofactor_server.store.transactions import rows
from sqlalchemy import Connection, func, insert, select

from tests.support.world import World, world_on
from tests.unit.domain.authenticators.test_authenticator import authenticator

SECONDS = 1_000_000


async def fill(world: World, table: Any, values: list[dict[str, Any]]) -> None:
    await world.app.database.transact(lambda c: c.execute(insert(table), values))


@asynccontextmanager
async def replica(world: World, url: str, **given: Any) -> AsyncIterator[World]:
    """Open another process of the same deployment, with settings of its own."""
    async with world_on(url, clock=world.clock, keyring=world.keyring, **given) as opened:
        yield opened


async def left(world: World, table: Any) -> int:
    return int(await world.app.database.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one()))


def samples(at: int) -> list[tuple[Any, dict[str, Any]]]:
    """Return a row of each table whose time was over at `at`."""
    empty: dict[str, Any] = {"user_id": "u", "client_id": "c", "created_at": 0, "epoch": 1}
    challenge = {"id": "x", "login_id": "", "purpose": "login", "authenticator_id": "", "state": "pending"}
    family = {
        "id": "x",
        "generation": 1,
        "secret": b"",
        "mac_key_id": "",
        "token_sha256": b"",
        "scope": "",
        "audience": "",
        "authentication": "{}",
        "revoked": False,
    }
    outcome = {"user_id": "u", "client_id": "c", "request_id": "x", "request_sha256": b"", "issue": b""}
    return [
        (t.spent, {"user_id": "u", "token_id": "x", "expires_at": at}),
        (t.outcomes, {**outcome, "expires_at": at}),
        (t.challenges, {**empty, **challenge, "expected": b"", "expires_at": at}),
        (t.refresh_families, {**empty, **family, "expires_at": at}),
        (t.sources, {"user_id": "u", "source": "x", "seen_at": at - KNOWN_SOURCE_LIFE}),
        (t.source_budgets, {"source": "x", "full_at": at}),
        (t.budgets, {"key": "x", "full_at": at}),
        (
            t.phone_enrollments,
            {"user_id": "u", "authenticator_id": "x", "prefix": "+1212", "sent_at": at - LONGEST_WINDOW},
        ),
    ]


@pytest.mark.parametrize(("past", "remains"), [(GRACE, 1), (GRACE + 1, 0)])
async def test_what_is_over_goes_after_a_grace_of_fifteen_minutes(world: World, past: int, remains: int) -> None:
    assert GRACE == 15 * 60 * SECONDS
    rows_of_tables = samples(world.clock.now() - past)
    for table, row in rows_of_tables:
        await fill(world, table, [row])
    await world.app.upkeep.prune()
    assert {table.name: await left(world, table) for table, _ in rows_of_tables} == {
        table.name: remains for table, _ in rows_of_tables
    }


@pytest.mark.requirement("S33")
async def test_what_was_ever_bound_stays_on_record(world: World) -> None:
    now, long_ago = world.clock.now(), world.clock.now() - GRACE - PENDING_LIFE - 1
    given = [
        ("pending", authenticator("totp", State.PENDING, created_at=long_ago)),
        ("pending, young", authenticator("totp", State.PENDING, created_at=long_ago + 1)),
        ("abandoned", authenticator("totp", State.PENDING, created_at=long_ago).removed(now)),
        ("active", authenticator("totp", State.ACTIVE, created_at=long_ago, confirmed_at=long_ago)),
        ("disabled", authenticator("totp", State.DISABLED, created_at=long_ago, confirmed_at=long_ago)),
        ("removed", authenticator("totp", State.ACTIVE, created_at=0, confirmed_at=1).removed(2)),
    ]
    await fill(world, t.authenticators, [{**rows.of_authenticator(a), "id": name} for name, a in given])
    await world.app.upkeep.prune()
    names = await world.app.database.read(lambda c: c.execute(select(t.authenticators.c.id)).scalars().all())
    assert set(names) == {"pending, young", "active", "disabled", "removed"}


async def test_thousands_go_a_thousand_a_transaction(world: World) -> None:
    old = world.clock.now() - 2 * GRACE
    await fill(world, t.spent, [{"user_id": "u", "token_id": str(n), "expires_at": old} for n in range(2_500)])
    await fill(world, t.spent, [{"user_id": "u", "token_id": "young", "expires_at": world.clock.now()}])
    counts: list[int] = []
    change = world.app.upkeep._records.change

    async def counted(*arguments: Any) -> Any:
        counts.append(await change(*arguments))
        return counts[-1]

    world.app.upkeep._records.change = counted  # type: ignore[method-assign,assignment]
    await world.app.upkeep.prune()
    assert counts == [1_000, 1_000, 500]
    assert await left(world, t.spent) == 1


def happened(at: int, number: int = 0) -> dict[str, Any]:
    """Return the row of an event; the ids of a deciding transaction, and those of an operator's change."""
    ids = (f"{at:014x}{number:018x}", f"{at:014x}-{EventName.AUTHENTICATOR_REMOVED}-aut_{number}")
    return rows.of_event(Event(f"usr_{number % 3}", EventName.LOGIN_COMPLETED, at), ids[number % 2])


@pytest.mark.parametrize(("days", "given"), [(EVENTS_RETENTION // DAY, {}), (30, {"events_retention": 30 * DAY})])
async def test_events_are_kept_as_long_as_the_operator_says(
    world: World, prepared_url: str, days: int, given: dict[str, Any]
) -> None:
    limit = world.clock.now() - days * DAY - GRACE
    await fill(world, t.events, [happened(limit + number - 5, number) for number in range(10)])

    async with replica(world, prepared_url, **given) as other:
        await other.app.upkeep.prune()

    found = await world.app.database.read(lambda c: c.execute(select(t.events.c.time)).scalars().all())
    assert sorted(found) == [limit + number for number in range(5)]


async def test_no_event_is_deleted_where_they_are_kept_for_ever(world: World, prepared_url: str) -> None:
    await fill(world, t.events, [happened(number, number) for number in range(10)])
    async with replica(world, prepared_url, events_retention=0) as other:
        await other.app.upkeep.prune()
    assert await left(world, t.events) == 10


async def test_old_events_go_a_thousand_a_transaction_the_oldest_first(world: World) -> None:
    old = world.clock.now() - EVENTS_RETENTION - GRACE - 1
    await fill(world, t.events, [happened(old - number, number) for number in range(2_500)])
    remaining = []
    for _ in range(3):
        await world.app.upkeep._records.change(pruning.prune, world.clock.now(), EVENTS_RETENTION)
        found = await world.app.database.read(lambda c: c.execute(select(t.events.c.time)).scalars().all())
        remaining.append((len(found), min(found, default=0)))
    assert remaining == [(1_500, old - 1_499), (500, old - 499), (0, 0)]


async def test_old_events_are_found_without_reading_all_of_them(world: World, engine: str) -> None:
    now = world.clock.now()
    await fill(world, t.events, [happened(now - number, number) for number in range(5_000)])
    found: list[str] = []

    def explain(connection: Connection) -> None:
        statement = pruning._oldest_events(connection, now - EVENTS_RETENTION)
        text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
        if engine == "postgresql":
            connection.exec_driver_sql("ANALYZE events")
        how = "EXPLAIN" if engine == "postgresql" else "EXPLAIN QUERY PLAN"
        found.extend(str(row) for row in connection.exec_driver_sql(f"{how} {text}"))

    await world.app.database.transact(explain)

    plan = "\n".join(found)
    if engine == "postgresql":
        assert "ix_events_time" in plan
        assert "Seq Scan" not in plan
    else:
        assert "SEARCH events USING PRIMARY KEY (id<?)" in plan
        assert "SCAN events" not in plan


@pytest.mark.requirement("S74")
@pytest.mark.parametrize("ahead", [60, 800 * 86_400])
async def test_a_process_whose_clock_is_off_deletes_nothing(world: World, engine: str, ahead: int) -> None:
    """One that is years ahead would delete the record of everything, and markers of tokens that are still good."""
    await fill(world, t.events, [happened(world.clock.now())])
    await fill(world, t.spent, [{"user_id": "u", "token_id": "x", "expires_at": world.clock.now() - GRACE}])
    world.clock.advance(ahead)
    await world.app.upkeep.prune_by_the_right_time()
    gone = engine == "sqlite"
    assert await left(world, t.spent) == (0 if gone else 1)
    assert await left(world, t.events) == (0 if gone and ahead > EVENTS_RETENTION // SECONDS else 1)


@pytest.mark.requirement("S74")
@pytest.mark.parametrize(("seconds", "right"), [(0, True), (10, True), (-10, True), (17, False), (-17, False)])
async def test_a_clock_that_differs_from_the_databases_is_noticed(
    world: World, engine: str, seconds: int, right: bool
) -> None:
    world.clock._now = time.time_ns() // 1_000
    world.clock.advance(seconds)
    assert await world.app.upkeep.clock_is_right() is (right or engine == "sqlite")


@pytest.mark.requirement("S74")
async def test_a_process_whose_clock_is_off_reports_not_ready(world: World, engine: str) -> None:
    told: list[bool] = []

    async def ready(state: bool) -> None:
        told.append(state)

    world.clock.advance(-60)
    await world.app.upkeep._report(ready)
    assert told == [engine == "sqlite"]
