"""One transaction's reads and writes."""

import asyncio
import contextlib
from typing import Any

import pytest
from cofactor_server.domain.authenticators.authenticator import State
from cofactor_server.domain.challenges.challenge import ChallengeState
from cofactor_server.domain.foundation.budgets import KNOWN_SOURCE_NOTED, SOURCE_FAILED_CODES, Guard
from cofactor_server.domain.foundation.events import Event, EventName, Notice, NoticeName
from cofactor_server.domain.foundation.values import replace
from cofactor_server.store import tables as t
from cofactor_server.store.transactions import rows
from cofactor_server.store.transactions.database import Contention, Database, deciding
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work
from sqlalchemy import func, select

from tests.unit.store.transactions.test_rows import AUTHENTICATOR, CHALLENGE, CLIENT, FAMILY, OUTCOME
from tests.unit.store.worlds import ENTROPY, NOW, counting, decide, opened

EVERYTHING = Needs(
    "u0",
    client_id="c",
    token_id="token",
    challenge_id="ch",
    pending_challenges=True,
    family_id="f",
    request_id="r",
    source="192.0.2.1",
)


def write_everything(work: Work) -> None:
    found = work.user("u0")
    assert found is not None
    work.save_user(replace(found, label="new", epoch=found.epoch + 1))
    work.save_authenticator(AUTHENTICATOR)
    work.save_challenge(replace(CHALLENGE, state=ChallengeState.PENDING))
    work.save_family(FAMILY)
    work.spend("u0", "token", NOW)
    work.keep_outcome(OUTCOME)
    work.remember_source("u0", "192.0.2.1", NOW)
    work.charge_source("192.0.2.1", NOW)
    work.record(Event("u0", EventName.LOGIN_COMPLETED, NOW))
    work.notify(Notice("u0", NoticeName.MFA_RESET, NOW))


def read_everything(work: Work) -> dict[str, Any]:
    found = work.user("u0")
    return {
        "user": (found.label, found.epoch) if found else None,
        "authenticators": work.authenticators("u0"),
        "challenge": work.challenge("u0", "ch"),
        "pending": work.pending_challenges("u0"),
        "family": work.family("u0", "f"),
        "spent": work.is_spent("u0", "token"),
        "outcome": work.outcome("u0", "c", "r", NOW - 1),
        "known": work.is_known("u0", "192.0.2.1", NOW),
        "charged": work._source_full_at.get("192.0.2.1", 0),
    }


async def count(database: Database, table: Any) -> int:
    return int(await database.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one()))


async def test_reads_see_what_was_decided_before_them_in_the_same_batch(database_url: str) -> None:
    async with opened(database_url, users=1) as database:

        def both(work: Work) -> tuple[Any, Any]:
            before = read_everything(work)
            write_everything(work)
            return before, read_everything(work)

        before, within = await decide(database, [EVERYTHING], both)
        after = await decide(database, [EVERYTHING], read_everything)
    assert before["user"] == ("", 1)
    assert [bool(before[name]) for name in before if name != "user"] == [False] * 8
    assert within["user"] == ("new", 2)
    assert all(within.values())
    assert after == within


async def test_changed_rows_are_updated_in_every_column(database_url: str) -> None:
    changed = replace(
        AUTHENTICATOR,
        kind="other",
        state=State.DISABLED,
        credential=b"next",
        login_id="",
        name="",
        link_id="",
        unique_ref=None,
        confirmed_at=None,
        last_used_at=None,
        removed_at=None,
        acr="",
        created_at=1,
        guard=Guard(),
    )
    challenge = replace(CHALLENGE, state=ChallengeState.REDEEMED, expected=b"", epoch=9, login_id="other")
    family = replace(FAMILY, generation=10, revoked=False, scope="", token_sha256=b"1" * 32)
    async with opened(database_url, users=1) as database:
        await decide(database, [EVERYTHING], write_everything)

        def change(work: Work) -> None:
            work.save_authenticator(changed)
            work.save_challenge(challenge)
            work.save_family(family)
            work.remember_source("u0", "192.0.2.1", NOW + KNOWN_SOURCE_NOTED)

        await decide(database, [EVERYTHING], change)
        after = await decide(database, [EVERYTHING], read_everything)
        seen = await database.read(lambda c: c.execute(select(t.sources.c.seen_at)).scalar_one())
    assert after["authenticators"] == [changed]
    assert after["challenge"] == challenge
    assert after["family"] == family
    assert seen == NOW + KNOWN_SOURCE_NOTED


async def test_a_source_is_noted_once_an_hour(database_url: str) -> None:
    needs = [Needs("u0", source="192.0.2.1")]
    async with opened(database_url, users=1) as database:
        for now in (NOW, NOW + KNOWN_SOURCE_NOTED - 1):
            await decide(database, needs, lambda work, now=now: work.remember_source("u0", "192.0.2.1", now))  # type: ignore[misc]
        seen = await database.read(lambda c: c.execute(select(t.sources.c.seen_at)).scalar_one())
    assert seen == NOW


async def test_what_a_raising_decision_wrote_is_undone_and_the_others_stay(database_url: str) -> None:
    async with opened(database_url, users=2) as database:

        def three(work: Work) -> dict[str, Any]:
            def first(work: Work) -> None:
                work.record(Event("u1", EventName.USER_DELETED, NOW))
                work.charge_source("192.0.2.9", NOW)

            def second(work: Work) -> None:
                write_everything(work)
                raise ZeroDivisionError

            work.decide(first)
            before = read_everything(work)
            with contextlib.suppress(ZeroDivisionError):
                work.decide(second)
            assert read_everything(work) == before
            work.decide(lambda work: work.spend("u1", "other", NOW))
            return before

        needs = [Needs("u1", token_id="other", source="192.0.2.9"), EVERYTHING]
        before = await decide(database, needs, three)
        assert await decide(database, [EVERYTHING], read_everything) == before
        assert await count(database, t.events) == 1
        assert await count(database, t.notices) == 0
        assert await count(database, t.spent) == 1
        assert await count(database, t.source_budgets) == 1


async def test_a_raising_decision_leaves_earlier_writes_to_the_same_row(database_url: str) -> None:
    async with opened(database_url, users=1) as database:

        def two(work: Work) -> None:
            def second(work: Work) -> None:
                work.save_authenticator(replace(AUTHENTICATOR, name="second"))
                work.save_authenticator(replace(AUTHENTICATOR, name="third"))
                raise ZeroDivisionError

            work.decide(lambda work: work.save_authenticator(replace(AUTHENTICATOR, name="first")))
            with contextlib.suppress(ZeroDivisionError):
                work.decide(second)

        await decide(database, [EVERYTHING], two)
        after = await decide(database, [EVERYTHING], read_everything)
    assert [a.name for a in after["authenticators"]] == ["first"]


async def test_nothing_of_another_user_is_read(database_url: str) -> None:
    async with opened(database_url, users=2) as database:
        await decide(database, [EVERYTHING], write_everything)

        def of_the_other(work: Work) -> list[Any]:
            return [
                work.user("u0"),
                *work.authenticators("u1"),
                work.challenge("u1", "ch"),
                *work.pending_challenges("u1"),
                work.family("u1", "f"),
                work.outcome("u1", "c", "r", NOW - 1),
            ]

        found = await decide(database, [replace(EVERYTHING, user_id="u1")], of_the_other)
        assert found == [None] * 4
        assert not await decide(
            database, [replace(EVERYTHING, user_id="u1")], lambda work: work.is_spent("u1", "token")
        )


async def test_removed_authenticators_are_not_read(database_url: str) -> None:
    async with opened(database_url, users=1) as database:
        await decide(database, [EVERYTHING], lambda work: work.save_authenticator(AUTHENTICATOR.removed(NOW)))
        assert await decide(database, [EVERYTHING], lambda work: work.authenticators("u0")) == []


@pytest.mark.requirement("S165")
async def test_what_another_authenticator_is_known_by_is_found_over_all_users(database_url: str) -> None:
    held = replace(AUTHENTICATOR, unique_ref="abc")
    others = replace(AUTHENTICATOR, user_id="u1", unique_ref=None)
    async with opened(database_url, users=2) as database:
        await decide(database, [Needs("u0")], lambda work: work.save_authenticator(held))

        def ask(work: Work) -> list[bool]:
            return [
                work.is_held_by_another(held, "abc"),
                work.is_held_by_another(replace(held, id="totp|dev_2", unique_ref=None), "abc"),
                work.is_held_by_another(others, "abc"),
                work.is_held_by_another(others, "abd"),
                work.is_held_by_another(replace(others, kind="other"), "abc"),
            ]

        found = await decide(database, [Needs("u1")], ask)
    assert found == [False, True, True, False, False]


async def test_what_was_decided_before_in_a_batch_holds_and_what_was_removed_does_not(database_url: str) -> None:
    held = replace(AUTHENTICATOR, unique_ref="abc")
    others = replace(AUTHENTICATOR, user_id="u1", unique_ref=None)
    async with opened(database_url, users=2) as database:

        def batch(work: Work) -> list[bool]:
            answers = [work.is_held_by_another(others, "abc")]
            work.save_authenticator(held)
            answers.append(work.is_held_by_another(others, "abc"))
            return answers

        def remove(work: Work) -> bool:
            work.save_authenticator(held.removed(NOW))
            return work.is_held_by_another(others, "abc")

        both = [Needs("u0"), Needs("u1")]
        assert await decide(database, both, batch) == [False, True]
        assert await decide(database, both, remove) is False


async def test_a_client_is_read_as_it_is_now(database_url: str) -> None:
    async with opened(database_url, users=1) as database:
        row = rows.of_client(CLIENT)
        await database.transact(lambda connection: connection.execute(t.clients.insert(), row))
        assert await decide(database, [EVERYTHING], lambda work: work.client("c")) == CLIENT


async def test_users_who_are_not_there_are_named(database_url: str) -> None:
    async with opened(database_url, users=1) as database:
        missing = await database.transact(
            deciding(database.statements, ENTROPY, lambda work: work.load([Needs("u0"), Needs("nobody")]))
        )
    assert missing == {"nobody"}


async def test_charges_of_many_connections_all_count(database_url: str) -> None:
    async with opened(database_url, users=8) as database:

        async def charge(number: int) -> None:
            needs = [Needs(f"u{number}", source="192.0.2.1")]
            for _ in range(5):
                await decide(database, needs, lambda work: work.charge_source("192.0.2.1", NOW))

        await asyncio.gather(*(charge(number) for number in range(8)))
        full_at = await database.read(lambda c: c.execute(select(t.source_budgets.c.full_at)).scalar_one())
    assert full_at == NOW + 40 * SOURCE_FAILED_CODES.refill


async def test_several_charges_of_one_batch_all_count(database_url: str) -> None:
    async with opened(database_url, users=1) as database:

        def charge(work: Work) -> int:
            for _ in range(3):
                work.charge_source("192.0.2.1", NOW)
            return work._source_full_at["192.0.2.1"]

        expected = await decide(database, [Needs("u0", source="192.0.2.1")], charge)
        full_at = await database.read(lambda c: c.execute(select(t.source_budgets.c.full_at)).scalar_one())
    assert full_at == expected == NOW + 3 * SOURCE_FAILED_CODES.refill


async def test_a_token_spent_by_somebody_else_meanwhile_is_contention(database_url: str) -> None:
    async with opened(database_url, users=1) as database:
        await decide(database, [Needs("u0")], lambda work: work.spend("u0", "token", NOW))
        with pytest.raises(Contention):
            # Decided without having asked for the token, as if it had been spent after the read.
            await decide(database, [Needs("u0")], lambda work: work.spend("u0", "token", NOW))
        assert await count(database, t.spent) == 1


async def test_statements_are_built_once(database_url: str) -> None:
    async with opened(database_url, users=4) as database:
        counted = counting(database)
        await decide(database, [EVERYTHING], write_everything)
        first = [statement for statement in counted.statements if "INSERT" not in statement]
        counted.statements.clear()
        needs = [replace(EVERYTHING, user_id=f"u{n}", token_id=f"t{n}", source=f"s{n}") for n in range(4)]
        await decide(database, needs, lambda work: None)
        second = counted.statements
    texts = {statement for statement in first if "SELECT" in statement}
    assert {statement for statement in second if "SELECT" in statement} <= texts
    assert len([statement for statement in second if "SELECT" in statement]) == len(texts)
