"""Messages cost money and patience: what a number, a client and a range of numbers get is counted over all users."""

from collections.abc import Sequence
from typing import Any

import pytest
from cofactor_server.domain.foundation.budgets import Bucket, Pumping
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.domain.foundation.values import replace
from cofactor_server.seams import HOUR

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, Tokens, grpc_edge
from tests.support.flows.attacks import KINDS, add_mailed, challenged, open_world, outcome, refusal, rows
from tests.support.flows.steps import a, enrolled, logged_in_to_mfa, shop
from tests.support.world import World

TOO_MANY = "TOO_MANY_MESSAGES"
VICTIM = "+442071838750"
AN_HOUR = 3600
PUMPING = Pumping(messages=20)


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": KINDS, "pumping": PUMPING}


async def enroll(api: Api, world: World, client: ClientCredentials, number: str, *, verify: bool = False) -> str:
    """Have somebody new enroll a telephone; return why it is refused, or nothing."""
    subject = f"{len(await rows(world, 'users'))}@example.test"
    await world.user(subject)
    login = await logged_in_to_mfa(api, client, subject)
    if not verify:
        return await outcome(api.enroll(login.mfa_token, "sms", destination=number))
    begun = await api.enroll(login.mfa_token, "sms", destination=number)
    a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code, world.outbox.sent[-1].code))
    return ""


def numbers(beginning: str, count: int, first: int = 0) -> Sequence[str]:
    """Return valid numbers of one range."""
    return [f"{beginning}{number:04d}" for number in range(first, first + count)]


@pytest.mark.requirement("S204")
async def test_a_range_of_numbers_that_nobody_verifies_gets_no_more_and_others_go_on(
    grpc_api: GrpcApi, world: World
) -> None:
    client = await shop(world)
    said = [await enroll(grpc_api, world, client, number) for number in numbers("+44207183", 30)]

    assert said == [""] * 20 + [TOO_MANY] * 10
    assert len(world.outbox.sent) == 20
    assert await enroll(grpc_api, world, client, "+14155552671") == ""
    stopped = await rows(world, "events", name=EventName.MESSAGES_STOPPED)
    assert {row.details for row in stopped} == {'{"prefix": "+44207"}'}
    world.clock.advance(AN_HOUR)
    assert await enroll(grpc_api, world, client, "+442071839999") == ""


@pytest.mark.requirement("S204")
async def test_a_range_of_numbers_that_people_verify_goes_on(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)

    said = [
        await enroll(grpc_api, world, client, number, verify=place % 5 == 0)
        for place, number in enumerate(numbers("+44207183", 30))
    ]

    assert said == [""] * 30


async def test_who_has_verified_a_number_logs_in_though_its_range_is_stopped(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    sms = await add_mailed(grpc_api, world, client, alice)
    for number in numbers("+44207183", 25, first=1000):
        await enroll(grpc_api, world, client, number)
    assert await enroll(grpc_api, world, client, "+442071832000") == TOO_MANY

    login = await logged_in_to_mfa(grpc_api, client)

    assert (await challenged(grpc_api, client, login.mfa_token, sms)).oob_code


async def test_a_stopped_enrollment_leaves_nothing_behind(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    for number in numbers("+44207183", 20):
        await enroll(grpc_api, world, client, number)
    await world.user()
    login = await logged_in_to_mfa(grpc_api, client)

    refused = await refusal(grpc_api.enroll(login.mfa_token, "sms", destination="+442071839999"))

    assert refused.reason == TOO_MANY
    assert refused.retry_after == pytest.approx(AN_HOUR, abs=1)
    assert await grpc_api.list(login.mfa_token) == []


async def test_many_users_together_do_not_flood_one_number(api: Api, world: World) -> None:
    client = await shop(world)

    said = [await enroll(api, world, client, VICTIM) for _ in range(11)]

    assert said == [""] * 10 + [TOO_MANY]


async def test_strangers_who_enroll_a_number_keep_no_code_from_its_owner(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    sms = await add_mailed(api, world, client, alice)
    said = [await enroll(api, world, client, VICTIM) for _ in range(10)]
    assert said[-1] == TOO_MANY

    login = await logged_in_to_mfa(api, client)

    assert (await challenged(api, client, login.mfa_token, sms)).oob_code


async def test_a_message_that_was_not_sent_is_counted_nowhere(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    world.outbox.down.add("sms")
    failed = [await enroll(grpc_api, world, client, VICTIM) for _ in range(12)]
    assert failed == ["DELIVERY_FAILED"] * 12
    world.outbox.down.clear()

    assert await enroll(grpc_api, world, client, VICTIM) == ""


async def test_a_client_causes_no_more_messages_than_it_may(world: World) -> None:
    bound = {"client_sends": Bucket(3, HOUR), "clock": world.clock, "keyring": world.keyring}
    async with open_world(world.database_url, **bound) as small, grpc_edge(small) as api:
        client, other = await shop(small), await shop(small, name="Other")
        said = [await enroll(api, small, client, number) for number in numbers("+44207183", 4)]

        assert said == [""] * 3 + [TOO_MANY]
        assert await enroll(api, small, other, VICTIM) == ""


@pytest.mark.requirement("S197")
@pytest.mark.parametrize("off", [replace(PUMPING, messages=0), replace(PUMPING, verified=0.0)])
async def test_without_the_breaker_every_other_limit_holds(off: Pumping, world: World) -> None:
    shared = {"pumping": off, "clock": world.clock, "keyring": world.keyring}
    async with open_world(world.database_url, **shared) as free, grpc_edge(free) as api:
        client = await shop(free)
        assert {await enroll(api, free, client, number) for number in numbers("+44207183", 25)} == {""}

        assert [await enroll(api, free, client, VICTIM) for _ in range(11)][-1] == TOO_MANY
