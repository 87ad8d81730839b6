"""Polling in a loop: it is refused, costs no write for most of its polls, and slows itself down."""

from collections.abc import AsyncIterator, Sequence

import pytest
from cofactor_server.domain.challenges.challenge import LONGEST_POLL_INTERVAL, POLL_RETRIES
from cofactor_server.seams import SECOND
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey

from tests.support.flows.api import Api, Pending
from tests.support.flows.attacks import rows
from tests.support.flows.pushed import add_phone, prompted, pushed_world
from tests.support.flows.steps import enrolled, refusal, shop
from tests.support.world import MovableClock, World


@pytest.fixture
async def world(prepared_url: str, root_keys: Sequence[RootKey]) -> AsyncIterator[World]:
    """A deployment whose users may have devices."""
    clock = MovableClock()
    async with pushed_world(prepared_url, clock=clock, keyring=Keyring(root_keys, clock)) as opened:
        yield opened


async def challenge_row(world: World) -> tuple[int, int]:
    (row,) = await rows(world, "challenges", state="pending", purpose="login")
    return row.poll_interval, row.next_poll_at


@pytest.mark.requirement("S136", "S202")
async def test_a_hot_loop_of_polls_is_refused_throughout_and_its_interval_grows_to_a_minute(
    api: Api, world: World
) -> None:
    client = await shop(world)
    phone = await add_phone(api, world, client, await enrolled(api, world, client))
    mfa_token, oob_code = await prompted(api, client, phone)
    assert isinstance(await api.oob(client, mfa_token, oob_code), Pending)

    written, waits = [await challenge_row(world)], []
    for _ in range(90):
        refused = await refusal(api.oob(client, mfa_token, oob_code))
        assert refused.reason == "SLOW_DOWN"
        waits.append(refused.retry_after or 0)
        if (row := await challenge_row(world)) != written[-1]:
            written.append(row)
        world.clock.advance(0.5)

    bursts = 90 * SECOND // 2 // POLL_RETRIES
    assert len(written) == 1 + bursts
    assert [interval // SECOND for interval, _ in written] == [*range(5, 60, 5), *[60] * (bursts - 10)]
    assert waits[-1] > 50
    assert written[-1][0] == LONGEST_POLL_INTERVAL
    world.clock.advance(LONGEST_POLL_INTERVAL // SECOND)
    assert isinstance(await api.oob(client, mfa_token, oob_code), Pending)


@pytest.mark.requirement("S136")
async def test_every_burst_after_the_first_slows_down_further(api: Api, world: World) -> None:
    """Retries are forgiven, and asking again and again is not: a burst each 4 seconds grows as single polls do."""
    client = await shop(world)
    phone = await add_phone(api, world, client, await enrolled(api, world, client))
    mfa_token, oob_code = await prompted(api, client, phone)
    await api.oob(client, mfa_token, oob_code)

    grown = []
    for _ in range(5):
        for _ in range(3):
            await refusal(api.oob(client, mfa_token, oob_code))
        grown.append((await challenge_row(world))[0] // SECOND)
        world.clock.advance(4)

    assert grown == [10, 15, 20, 25, 30]
