"""Security decision 9: what strangers cause to be sent leaves the owner's messages, and both are bounded."""

from typing import Any

import pytest
from cofactor_server.domain.authenticators.kinds import EMAIL, SMS, VOICE
from cofactor_server.domain.authenticators.tickets import NewTicket
from cofactor_server.domain.foundation.budgets import EMAIL_SENDS, PHONE_SENDS, Bucket
from cofactor_server.domain.parties.clients import Capability
from cofactor_server.seams import HOUR as AN_HOUR
from cofactor_server.seams import SECOND

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, MfaRequired, Tokens, grpc_edge
from tests.support.flows.attacks import DESTINATIONS, KINDS, challenged, change, open_world, outcome, reason, rows
from tests.support.flows.phones import KINDS as PHONES
from tests.support.flows.phones import phone_shop, prompted
from tests.support.flows.steps import ALICE, a, logged_in_to_mfa, shop
from tests.support.world import PASSWORD, World

HOME, ELSEWHERE = "203.0.113.7", "198.51.100.9"
TOO_MANY = "TOO_MANY_MESSAGES"
FORWARDING = {"capabilities": frozenset({Capability.FORWARD_SOURCE})}
BUCKETS = {SMS: PHONE_SENDS, VOICE: PHONE_SENDS, EMAIL: EMAIL_SENDS}
NUMBER = DESTINATIONS[SMS]
every_kind = pytest.mark.parametrize("kind", [SMS, VOICE, EMAIL])


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": KINDS | {VOICE}}


async def only(api: Api, world: World, client: ClientCredentials, kind: str, *, remember: bool = False) -> Tokens:
    """Have Alice enroll a telephone or a mailbox at home, and nothing else."""
    api.source = HOME
    await world.user(ALICE)
    login = await logged_in_to_mfa(api, client)
    begun = await api.enroll(login.mfa_token, kind, destination=DESTINATIONS.get(kind, NUMBER))
    code = world.outbox.sent[-1].code
    if not remember:
        return a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code, code))
    return a(Tokens, await a(GrpcApi, api).oob(client, login.mfa_token, begun.oob_code, code, remember=True))


async def asked(api: Api, client: ClientCredentials, kind: str, times: int) -> list[str]:
    """Ask for messages with the password alone, and return why they are refused."""
    login = await logged_in_to_mfa(api, client)
    (authenticator_id,) = [row.id for row in await api.list(login.mfa_token) if row.id.startswith(kind)]
    return [await outcome(challenged(api, client, login.mfa_token, authenticator_id)) for _ in range(times)]


async def gets_in(api: Api, world: World, client: ClientCredentials, kind: str) -> str:
    """Log in with password and message; return why not."""
    login = await logged_in_to_mfa(api, client)
    (authenticator_id,) = [row.id for row in await api.list(login.mfa_token) if row.id.startswith(kind)]
    try:
        sent = await challenged(api, client, login.mfa_token, authenticator_id)
    except Exception as error:
        return str(error)
    return await outcome(api.oob(client, login.mfa_token, sent.oob_code, world.outbox.sent[-1].code))


@every_kind
@pytest.mark.requirement("S186", "S195")
async def test_who_has_the_password_and_takes_every_message_does_not_lock_the_owner_out(
    kind: str, api: Api, world: World
) -> None:
    client = await shop(world, **FORWARDING)
    await only(api, world, client, kind)
    api.source = ELSEWHERE
    assert (await asked(api, client, kind, BUCKETS[kind].size))[-1] == TOO_MANY
    for _ in range(3):
        world.clock.advance(BUCKETS[kind].refill / SECOND)
        assert await asked(api, client, kind, 2) == ["", TOO_MANY]

    api.source = HOME

    assert await gets_in(api, world, client, kind) == ""


@every_kind
@pytest.mark.requirement("S186", "S195")
async def test_it_does_not_keep_the_owner_out_of_a_remembered_browser_either(
    kind: str, grpc_api: GrpcApi, world: World
) -> None:
    client = await shop(world, **FORWARDING)
    token = (await only(grpc_api, world, client, kind, remember=True)).remember_token
    grpc_api.source = ELSEWHERE
    assert (await asked(grpc_api, client, kind, BUCKETS[kind].size))[-1] == TOO_MANY

    login = a(MfaRequired, await grpc_api.password(client, ALICE, PASSWORD, remember_token=token, max_age=0))
    (authenticator_id,) = [row.id for row in await grpc_api.list(login.mfa_token) if row.id.startswith(kind)]
    sent = await challenged(grpc_api, client, login.mfa_token, authenticator_id)

    assert isinstance(await grpc_api.oob(client, login.mfa_token, sent.oob_code, world.outbox.sent[-1].code), Tokens)


@every_kind
@pytest.mark.requirement("S202")
async def test_the_owners_share_is_as_large_as_strangers_and_no_larger(kind: str, api: Api, world: World) -> None:
    client = await shop(world, **FORWARDING)
    await only(api, world, client, kind)
    size = BUCKETS[kind].size

    assert await asked(api, client, kind, size + 1) == [""] * size + [TOO_MANY]
    api.source = ELSEWHERE
    assert await asked(api, client, kind, size) == [""] * (size - 1) + [TOO_MANY]  # one was for enrolling
    api.source = HOME
    world.clock.advance(BUCKETS[kind].refill / SECOND)
    assert await asked(api, client, kind, 2) == ["", TOO_MANY]


@every_kind
async def test_a_message_that_was_not_sent_is_given_back_to_the_share_it_was_taken_from(
    kind: str, api: Api, world: World
) -> None:
    client = await shop(world, **FORWARDING)
    await only(api, world, client, kind)
    fields = ("phone_full_at", "email_full_at", "known_phone_full_at", "known_email_full_at")
    assert await asked(api, client, kind, 2) == [""] * 2
    (before,) = await rows(world, "users")
    world.outbox.down.add(kind)
    for api.source in (HOME, ELSEWHERE):
        assert await asked(api, client, kind, 3) == ["DELIVERY_FAILED"] * 3

    (after,) = await rows(world, "users")
    assert [getattr(after, name) for name in fields] == [getattr(before, name) for name in fields]


async def test_the_owners_messages_count_for_their_client_like_all_others(world: World) -> None:
    bound = {"client_sends": Bucket(3, AN_HOUR), "clock": world.clock, "keyring": world.keyring}
    async with open_world(world.database_url, **bound) as small, grpc_edge(small) as api:
        client = await shop(small, **FORWARDING)
        await only(api, small, client, SMS)

        assert await asked(api, client, SMS, 3) == [""] * 2 + [TOO_MANY]


async def test_who_takes_every_mail_does_not_keep_back_an_operators_letter(api: Api, world: World) -> None:
    client = await shop(world, **FORWARDING)
    await only(api, world, client, EMAIL)
    (user,) = await rows(world, "users")
    await change(world, "users", {"email": DESTINATIONS[EMAIL], "email_verified": True})
    api.source = ELSEWHERE
    assert (await asked(api, client, EMAIL, EMAIL_SENDS.size))[-1] == TOO_MANY

    from cofactor_server.domain.callers import Caller

    ticket = await world.app.ticket_office.issue(Caller(), "support", NewTicket(user.id, send_mail=True))

    assert world.outbox.sent[-1].link == ticket.url


@pytest.mark.requirement("S186")
async def test_strangers_who_ask_again_and_again_do_not_push_out_what_the_owner_is_about_to_answer(
    api: Api, world: World
) -> None:
    client = await shop(world, **FORWARDING)
    await only(api, world, client, EMAIL)
    login = await logged_in_to_mfa(api, client)
    sent = await api.challenge(client, login.mfa_token)
    code = world.outbox.sent[-1].code
    api.source = ELSEWHERE
    for _ in range(12):  # of each login one waits
        assert await asked(api, client, EMAIL, 1) == [""]
    waiting = await rows(world, "challenges", state="pending")
    assert sorted(row.known for row in waiting) == [False] * 10 + [True]

    api.source = HOME

    assert await outcome(api.oob(client, login.mfa_token, sent.oob_code, code)) == ""


@pytest.mark.parametrize("given", [{"kinds": PHONES}])
@pytest.mark.requirement("S12", "S186")
async def test_strangers_who_prompt_a_device_leave_the_owners_prompts(
    given: dict[str, Any], api: Api, world: World
) -> None:
    client = await shop(world, **FORWARDING)
    async with phone_shop(world) as phones:
        api.source = HOME
        user, phone = await phones.of_new_user(api, client)
        api.source = ELSEWHERE
        for _ in range(5):
            await prompted(api, client, phone)
        login = await logged_in_to_mfa(api, client)
        assert await reason(api.challenge(client, login.mfa_token, authenticator_id=phone.id)) == TOO_MANY

        api.source = HOME
        for _ in range(5):
            assert (await prompted(api, client, phone, user.subject))[1].oob_code
        login = await logged_in_to_mfa(api, client)
        assert await reason(api.challenge(client, login.mfa_token, authenticator_id=phone.id)) == TOO_MANY
