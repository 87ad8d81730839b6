"""Signals after commit, within a process and between two."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from cofactor_server.domain.logins.grants import MfaOtpGrant
from cofactor_server.store.transactions.signals import Notifications, Signals
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey

from tests.concurrency.nodes import SUCCESS, Town, here
from tests.support.world import MovableClock, world_on

SOON = 10.0


class Heard:
    """Remembers what it was told, and waits for what it was not yet."""

    def __init__(self, signals: Signals) -> None:
        self.users: list[str] = []
        self.missed = 0
        self._changed = asyncio.Event()
        signals.listen(self._told)

    def _told(self, users: Collection[str] | None) -> None:
        self.users += sorted(users or ())
        self.missed += users is None
        self._changed.set()

    async def until(self, *users: str, missed: int = 0) -> None:
        """Return once all of these were heard of, and signals were missed so often."""
        async with asyncio.timeout(SOON):
            while not set(users) <= set(self.users) or self.missed < missed:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def process(url: str) -> AsyncIterator[tuple[Signals, Heard]]:
    """What one process has of signals, once it is connected."""
    signals = Signals(Notifications(url))
    heard = Heard(signals)
    signals.expect()
    try:
        await heard.until(missed=1)
        yield signals, heard
    finally:
        await signals.close()


@pytest.fixture
def url(postgres_url: str) -> str:
    """A PostgreSQL that carries signals; they need no table."""
    return postgres_url


async def test_a_signal_is_heard_here_at_once_and_elsewhere_soon(url: str) -> None:
    async with process(url) as (one, heard_here), process(url) as (two, heard_there):
        one.publish(["usr_1"], near=["usr_2"])
        here = list(heard_here.users)
        await heard_there.until("usr_1")
        two.publish(["usr_3"])
        await heard_here.until("usr_3")

        assert here == ["usr_1", "usr_2"]
        assert (heard_here.users, heard_there.users) == (["usr_1", "usr_2", "usr_3"], ["usr_1", "usr_3"])
        assert (one.live, two.live) == (True, True)


async def test_a_thousand_signals_at_once_all_arrive(url: str) -> None:
    users = [f"usr_{number:032x}" for number in range(1_000)]
    async with process(url) as (one, _), process(url) as (_, heard):
        for start in range(0, 1_000, 100):
            one.publish(users[start : start + 100])
        await heard.until(*users)


async def _cut(url: str) -> None:
    """End every connection that listens."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cofactor'"
        )
    finally:
        await connection.close()


async def test_a_connection_that_was_cut_is_made_again(url: str) -> None:
    async with process(url) as (one, heard_here), process(url) as (_, heard_there):
        await _cut(url)

        # What was signalled meanwhile may be lost: both are told to look at everything.
        await heard_here.until(missed=2)
        await heard_there.until(missed=2)
        one.publish(["usr_1"])
        await heard_there.until("usr_1")

        assert one.live


async def test_without_a_connection_signals_are_heard_here_and_wait_for_the_others(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, away, refused = asyncpg.connect, True, asyncio.Event()

    async def refuse(*given: Any, **named: Any) -> Any:
        if away:
            refused.set()
            raise OSError
        return await connect(*given, **named)

    async with process(url) as (_, heard_there):
        monkeypatch.setattr(asyncpg, "connect", refuse)
        one = Signals(Notifications(url))
        heard_here = Heard(one)
        one.publish(["usr_1"])
        at_once = list(heard_here.users)
        await asyncio.wait_for(refused.wait(), SOON)
        away = False

        await heard_there.until("usr_1")

        assert (at_once, heard_here.users) == (["usr_1"], ["usr_1"])
        await one.close()


async def test_no_more_than_ten_thousand_signals_wait() -> None:
    notifications = Notifications("postgresql://nobody@127.0.0.1:1/none")
    signals = Signals(notifications)

    signals.publish([f"usr_{number}" for number in range(11_000)])

    assert len(notifications._outgoing) == 10_000
    await signals.close()


async def test_signals_are_of_what_was_committed_and_only_of_changes_that_matter(
    prepared_url: str, root_keys: Sequence[RootKey]
) -> None:
    clock = MovableClock()
    async with world_on(prepared_url, clock=clock, keyring=Keyring(root_keys, clock)) as world:
        client, secret = await world.client()
        town = Town(world, client, secret)
        person = await town.person()
        heard = Heard(world.app._signals)
        failed = await here(town, MfaOtpGrant(town.login(person)[0], "000000"))
        unheard = list(heard.users)

        assert await here(town, MfaOtpGrant(town.login(person)[0], town.code(person, steps=1))) == SUCCESS

        assert (failed, unheard, heard.users) == ("INVALID_OTP", [], [person.user.id])


async def test_a_listener_that_fails_fails_nobody_else() -> None:
    signals = Signals()

    def fail(_: Collection[str] | None) -> None:
        raise ValueError

    signals.listen(fail)
    heard = Heard(signals)
    signals.publish(["usr_1"])

    assert heard.users == ["usr_1"]
