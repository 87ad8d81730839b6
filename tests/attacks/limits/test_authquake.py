"""What AuthQuake did: a guesser with the password, many logins and every replica, and what is left to the owner."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from cofactor_server.domain.foundation.events import EventName, NoticeName
from cofactor_server.store.transactions.group_commit import Limits

from tests.support.flows.api import Api, Tokens, grpc_edge, rest_edge
from tests.support.flows.attacks import add_mailed, challenged, names, open_world, outcome, wrong
from tests.support.flows.steps import a, enrolled, logged_in_to_mfa, shop
from tests.support.world import World

LOGINS = 50
"""At each replica."""
TOO_MANY = "TOO_MANY_FAILED_CODES"


@pytest.fixture
def given() -> dict[str, Any]:
    """A user may have them all in flight, so that each of them is decided."""
    return {"limits": Limits(per_user=2 * LOGINS)}


@pytest.fixture
async def edges(world: World, given: dict[str, Any]) -> AsyncIterator[tuple[Api, Api]]:
    """One replica over gRPC and another one over REST."""
    async with AsyncExitStack() as stack:
        shared = {"clock": world.clock, "keyring": world.keyring, **given}
        replica = await stack.enter_async_context(open_world(world.database_url, **shared))
        replica.outbox.sent = world.outbox.sent
        yield await stack.enter_async_context(grpc_edge(world)), await stack.enter_async_context(rest_edge(replica))


@pytest.mark.requirement("S57", "S77", "S181")
async def test_fifty_parallel_logins_at_each_of_two_replicas_share_one_budget_and_the_owner_is_told(
    world: World, edges: tuple[Api, Api]
) -> None:
    client = await shop(world)
    alice = await enrolled(edges[0], world, client)
    begun = [(edge, (await logged_in_to_mfa(edge, client)).mfa_token) for _ in range(LOGINS) for edge in edges]
    guess = wrong(world, alice.secret)

    said = Counter(await asyncio.gather(*(outcome(edge.otp(client, token, guess)) for edge, token in begun)))

    assert said == {"INVALID_OTP": 10, TOO_MANY: 2 * LOGINS - 10}
    right = world.otp(alice.secret)
    assert {await outcome(edge.otp(client, token, right)) for edge, token in begun[:4]} == {TOO_MANY}
    assert (await names(world, "events")).count(EventName.PROOF_REFUSED) == 10
    assert (await names(world, "notices")).count(NoticeName.SUSPICIOUS_FAILURES) == 1


@pytest.mark.requirement("S186")
async def test_a_guesser_at_every_replica_keeps_the_owner_from_no_other_factor(
    world: World, edges: tuple[Api, Api]
) -> None:
    client = await shop(world)
    alice = await enrolled(edges[0], world, client)
    sms = await add_mailed(edges[0], world, client, alice)
    mfa_token = (await logged_in_to_mfa(edges[0], client)).mfa_token
    guess = wrong(world, alice.secret)
    for number in range(100):
        await outcome(edges[number % 2].otp(client, mfa_token, guess))

    for edge in edges:
        login = await logged_in_to_mfa(edge, client)
        assert await outcome(edge.otp(client, login.mfa_token, world.otp(alice.secret))) == TOO_MANY
        sent = await challenged(edge, client, login.mfa_token, sms)
        a(Tokens, await edge.oob(client, login.mfa_token, sent.oob_code, world.outbox.sent[-1].code))
    login = await logged_in_to_mfa(edges[0], client)
    a(Tokens, await edges[0].recovery(client, login.mfa_token, alice.recovery_code))


@pytest.mark.requirement("S7", "S201")
async def test_a_code_sent_again_by_another_replica_buys_no_guess(world: World, edges: tuple[Api, Api]) -> None:
    client = await shop(world)
    alice = await enrolled(edges[0], world, client)
    sms = await add_mailed(edges[0], world, client, alice)
    tokens = [(await logged_in_to_mfa(edge, client)).mfa_token for edge in edges]
    said, last, code = [], "", ""
    for number in range(6):  # two guesses at each: fewer messages than a user may be sent in an hour
        edge, token = edges[number % 2], tokens[number % 2]
        last = (await challenged(edge, client, token, sms)).oob_code
        code = world.outbox.sent[-1].code
        guess = "000000" if code != "000000" else "000001"
        said += [await outcome(edge.oob(client, token, last, guess)) for _ in range(2)]

    assert said == ["INVALID_BINDING_CODE"] * 10 + [TOO_MANY] * 2
    assert await outcome(edges[1].oob(client, tokens[1], last, code)) == TOO_MANY


@pytest.mark.requirement("S198")
async def test_a_login_that_is_completed_in_one_tab_completes_none_in_another(
    world: World, edges: tuple[Api, Api]
) -> None:
    client = await shop(world)
    alice = await enrolled(edges[0], world, client)
    sms = await add_mailed(edges[0], world, client, alice)
    first, second = [(await logged_in_to_mfa(edge, client)).mfa_token for edge in edges]
    sent = await challenged(edges[0], client, first, sms)
    code = world.outbox.sent[-1].code
    a(Tokens, await edges[0].oob(client, first, sent.oob_code, code))

    assert await outcome(edges[1].oob(client, second, sent.oob_code, code)) == "OOB_CODE_MALFORMED"
    assert await outcome(edges[1].oob(client, second, sent.oob_code)) == "OOB_CODE_MALFORMED"
    assert await outcome(edges[1].otp(client, second, "")) != ""
    a(Tokens, await edges[1].otp(client, second, world.otp(alice.secret)))
