"""Calls that are let in together, and out together."""

import asyncio

import pytest
from cofactor_server.rpc.transport.bursts import Bursts

NEVER = 3600.0
"""Seconds that nobody waits in a test: who waits so long is let in by others."""


def going_in(bursts: Bursts, count: int) -> list[asyncio.Task[None]]:
    return [asyncio.ensure_future(bursts.enter()) for _ in range(count)]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def inside(tasks: list[asyncio.Task[None]]) -> int:
    return sum(task.done() and not task.cancelled() for task in tasks)


async def test_a_lone_call_never_waits() -> None:
    bursts = Bursts(wait=NEVER)
    for _ in range(3):
        await bursts.enter()
        await bursts.finish()
        bursts.leave()


async def test_as_many_as_were_in_flight_are_let_in_together_and_not_before() -> None:
    bursts = Bursts(wait=NEVER)
    first = going_in(bursts, 3)
    await settled()
    assert inside(first) >= 1
    bursts._let_in()
    await settled()
    assert inside(first) == 3
    for _ in first:
        bursts.leave()
    again = going_in(bursts, 2)
    await settled()
    assert inside(again) == 0
    again += going_in(bursts, 1)
    await settled()
    assert inside(again) == 3


async def test_who_waits_for_others_that_do_not_come_is_let_in_after_a_while() -> None:
    bursts = Bursts(wait=0.001)
    going_in(bursts, 2)
    await settled()
    bursts._let_in()
    async with asyncio.timeout(5):
        await bursts.enter()


async def test_a_call_that_takes_long_holds_nobody_up() -> None:
    bursts = Bursts(wait=0.001)
    await bursts.enter()  # and it stays
    async with asyncio.timeout(5):
        await asyncio.gather(*going_in(bursts, 5))


@pytest.mark.parametrize("cap", [0.002, 0.02])
async def test_who_comes_while_others_are_decided_waits_for_that_and_not_for_ever(cap: float) -> None:
    under_way = True
    bursts = Bursts(lambda: under_way, wait=0.001, longest=cap)
    await asyncio.gather(*going_in(bursts, 1))
    waiting = going_in(bursts, 2)
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)


async def test_a_call_that_is_cancelled_while_it_waits_is_counted_out() -> None:
    bursts = Bursts(wait=NEVER)
    going_in(bursts, 2)
    await settled()
    bursts._let_in()
    for _ in range(2):
        bursts.leave()
    given_up = going_in(bursts, 1)
    await settled()
    given_up[0].cancel()
    await settled()
    bursts.leave()
    others = going_in(bursts, 2)
    await settled()
    assert inside(others) == 2
