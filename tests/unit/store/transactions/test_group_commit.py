"""Group commit: one transaction for many calls, and what a bad one among them costs the others."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from cofactor_server.domain.foundation.events import Event, EventName
from cofactor_server.errors import CofactorError, DeadlineExceeded, Internal, TooManyRequests, Unavailable
from cofactor_server.store import tables as t
from cofactor_server.store.repositories import accounts
from cofactor_server.store.transactions.database import Database
from cofactor_server.store.transactions.group_commit import GroupCommit, Limits
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work
from sqlalchemy import Connection, event, select

from tests.unit.store.transactions.test_database import failure
from tests.unit.store.worlds import ENTROPY, NOW, behind_a_network, counting, opened, writing_engine


@dataclass(frozen=True)
class Note:
    """Records an event of its own, and returns what it is told to."""

    user_id: str
    name: str
    verdict: Any = None
    also: Callable[[Work], Any] | None = None
    order: list[str] = field(default_factory=list)

    @property
    def needs(self) -> Needs:
        return Needs(self.user_id)

    def decide(self, work: Work) -> Any:
        self.order.append(self.name)
        work.record(Event(self.user_id, EventName.LOGIN_COMPLETED, NOW, client_id=self.name))
        if self.also is not None:
            self.also(work)
        return self.verdict if self.verdict is not None else self.name


def poison(work: Work) -> None:
    """What breaks a whole transaction: on PostgreSQL a NUL; a missing value on either."""
    work.record(Event("u0", None, NOW, client_id="a\0b"))  # type: ignore[arg-type]


def broken(_work: Work) -> None:
    raise ZeroDivisionError


async def noted(database: Database) -> list[str]:
    found = await database.read(lambda c: c.execute(select(t.events.c.client_id)).scalars().all())
    return sorted(found)


@asynccontextmanager
async def grouped(
    url: str, users: int = 8, limits: Limits | None = None
) -> AsyncIterator[tuple[GroupCommit, Database]]:
    async with opened(url, users=users) as database:
        group = GroupCommit(database, ENTROPY, limits)
        yield group, database
        await group.close()


async def settle(group: GroupCommit, notes: list[Note], **given: Any) -> list[Any]:
    """Have all decided at once; errors are returned."""
    return await asyncio.gather(*(group.decide(note, **given) for note in notes), return_exceptions=True)


async def test_a_lone_call_waits_for_nobody(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with grouped(database_url) as (group, _database):
        waits: list[float] = []
        monkeypatch.setattr(asyncio, "timeout_at", waits.append)
        with group.under_way("shop"):
            assert await group.decide(Note("u0", "lone")) == "lone"
    assert waits == []


async def test_a_batch_waits_for_calls_under_way(database_url: str) -> None:
    async with grouped(database_url, limits=Limits(wait=5)) as (group, database):
        counted = counting(database)

        async def later() -> Any:
            with group.under_way("shop"):
                await asyncio.sleep(0.05)
                return await group.decide(Note("u1", "later"))

        async def first() -> Any:
            with group.under_way("shop"):
                return await group.decide(Note("u0", "first"))

        assert list(await asyncio.gather(later(), first())) == ["later", "first"]
    assert counted.commits == 1


async def test_a_batch_waits_no_longer_than_its_limit(database_url: str) -> None:
    async with grouped(database_url, limits=Limits(wait=0.01)) as (group, _database):
        with group.under_way("shop"), group.under_way("slow"):
            async with asyncio.timeout(5):
                assert await group.decide(Note("u0", "first")) == "first"


async def test_the_wait_ends_when_the_last_call_under_way_ends(database_url: str) -> None:
    async with grouped(database_url, limits=Limits(wait=30)) as (group, _database):

        async def wants_nothing() -> None:
            with group.under_way("shop"):
                await asyncio.sleep(0.05)

        async def wants() -> Any:
            with group.under_way("shop"):
                return await group.decide(Note("u0", "first"))

        async with asyncio.timeout(5):
            assert (await asyncio.gather(wants_nothing(), wants()))[1] == "first"


async def test_calls_that_arrive_during_a_commit_form_the_next_batch(database_url: str) -> None:
    async with grouped(database_url, limits=Limits(per_user=64)) as (group, database):
        counted = counting(database)
        arrived: list[asyncio.Task[Any]] = []
        begun, event_loop_turns = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()
        order: list[str] = []

        def during(_work: Work) -> None:
            loop.call_soon_threadsafe(arrive)

        def arrive() -> None:
            notes = [Note(f"u{n % 8}", f"n{n:02}", order=order) for n in range(40)]
            arrived.extend(loop.create_task(group.decide(note)) for note in notes)
            begun.set()

        def hold(_connection: Connection) -> None:
            event_loop_turns.wait(5)

        if database.statements.skips_locked:
            event_loop_turns.set()  # the loop turns by itself while the driver waits
        else:
            event.listen(writing_engine(database), "commit", hold)
        first = asyncio.ensure_future(group.decide(Note("u0", "first", also=during)))
        async with asyncio.timeout(5):
            await begun.wait()
        event_loop_turns.set()
        assert await first == "first"
        assert await asyncio.gather(*arrived) == [f"n{n:02}" for n in range(40)]
        assert counted.commits == 2
        assert order == sorted(order)
        assert len(await noted(database)) == 41


async def test_a_batch_has_its_size(database_url: str) -> None:
    async with grouped(database_url, limits=Limits(batch=10, per_user=64)) as (group, database):
        counted = counting(database)
        verdicts = await settle(group, [Note(f"u{n % 8}", str(n)) for n in range(25)])
        assert verdicts == [str(n) for n in range(25)]
    assert counted.commits == 3


async def test_two_decisions_on_one_user_see_each_other(database_url: str) -> None:
    async with grouped(database_url) as (group, _database):

        @dataclass(frozen=True)
        class Spend:
            needs = Needs("u0", token_id="token")

            def decide(self, work: Work) -> bool:
                if work.is_spent("u0", "token"):
                    return False
                work.spend("u0", "token", NOW)
                return True

        verdicts = await asyncio.gather(*(group.decide(Spend()) for _ in range(4)))
    assert sorted(verdicts) == [False, False, False, True]


async def test_a_user_has_four_in_flight_and_hears_when_to_come_back(database_url: str) -> None:
    async with grouped(database_url) as (group, database):
        verdicts = await settle(group, [Note("u0", str(n)) for n in range(6)] + [Note("u1", "other")])
        assert verdicts[:4] + verdicts[6:] == ["0", "1", "2", "3", "other"]
        for refused in verdicts[4:6]:
            assert isinstance(refused, TooManyRequests)
            assert refused.retry_after == 1
        assert len(await noted(database)) == 5
        assert await group.decide(Note("u0", "afterwards")) == "afterwards"
    assert not group._per_user


async def test_a_client_has_a_quarter_of_the_queue(database_url: str) -> None:
    async with grouped(database_url, limits=Limits(queue=8)) as (group, _database):
        with group.under_way("shop"), group.under_way("shop"):
            with pytest.raises(TooManyRequests) as refused:
                group.under_way("shop").__enter__()
            assert refused.value.retry_after == 1
            with group.under_way("other"):
                pass
        with group.under_way("shop"):
            pass
    assert not group._per_client


async def test_a_full_queue_refuses(database_url: str) -> None:
    async with grouped(database_url, limits=Limits(queue=4, per_user=64)) as (group, _database):
        tasks = [asyncio.ensure_future(group.decide(Note("u0", str(n)))) for n in range(4)]
        for _ in range(2):
            if len(group._queue) < 4:
                await asyncio.sleep(0)
        assert len(group._queue) == 4
        with pytest.raises(TooManyRequests):
            await group.decide(Note("u1", "late"))
        with pytest.raises(TooManyRequests):
            group.under_way("shop").__enter__()
        assert await asyncio.gather(*tasks) == ["0", "1", "2", "3"]


async def test_a_call_whose_deadline_has_passed_is_dropped_undecided(database_url: str) -> None:
    async with grouped(database_url) as (group, database):
        order: list[str] = []
        past = asyncio.get_running_loop().time() - 0.001
        verdicts: Sequence[Any] = await asyncio.gather(
            group.decide(Note("u0", "late", order=order), deadline=past),
            group.decide(Note("u1", "fine", order=order), deadline=past + 60),
            return_exceptions=True,
        )
        assert isinstance(verdicts[0], DeadlineExceeded)
        assert verdicts[1] == "fine"
        assert order == await noted(database) == ["fine"]


async def test_a_refusal_is_a_verdict_and_what_it_counted_stays(database_url: str) -> None:
    async with grouped(database_url) as (group, database):
        refusal = Unavailable()
        assert await group.decide(Note("u0", "counted", verdict=refusal)) is refusal
        assert await noted(database) == ["counted"]


async def test_a_decision_that_raises_fails_alone(database_url: str) -> None:
    async with grouped(database_url) as (group, database):
        counted = counting(database)
        notes = [Note("u0", "a"), Note("u1", "raises", also=broken), Note("u0", "b"), Note("u2", "c")]
        a, raised, b, c = await settle(group, notes)
        assert (a, b, c) == ("a", "b", "c")
        assert isinstance(raised, Internal)
        assert await noted(database) == ["a", "b", "c"]
    assert counted.commits == 1


@pytest.mark.parametrize("place", [0, 6, 12])
async def test_what_breaks_a_batch_fails_alone_and_the_others_are_decided_once(database_url: str, place: int) -> None:
    async with grouped(database_url) as (group, database):
        notes = [Note(f"u{n % 8}", f"n{n:02}") for n in range(12)]
        notes.insert(place, Note("u0", "poisoned", also=poison))
        verdicts = await settle(group, notes)
        refused = verdicts.pop(place)
        assert isinstance(refused, CofactorError)
        assert verdicts == [f"n{n:02}" for n in range(12)] == await noted(database)


async def test_a_nul_is_an_internal_error_on_postgresql(postgres_database: str) -> None:
    def nul(work: Work) -> None:
        work.record(Event("u0", EventName.LOGIN_COMPLETED, NOW, client_id="a\0b"))

    async with grouped(postgres_database) as (group, database):
        good, refused = await settle(group, [Note("u1", "good"), Note("u0", "bad", also=nul)])
        assert good == "good"
        assert isinstance(refused, Internal)
        assert await noted(database) == ["good"]


async def test_a_caller_that_gives_up_cancels_nothing(database_url: str) -> None:
    async with grouped(database_url) as (group, database):
        gone = asyncio.ensure_future(group.decide(Note("u0", "gone")))
        stays = asyncio.ensure_future(group.decide(Note("u1", "stays")))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays == "stays"
        assert gone.cancelled()
        await group.close()
        assert await noted(database) == ["gone", "stays"]
    assert not group._per_user


async def test_a_lost_race_is_decided_afresh(database_url: str) -> None:
    async with grouped(database_url) as (group, database):
        order: list[str] = []
        races = [failure("", "40001"), failure("", "40P01")]

        def fail(_connection: Connection) -> None:
            if races:
                raise races.pop()

        event.listen(writing_engine(database), "commit", fail)
        notes = [Note("u0", "a", order=order), Note("u1", "b", order=order)]
        assert await settle(group, notes) == ["a", "b"]
        assert order == ["a", "b"] * 3
        assert await noted(database) == ["a", "b"]


async def test_a_commit_of_unknown_outcome_is_not_decided_again(database_url: str) -> None:
    async with grouped(database_url) as (group, database):
        order: list[str] = []

        def fail(_connection: Connection) -> None:
            raise failure("", "08006")

        event.listen(writing_engine(database), "commit", fail)
        verdicts = await settle(group, [Note("u0", "a", order=order), Note("u1", "b", order=order)])
        event.remove(writing_engine(database), "commit", fail)
        assert [type(verdict) for verdict in verdicts] == [Unavailable] * 2
        assert [verdict.retry_after for verdict in verdicts] == [None] * 2
        assert order == ["a", "b"]
        assert await group.decide(Note("u0", "afterwards")) == "afterwards"
        assert await noted(database) == ["afterwards"]


async def test_a_race_that_is_always_lost_is_unavailable(database_url: str) -> None:
    async with grouped(database_url, limits=Limits(attempts=2)) as (group, database):

        def fail(_connection: Connection) -> None:
            raise failure("", "40001")

        event.listen(writing_engine(database), "commit", fail)
        (refused,) = await settle(group, [Note("u0", "a")])
        assert isinstance(refused, Unavailable)
        assert refused.retry_after == 1


async def test_closing_decides_what_was_accepted(database_url: str) -> None:
    async with grouped(database_url, limits=Limits(batch=3, per_user=64)) as (group, database):
        tasks = [asyncio.ensure_future(group.decide(Note(f"u{n % 8}", f"n{n}"))) for n in range(9)]
        await asyncio.sleep(0)
        await group.close()
        assert await noted(database) == [f"n{n}" for n in range(9)]
        assert await asyncio.gather(*tasks) == [f"n{n}" for n in range(9)]


async def test_a_user_who_is_gone_is_decided_without_one(database_url: str) -> None:
    async with grouped(database_url) as (group, database):
        await database.transact(lambda c: accounts.delete_user(c, "default", "u0", NOW))

        @dataclass(frozen=True)
        class Find:
            user_id: str

            @property
            def needs(self) -> Needs:
                return Needs(self.user_id)

            def decide(self, work: Work) -> bool:
                return work.user(self.user_id) is not None

        verdicts = await asyncio.gather(*(group.decide(Find(u)) for u in ("u0", "u1", "nobody", "u0")))
    assert verdicts == [False, True, False, False]


# What another replica holds (PostgreSQL)


@asynccontextmanager
async def held(url: str, *user_ids: str) -> AsyncIterator[None]:
    """Hold users' locks, as another replica's transaction does."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT * FROM users WHERE id = ANY($1) FOR NO KEY UPDATE", list(user_ids))
            yield
    finally:
        await connection.close()


async def test_a_user_held_elsewhere_holds_up_nobody_else(postgres_database: str) -> None:
    async with grouped(postgres_database) as (group, database):
        async with held(postgres_database, "u0"):
            waiting = asyncio.ensure_future(group.decide(Note("u0", "waiting")))
            for number in range(20):
                async with asyncio.timeout(1):
                    assert await group.decide(Note("u1", f"n{number:02}")) == f"n{number:02}"
            await asyncio.sleep(0.1)
            async with asyncio.timeout(0.5):
                assert await group.decide(Note("u2", "other")) == "other"
            assert not waiting.done()
        async with asyncio.timeout(1):
            assert await waiting == "waiting"
        assert len(await noted(database)) == 22


async def test_many_users_held_elsewhere_are_all_decided_afterwards(postgres_database: str) -> None:
    async with grouped(postgres_database) as (group, database):
        async with held(postgres_database, *(f"u{n}" for n in range(7))):
            waiting = [asyncio.ensure_future(group.decide(Note(f"u{n % 7}", f"w{n:02}"))) for n in range(21)]
            async with asyncio.timeout(1):
                assert await group.decide(Note("u7", "free")) == "free"
        async with asyncio.timeout(3):
            assert await asyncio.gather(*waiting) == [f"w{n:02}" for n in range(21)]
        assert len(await noted(database)) == 22
    assert not group._alone


async def test_a_user_held_too_long_is_unavailable_and_undecided(postgres_database: str) -> None:
    async with grouped(postgres_database) as (group, database):

        def impatient(connection: Any, _record: Any) -> None:
            connection.cursor().execute("SET lock_timeout = 200")

        await database.close()
        event.listen(writing_engine(database), "connect", impatient)
        async with held(postgres_database, "u0"):
            async with asyncio.timeout(1.5):
                (refused,) = await settle(group, [Note("u0", "held")])
            assert isinstance(refused, Unavailable)
            assert refused.retry_after == 1
        assert await group.decide(Note("u0", "afterwards")) == "afterwards"
        assert await noted(database) == ["afterwards"]


async def test_a_deadline_passes_while_others_wait_for_their_users(postgres_database: str) -> None:
    async with grouped(postgres_database, limits=Limits(alone=1)) as (group, database):
        async with held(postgres_database, "u0", "u1"):
            first = asyncio.ensure_future(group.decide(Note("u0", "first")))
            deadline = asyncio.get_running_loop().time() + 0.2
            second = asyncio.ensure_future(group.decide(Note("u1", "second"), deadline=deadline))
            await asyncio.sleep(0.3)
        assert await first == "first"
        with pytest.raises(DeadlineExceeded):
            await second
        assert await noted(database) == ["first"]


async def test_closing_waits_for_those_that_wait_alone(postgres_database: str) -> None:
    async with grouped(postgres_database) as (group, database):
        async with held(postgres_database, "u0"):
            waiting = asyncio.ensure_future(group.decide(Note("u0", "waiting")))
            await asyncio.sleep(0.1)
            closing = asyncio.ensure_future(group.close())
            await asyncio.sleep(0.05)
            assert not closing.done()
        await closing
        assert await waiting == "waiting"
        assert await noted(database) == ["waiting"]


async def test_a_database_away_refuses_and_is_found_again(postgres_database: str) -> None:
    async with behind_a_network(postgres_database) as (network, through), grouped(through) as (group, database):
        await network.down()
        verdicts = await settle(group, [Note("u0", "a"), Note("u1", "b")])
        assert [type(verdict) for verdict in verdicts] == [Unavailable] * 2
        assert [verdict.retry_after for verdict in verdicts] == [1, 1]
        await network.up()
        assert await group.decide(Note("u0", "afterwards")) == "afterwards"
        network.drop()
        await asyncio.sleep(0.05)
        assert await group.decide(Note("u0", "restarted")) == "restarted"
        assert await noted(database) == ["afterwards", "restarted"]
