"""Many who wait for few things, whatever these are."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from cofactor_server.errors import Internal, TooManyRequests, Unavailable
from cofactor_server.services.challenges import watchers as watching
from cofactor_server.services.challenges.watchers import Watcher, Watchers
from cofactor_server.store.transactions.signals import Signals

from tests.support.world import MovableClock

SOON = 5.0
Key = tuple[str, int]
"""A user, and a number of theirs."""


@dataclass
class Numbers:
    """What is watched here: numbers, which tests change."""

    clock: MovableClock
    values: dict[Key, str] = field(default_factory=dict)
    ends: dict[Key, int] = field(default_factory=dict)
    looks: list[set[Key]] = field(default_factory=list)
    polls: int = 0
    polled: set[Key] = field(default_factory=set)
    away: bool = False
    broken: Set[Key] = frozenset()

    def user_of(self, key: Key) -> str:
        return key[0]

    def due(self, key: Key, value: str) -> int | None:
        return None if value == "over" else self.ends.get(key)

    async def look(self, keys: Sequence[Key]) -> Mapping[Key, str]:
        if self.away:
            raise Unavailable
        if self.broken & set(keys):
            raise ValueError
        self.looks.append(set(keys))
        await asyncio.sleep(0)
        now = self.clock.now()
        return {
            key: "over" if key in self.ends and now >= self.ends[key] else self.values.get(key, "none") for key in keys
        }

    async def suspects(self, keys: Sequence[Key]) -> Iterable[Key]:
        self.polls += 1
        if self.away:
            raise Unavailable
        return self.polled & set(keys)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def numbers(clock: MovableClock) -> Numbers:
    return Numbers(clock)


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
async def watchers(numbers: Numbers, signals: Signals, clock: MovableClock) -> AsyncIterator[Watchers[Key, str]]:
    made = Watchers(numbers, signals, clock, most=8, most_of_one=3)
    yield made
    await made.close()


async def news(watcher: Watcher[str]) -> str:
    async with asyncio.timeout(SOON):
        return await watcher.next()


async def test_all_who_come_at_once_are_served_by_one_query(watchers: Watchers[Key, str], numbers: Numbers) -> None:
    with ExitStack() as stack:
        all_of_them = [stack.enter_context(watchers.watcher(("u", n % 4))) for n in range(8)]
        assert [await news(watcher) for watcher in all_of_them] == ["none"] * 8
    assert numbers.looks == [{("u", n) for n in range(4)}]


async def test_a_signal_has_only_its_users_things_read_and_only_news_are_told(
    watchers: Watchers[Key, str], numbers: Numbers, signals: Signals
) -> None:
    with watchers.watcher(("u", 1)) as first, watchers.watcher(("u", 2)) as second, watchers.watcher(("v", 1)) as other:
        for watcher in (first, second, other):
            await news(watcher)
        numbers.looks.clear()
        numbers.values[("u", 1)] = "new"
        signals.publish(["nobody", "u"])

        assert await news(first) == "new"
        waiting = asyncio.ensure_future(second.next())
        await asyncio.sleep(0)

        assert (numbers.looks, waiting.done()) == ([{("u", 1), ("u", 2)}], False)
        waiting.cancel()


async def test_one_timer_serves_all_whose_time_comes(
    watchers: Watchers[Key, str], numbers: Numbers, clock: MovableClock
) -> None:
    for n, seconds in enumerate((0.02, 0.04, 400)):
        numbers.ends[("u", n)] = clock.now() + int(seconds * 1_000_000)
    with ExitStack() as stack:
        all_of_them = [stack.enter_context(watchers.watcher(("u", n))) for n in range(3)]
        assert [await news(watcher) for watcher in all_of_them] == ["none"] * 3
        before = len(asyncio.all_tasks())
        clock.advance(0.1)
        assert [await news(watcher) for watcher in all_of_them[:2]] == ["over"] * 2
        clock.advance(400)
        assert await news(all_of_them[2]) == "over"
        assert len(asyncio.all_tasks()) == before


@pytest.mark.parametrize("live", [False, True])
async def test_a_poll_finds_what_no_signal_told_of(
    live: bool, numbers: Numbers, signals: Signals, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "POLL_SIGNALLED" if live else "POLL_ALONE", 0.01)
    monkeypatch.setattr(watching, "POLL_ALONE" if live else "POLL_SIGNALLED", 100.0)
    monkeypatch.setattr(Signals, "live", property(lambda _: live))
    watchers = Watchers(numbers, signals, clock)
    with watchers.watcher(("u", 1)) as watcher, watchers.watcher(("u", 2)) as quiet:
        assert [await news(watcher), await news(quiet)] == ["none", "none"]
        numbers.looks.clear()
        numbers.values[("u", 1)] = "new"
        numbers.polled = {("u", 1)}
        assert await news(watcher) == "new"
        assert {key for looked in numbers.looks for key in looked} == {("u", 1)}
    await watchers.close()


async def test_signals_that_may_have_been_missed_have_everything_read(
    watchers: Watchers[Key, str], numbers: Numbers, signals: Signals
) -> None:
    with watchers.watcher(("u", 1)) as first, watchers.watcher(("v", 1)) as second:
        await news(first)
        await news(second)
        numbers.values = {("u", 1): "a", ("v", 1): "b"}
        signals.deliver(None)
        assert [await news(first), await news(second)] == ["a", "b"]


async def test_without_a_database_who_comes_is_refused_and_who_was_there_waits(
    watchers: Watchers[Key, str], numbers: Numbers, signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TICK", 0.01)
    with watchers.watcher(("u", 1)) as early:
        await news(early)
        numbers.away = True
        signals.publish(["u"])
        with watchers.watcher(("u", 1)) as late, watchers.watcher(("u", 2)) as other:
            for watcher in (late, other):
                with pytest.raises(Unavailable):
                    await news(watcher)
        numbers.values[("u", 1)] = "back"
        numbers.away = False
        assert await news(early) == "back"


async def test_a_fault_is_told_as_one_and_does_not_end_the_others(
    watchers: Watchers[Key, str], numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "TICK", 0.01)
    numbers.broken = {("u", 1)}
    with watchers.watcher(("u", 0)) as zero, watchers.watcher(("u", 1)) as one, watchers.watcher(("u", 2)) as two:
        assert [await news(zero), await news(two)] == ["none", "none"]
        with pytest.raises(Internal):
            await news(one)
    numbers.broken = frozenset()
    with watchers.watcher(("u", 1)) as watcher:
        assert await news(watcher) == "none"


async def test_so_many_watch_one_thing_and_so_many_in_all(watchers: Watchers[Key, str]) -> None:
    with ExitStack() as stack:
        for n in (1, 1, 1):
            stack.enter_context(watchers.watcher(("u", n)))
        with pytest.raises(TooManyRequests), watchers.watcher(("u", 1)):
            pass
        for n in (2, 2, 2, 3, 3):
            stack.enter_context(watchers.watcher(("u", n)))
        with pytest.raises(TooManyRequests), watchers.watcher(("u", 4)):
            pass
    with watchers.watcher(("u", 1)) as again:
        assert await news(again) == "none"


async def test_nothing_runs_while_nobody_watches(
    watchers: Watchers[Key, str], numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "POLL_ALONE", 0.01)
    before = asyncio.all_tasks()
    with watchers.watcher(("u", 1)) as watcher:
        await news(watcher)
        during = asyncio.all_tasks() - before
    await asyncio.wait_for(asyncio.gather(*during), SOON)
    assert watchers._watched == {}
    assert watchers._keys_of == {}
    assert watchers._due == []
