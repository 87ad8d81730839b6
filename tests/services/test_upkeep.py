"""What a serving process does beside serving: prunes, and watches its clock."""

import time
from typing import Any

import pytest
from cofactor_server.domain.authenticators import PENDING_LIFE, State
from cofactor_server.domain.budgets import KNOWN_SOURCE_LIFE
from cofactor_server.store import rows
from cofactor_server.store import tables as t
from cofactor_server.store.pruning import GRACE, LONGEST_WINDOW
from sqlalchemy import func, insert, select

from tests.services.test_enrolled import authenticator
from tests.world import World

SECONDS = 1_000_000


async def fill(world: World, table: Any, values: list[dict[str, Any]]) -> None:
    await world.app.database.transact(lambda c: c.execute(insert(table), values))


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
