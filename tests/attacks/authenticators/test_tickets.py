"""Enrollment tickets in the wrong hands, or in many (ADR-2, ADR-3, ADR-7 and ADR-9)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from cofactor_server.domain.parties.users import Enrollment

from tests.attacks.login.test_epoch import EVENTS
from tests.support.flows.api import Api, Refused
from tests.support.flows.attacks import GARBAGE, MALLORY, names, outcome, reason, refusal, rows, wrong
from tests.support.flows.steps import PERIOD, enrolled, logged_in_to_mfa, shop
from tests.support.flows.ticketed import NUMBER, Holder, holder, with_app
from tests.support.world import World


@pytest.mark.requirement("S36")
async def test_twenty_confirmations_at_once_make_one_authenticator(api: Api, world: World) -> None:
    held = await holder(api, world, await world.user(), several=True)
    begun = [await held.begin() for _ in range(4)]

    said = await asyncio.gather(*(outcome(held.confirm(b, world.otp(b.secret))) for _ in range(5) for b in begun))

    assert said.count("") == 1
    assert set(said) <= {"", "TICKET_INVALID", "TOO_MANY_REQUESTS"}
    active = [row for row in await rows(world, "authenticators", kind="totp") if row.state == "active"]
    assert len(active) == 1


@pytest.mark.parametrize("event", EVENTS)
async def test_a_ticket_dies_with_its_users_epoch(
    api: Api, world: World, event: Callable[[World], Awaitable[None]]
) -> None:
    held = await holder(api, world, await world.user())
    begun = await held.begin()

    await event(world)

    assert await reason(held.offer()) == "TICKET_INVALID"
    assert await reason(held.begin()) == "TICKET_INVALID"
    assert await reason(held.confirm(begun, world.otp(begun.secret))) == "TICKET_INVALID"


async def test_every_bad_ticket_is_answered_alike(api: Api, world: World) -> None:
    alice = await world.user()
    used, stale, old = [await holder(api, world, alice, several=True) for _ in range(3)]
    await with_app(world, used)
    world.clock.advance(5 * 24 * 3600)
    fresh = await holder(api, world, alice, several=True)
    bad = [
        used,
        stale,
        old,
        Holder(api, "0" * 32),
        Holder(api, fresh.ticket[:-1]),
        Holder(api, fresh.ticket.swapcase()),
    ]

    refused = [await refusal(call) for held in bad for call in (held.offer(), held.begin())]

    assert {(r.reason, str(r), r.http_status, r.grpc_code, r.retry_after) for r in refused} == {
        (refused[0].reason, str(refused[0]), refused[0].http_status, refused[0].grpc_code, None)
    }
    assert refused[0].reason == "TICKET_INVALID"
    assert (await fresh.offer()).user


async def test_an_enrollment_is_confirmed_by_its_own_ticket_alone(api: Api, world: World) -> None:
    alice, mallory = await world.user(), await world.user(MALLORY)
    hers, his = await holder(api, world, alice), await holder(api, world, mallory)
    another = await holder(api, world, alice)
    begun, sent = await hers.begin(), await hers.begin("sms", to=NUMBER)
    code = world.outbox.sent[-1].code

    for held in (his, another):
        assert await reason(held.confirm(begun, world.otp(begun.secret))) == "ENROLLMENT_GONE"
        assert await reason(held.confirm(sent, code)) == "ENROLLMENT_GONE"
    assert await reason(hers.confirm(GARBAGE, code)) == "ENROLLMENT_GONE"

    assert "challenge.misbound" in await names(world, "events", MALLORY)
    assert (await hers.confirm(sent, code)).confirmed


async def test_what_a_login_began_no_ticket_confirms_and_the_other_way_round(api: Api, world: World) -> None:
    client = await shop(world)
    held = await holder(api, world, await world.user())
    login = await logged_in_to_mfa(api, client)
    by_login, by_ticket = await api.enroll(login.mfa_token), await held.begin()

    assert await reason(api.otp(client, login.mfa_token, world.otp(by_ticket.secret))) == "INVALID_OTP"
    assert await reason(held.confirm(by_ticket, world.otp(by_login.secret))) == "INVALID_OTP"
    assert await reason(held.confirm(by_login.secret, world.otp(by_login.secret))) == "ENROLLMENT_GONE"


async def test_a_thiefs_ticket_enrolls_nothing_once_the_owner_is_enrolled(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await world.user()
    stolen = await holder(api, world, alice)
    begun = await stolen.begin()

    await enrolled(api, world, client, create=False)

    assert await reason(stolen.confirm(begun, world.otp(begun.secret))) == "ALREADY_ENROLLED"
    assert await reason(stolen.begin()) == "ALREADY_ENROLLED"


@pytest.mark.requirement("S7", "S201")
async def test_guesses_at_a_code_are_bounded_as_everywhere(api: Api, world: World) -> None:
    held = await holder(api, world, await world.user())
    begun = await held.begin()
    code = wrong(world, begun.secret)

    said = [await reason(held.confirm(begun, code)) for _ in range(11)]
    right = await reason(held.confirm(begun, world.otp(begun.secret)))

    assert said == ["INVALID_OTP"] * 10 + ["TOO_MANY_FAILED_CODES"]
    assert right == "TOO_MANY_FAILED_CODES"


async def test_messages_by_ticket_are_bounded_for_the_user(api: Api, world: World) -> None:
    held = await holder(api, world, await world.user())

    said = [await outcome(held.begin("sms", to=f"+4420718387{n:02d}")) for n in range(11)]

    assert said == [""] * 10 + ["TOO_MANY_MESSAGES"]


async def test_tickets_that_nobody_issued_are_bounded_by_source(api: Api, world: World) -> None:
    good = await holder(api, world, await world.user())
    tried = [await refusal(Holder(api, f"{n:032d}").offer()) for n in range(101)]

    assert {r.reason for r in tried[:100]} == {"TICKET_INVALID"}
    assert tried[100].reason == "TOO_MANY_REQUESTS"
    assert tried[100].retry_after
    assert (await good.offer()).user  # whoever has one is kept out by nobody


async def test_a_ticket_alone_is_no_way_round_the_login(api: Api, world: World) -> None:
    client = await shop(world, enrollment=Enrollment.TICKET)
    alice = await world.user()
    login = await logged_in_to_mfa(api, client)

    assert await reason(api.enroll(login.mfa_token)) == "ENROLLMENT_BY_TICKET_ONLY"
    held = await holder(api, world, alice)
    for bearer in (held.ticket, (await held.begin()).enrollment):
        with pytest.raises(Refused):
            await api.list(bearer)
        with pytest.raises(Refused):
            await api.otp(client, bearer, "123456")


@pytest.mark.requirement("S88")
async def test_no_row_and_no_event_has_the_ticket(api: Api, world: World) -> None:
    held = await holder(api, world, await world.user())
    await with_app(world, held)

    kept = [str(row) for table in ("tickets", "events", "spent", "challenges") for row in await rows(world, table)]

    assert kept
    assert not [row for row in kept if held.ticket in row]


async def test_a_used_up_ticket_stays_so_when_its_mark_is_pruned(api: Api, world: World) -> None:
    held = await holder(api, world, await world.user(), several=True)
    await with_app(world, held)

    world.clock.advance(5 * 24 * 3600 + 15 * 60 + PERIOD)
    await world.app.upkeep.prune()

    assert await rows(world, "tickets") == []
    assert await rows(world, "spent") == []
    assert await reason(held.offer()) == "TICKET_INVALID"
