"""What messages are counted in, on both databases and at two replicas at once (W8, S204)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from cofactor_server.domain.authenticators.kinds import EMAIL, PUSH, SMS, VOICE
from cofactor_server.domain.authenticators.proofs import Message, Purpose
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState
from cofactor_server.domain.foundation.budgets import (
    EMAIL_SENDS,
    PHONE_SENDS,
    PUMPING,
    PUSH_SENDS,
    UNBOUNDED,
    Bucket,
    Pumping,
)
from cofactor_server.domain.foundation.values import replace
from cofactor_server.errors import TooManyMessages
from cofactor_server.seams import HOUR, MINUTE, SECOND
from cofactor_server.services.messages.limits import Postage, prefix_of
from cofactor_server.services.transactions.queries import Records

from tests.support.world import World, deployment, world_on

LONDON = "+44207183"
VICTIM = "+442071838750"
MAIL = "victim@mail.example.com"
FREE = {"number_sends": UNBOUNDED, "address_sends": UNBOUNDED, "client_sends": UNBOUNDED}


def postage(world: World, **given: object) -> Postage:
    return Postage(deployment(**given), Records(world.app.database), world.keyring, world.clock)


def challenge(world: World, number: int = 0, client: str = "shop") -> Challenge:
    """Return what somebody is asked, each time somebody else."""
    return Challenge(
        user_id=f"user{number}",
        id=f"challenge{number}",
        client_id=client,
        login_id="login",
        purpose=Purpose.ENROLL,
        authenticator_id=f"sms|dev_{number}",
        state=ChallengeState.PENDING,
        epoch=0,
        created_at=world.clock.now(),
        expires_at=world.clock.now() + 5 * MINUTE,
        expected=b"",
    )


def to(number: str, channel: str = SMS, purpose: Purpose = Purpose.ENROLL) -> Message:
    return Message(channel, number, code="123456", purpose=purpose)


async def taken(counter: Postage, asked: Challenge, message: Message) -> bool:
    """Have a message counted; return whether it may be sent."""
    try:
        await counter.take(asked, message)
    except TooManyMessages:
        return False
    return True


@pytest.fixture
async def replica(world: World) -> AsyncIterator[World]:
    """A second application over the same database."""
    async with world_on(world.database_url, clock=world.clock, keyring=world.keyring) as opened:
        yield opened


@pytest.mark.requirement("S204")
async def test_five_hundred_numbers_of_one_range_stop_it_at_every_replica_and_no_other(
    world: World, replica: World
) -> None:
    counters = [postage(world), postage(replica)]
    numbers = [f"{LONDON}{number:04d}" for number in range(500)]

    sent = await asyncio.gather(
        *(taken(counters[n % 2], challenge(world, n), to(number)) for n, number in enumerate(numbers))
    )

    assert sum(sent) == PUMPING.messages == 50
    assert await taken(counters[0], challenge(world, 500), to("+14155552671"))
    assert await taken(counters[1], challenge(world, 501), to("+441214960000"))
    world.clock.advance(HOUR // SECOND)
    assert await taken(counters[1], challenge(world, 502), to(VICTIM))


async def test_what_other_clients_cause_is_counted_for_the_range_too(world: World) -> None:
    counter = postage(world, pumping=Pumping(messages=4))

    sent = [
        await taken(counter, challenge(world, n, f"client{n}"), to(f"{LONDON}{n:04d}", (SMS, VOICE)[n % 2]))
        for n in range(6)
    ]

    assert sent == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("channel", "address", "bucket"), [(SMS, VICTIM, PHONE_SENDS), (EMAIL, MAIL, EMAIL_SENDS)], ids=[SMS, EMAIL]
)
async def test_what_is_being_enrolled_is_sent_the_contracts_budget_and_one_more_each_time_it_refills(
    channel: str, address: str, bucket: Bucket, world: World, replica: World
) -> None:
    counters = [postage(world), postage(replica)]
    asked = bucket.size + 5

    sent = await asyncio.gather(
        *(taken(counters[n % 2], challenge(world, n, f"client{n}"), to(address, channel)) for n in range(asked))
    )

    assert sum(sent) == bucket.size
    world.clock.advance(bucket.refill / SECOND - 1)
    assert not await taken(counters[0], challenge(world, asked), to(address, channel))
    world.clock.advance(1)
    assert await taken(counters[1], challenge(world, asked), to(address.upper(), channel))
    assert not await taken(counters[0], challenge(world, asked), to(address, channel))


async def test_texts_and_calls_to_one_number_share_its_budget(world: World) -> None:
    counter = postage(world)

    sent = [await taken(counter, challenge(world, n), to(VICTIM, (SMS, VOICE)[n % 2])) for n in range(12)]

    assert sent == [True] * 10 + [False] * 2


async def test_a_client_is_told_how_long_it_waits(world: World) -> None:
    counter = postage(world, client_sends=Bucket(2, 30 * MINUTE))
    for number in range(2):
        await counter.take(challenge(world, number), to(f"{LONDON}{number:04d}"))

    with pytest.raises(TooManyMessages) as refused:
        await counter.take(challenge(world, 2), to(f"{LONDON}0002", purpose=Purpose.LOGIN))

    assert refused.value.retry_after == pytest.approx(30 * 60)
    assert refused.value.quota is not None
    assert (refused.value.quota.name, refused.value.quota.limit) == ("messages-of-client", 2)


async def test_a_refused_message_is_counted_in_no_budget(world: World) -> None:
    counter = postage(world, client_sends=Bucket(12, HOUR))
    for number in range(15):
        await taken(counter, challenge(world, number), to(VICTIM))  # ten are sent

    sent = [await taken(counter, challenge(world, n), to(f"{LONDON}{n:04d}")) for n in range(20, 23)]

    assert sent == [True, True, False]


async def test_what_was_not_sent_is_given_back(world: World) -> None:
    counter = postage(world, pumping=Pumping(messages=0))

    for number in range(30):
        await counter.give_back(await counter.take(challenge(world, number), to(VICTIM)))

    assert await taken(counter, challenge(world, 30), to(VICTIM))


async def test_mails_and_prompts_are_not_the_clients_to_pay(world: World) -> None:
    counter = postage(world, client_sends=Bucket(1, HOUR))

    sent = [
        await taken(counter, challenge(world, n), to(address, channel, Purpose.LOGIN))
        for n in range(5)
        for channel, address in ((EMAIL, MAIL), (PUSH, "fcm:token"))
    ]

    assert all(sent)


async def test_where_nothing_is_bounded_everything_is_sent(world: World) -> None:
    counter = postage(world, **FREE, pumping=replace(PUMPING, messages=0))

    assert all([await taken(counter, challenge(world, n), to(VICTIM)) for n in range(60)])


@pytest.mark.parametrize(
    ("number", "digits", "prefix"),
    [
        (VICTIM, 3, "+44207"),
        (VICTIM, 0, "+44"),
        ("+14155552671", 3, "+1415"),
        ("+3727123456", 5, "+372712"),
        ("+442071838750", 10, "+44207183"),
        ("+390612345678", 3, "+39061"),
        ("nonsense", 3, "nons"),
    ],
)
def test_a_prefix_is_the_countrys_code_and_the_first_digits(number: str, digits: int, prefix: str) -> None:
    assert prefix_of(number, digits) == prefix


@pytest.mark.parametrize(
    ("sent", "verified", "stopped"), [(49, 0, False), (50, 0, True), (50, 4, True), (50, 5, False), (500, 50, False)]
)
def test_a_range_is_stopped_by_fifty_messages_of_which_not_a_tenth_was_verified(
    sent: int, verified: int, stopped: bool
) -> None:
    assert PUMPING.stops(sent, verified) is stopped
    assert not replace(PUMPING, messages=0).stops(sent, verified)


def test_the_budgets_are_the_contracts() -> None:
    assert Bucket(10, HOUR) == PHONE_SENDS
    assert Bucket(20, MINUTE) == EMAIL_SENDS
    assert Bucket(5, MINUTE // 5) == PUSH_SENDS
