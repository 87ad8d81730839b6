"""Push from pairing to tokens: a phone of its own, over both edges."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cofactor.v1 import authenticators_pb2 as authenticators

from tests.support.flows.api import Api, GrpcApi, Pending, Tokens
from tests.support.flows.phones import APPROVED, DENIED, KINDS, Shop, phone_shop, prompted
from tests.support.flows.steps import (
    ALICE,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    read,
    reason,
    shop,
)
from tests.support.world import World


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": KINDS}


@pytest.fixture
async def phones(world: World) -> AsyncIterator[Shop]:
    async with phone_shop(world) as opened:
        yield opened


async def test_a_first_enrollment_by_scanning_ends_in_tokens(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    begun = await api.enroll(login.mfa_token, "push")
    before = await api.oob(client, login.mfa_token, begun.oob_code)
    phone = phones.phone(begun)

    await phone.pair()
    world.clock.advance(5)
    tokens = a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code))

    assert isinstance(before, Pending)
    _, claims = await read(api, tokens.access_token)
    assert claims["acr"] == "urn:cofactor:acr:mfa"
    assert claims["amr"] == ["pwd", "swk", "pop", "mfa"]


async def test_a_device_and_its_one_time_passwords_become_active_together(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    begun = await api.enroll(login.mfa_token, "push", name="")
    pending = await api.list(login.mfa_token)
    await phones.phone(begun).pair()
    rows = await api.list(login.mfa_token)

    assert [(row.type, row.active) for row in pending if row.type != "recovery-code"] == [("push-notification", False)]
    assert {(row.type, row.active, row.name) for row in rows if row.type != "recovery-code"} == {
        ("push-notification", True, "Alice's phone"),
        ("otp", True, ""),
    }


@pytest.mark.requirement("S13", "S97", "S135")
async def test_an_approval_with_the_number_ends_in_tokens(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    mfa_token, challenge = await prompted(api, client, phone)

    assert (challenge.type, challenge.prompts, len(challenge.number)) == ("oob", False, 6)
    assert isinstance(await api.oob(client, mfa_token, challenge.oob_code), Pending)
    assert await phone.answer(challenge.number) == APPROVED
    world.clock.advance(5)
    tokens = a(Tokens, await api.oob(client, mfa_token, challenge.oob_code))
    _, claims = await read(api, tokens.access_token)
    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:mfa", ["pwd", "swk", "pop", "mfa"])


@pytest.mark.requirement("S140")
async def test_an_approval_is_collected_once(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    mfa_token, challenge = await prompted(api, client, phone)
    await phone.answer(challenge.number)
    a(Tokens, await api.oob(client, mfa_token, challenge.oob_code))

    assert await reason(api.oob(client, mfa_token, challenge.oob_code)) == "MFA_TOKEN_STALE"


@pytest.mark.requirement("S138")
async def test_a_denied_push_cannot_be_redeemed(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    mfa_token, challenge = await prompted(api, client, phone)

    assert await phone.answer(decision="deny") == DENIED
    assert await reason(api.oob(client, mfa_token, challenge.oob_code)) == "CHALLENGE_DENIED"
    assert await phone.answer(challenge.number) == DENIED
    assert await reason(api.oob(client, mfa_token, challenge.oob_code)) == "CHALLENGE_DENIED"


@pytest.mark.requirement("S97")
async def test_one_wrong_number_denies(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    mfa_token, challenge = await prompted(api, client, phone)
    wrong = f"{(int(challenge.number) + 1) % 10**6:06d}"

    assert await phone.answer(wrong) == DENIED
    assert await phone.answer(challenge.number) == DENIED
    assert await reason(api.oob(client, mfa_token, challenge.oob_code)) == "CHALLENGE_DENIED"


@pytest.mark.requirement("S139", "S190")
async def test_a_push_expires(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    mfa_token, challenge = await prompted(api, client, phone)
    world.clock.advance(300)

    assert await phone.answer(challenge.number) == "EXPIRED"
    assert await reason(api.oob(client, mfa_token, challenge.oob_code)) == "OOB_CODE_EXPIRED"


async def test_what_is_sent_tells_the_context_and_not_the_number(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world, public=True)
    user, phone = await phones.of_new_user(api, client)
    _, challenge = await prompted(api, client, phone)
    message = phone.pushed()
    payload = dict(message.payload or {})
    shown = json.loads(payload["shown"])

    assert message.to == "fcm:registration-token"
    assert (shown["application"], shown["account"]) == ("Shop", user.subject)
    assert shown["time"] == world.clock.now() // 1_000_000
    assert challenge.number not in json.dumps(payload) + message.code


@pytest.mark.requirement("S13")
async def test_a_device_that_only_approves_reaches_less(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client, approve_only=True)
    mfa_token, challenge = await prompted(api, client, phone)
    await phone.answer()
    tokens = a(Tokens, await api.oob(client, mfa_token, challenge.oob_code))
    _, claims = await read(api, tokens.access_token)

    assert challenge.number == ""
    assert claims["acr"] == "urn:cofactor:acr:mfa-low"


async def test_a_device_shows_one_time_passwords_for_when_it_is_offline(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    login = await logged_in_to_mfa(api, client)

    a(Tokens, await api.otp(client, login.mfa_token, world.otp(phone.otp_secret)))


@pytest.mark.parametrize("kind", ["push-notification", "otp"])
async def test_removing_either_of_a_device_and_its_passwords_removes_both(
    kind: str, api: Api, world: World, phones: Shop
) -> None:
    client = await shop(world)
    user, phone = await phones.of_new_user(api, client)
    bearer = await mfa_access_token(api, world, client, user)
    before = await api.list(bearer)
    twin, app = (row.id for row in before if row.type == "otp")  # those confirmed last come first
    await api.remove(bearer, phone.id if kind == "push-notification" else twin)

    assert [row.id for row in await api.list(bearer) if row.type != "recovery-code"] == [app]


async def test_each_of_a_pair_names_the_other(grpc_api: GrpcApi, world: World, phones: Shop) -> None:
    client = await shop(world)
    user, phone = await phones.of_new_user(grpc_api, client)
    bearer = await mfa_access_token(grpc_api, world, client, user)
    listed = await grpc_api.authenticators.ListAuthenticators(
        authenticators.ListAuthenticatorsRequest(), metadata=(("authorization", f"Bearer {bearer}"),)
    )
    mine = next(row for row in listed.authenticators if row.id == phone.id)
    twin = next(row for row in listed.authenticators if row.id == mine.linked_id)

    assert twin.linked_id == phone.id


async def test_a_newer_prompt_of_a_login_takes_the_place_of_the_earlier(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    mfa_token, first = await prompted(api, client, phone)
    answer = phone.decided(first.number)
    earlier = (phone.pushed().payload or {})["challenge"]
    second = await api.challenge(client, mfa_token, types=["oob"], authenticator_id=phone.id)

    assert await phone.answer(signed=answer, challenge=earlier) == "EXPIRED"
    assert await phone.answer(second.number) == APPROVED
    a(Tokens, await api.oob(client, mfa_token, second.oob_code))


async def test_a_login_has_one_push_pending_whichever_device_it_asks(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    user, phone = await phones.of_new_user(api, client)
    tablet = await phones.added(api, client, user)
    mfa_token, first = await prompted(api, client, phone)
    answer = phone.decided(first.number)
    earlier = (phone.pushed().payload or {})["challenge"]
    await api.challenge(client, mfa_token, types=["oob"], authenticator_id=tablet.id)

    assert await phone.answer(signed=answer, challenge=earlier) == "EXPIRED"


async def test_a_device_says_where_it_is_reached(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    await phone.update(push={"service": "APNS", "token": "0f0f"})
    await prompted(api, client, phone)
    sent = len(world.outbox.sent)
    await phone.update()
    await prompted(api, client, phone)

    assert phone.pushed().to == "apns:0f0f"
    assert len(world.outbox.sent) == sent


async def test_a_device_gives_itself_up(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    user, phone = await phones.of_new_user(api, client)
    await phone.remove()
    login = await logged_in_to_mfa(api, client, user.subject)
    rows = await api.list(login.mfa_token)

    assert [row.type for row in rows] == ["otp", "recovery-code"]
    assert await reason(phone.update()) == "DEVICE_INVALID"


async def test_the_last_authenticator_is_not_removed_by_its_device(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    phone = phones.phone(await api.enroll(login.mfa_token, "push"))
    await phone.pair()

    assert await reason(phone.remove()) == "INSUFFICIENT_AUTHENTICATION"
    assert phone.id in {row.id for row in await api.list(login.mfa_token)}


async def test_a_name_the_user_gave_is_kept(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    await phones.phone(await api.enroll(bearer, "push", name="Work phone")).pair()

    rows = [row for row in await api.list(bearer) if row.type == "push-notification"]
    assert [row.name for row in rows] == ["Work phone"]


@pytest.mark.parametrize("given", [{"kinds": frozenset({"push"})}])
async def test_without_authenticator_apps_a_device_has_no_passwords(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client, ALICE)
    phone = phones.phone(await api.enroll(login.mfa_token, "push"))
    await phone.pair()

    assert phone.otp_secret == ""
    assert [row.type for row in await api.list(login.mfa_token)] == ["push-notification"]
