"""Security decisions 2, 17 and 20 against a device's own calls: who pairs, whose answer counts, and for what."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cofactor_server.domain.authenticators.proofs import Signed
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.clients import Capability

from tests.support.flows.api import Api, GrpcApi, Pending, Tokens
from tests.support.flows.attacks import MALLORY, outcome, reason, refusal, rows
from tests.support.flows.phones import APPROVED, KINDS, Shop, phone_shop, prompted
from tests.support.flows.steps import ALICE, a, enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import World
from tests.unit.factors.devices import base64url
from tests.unit.factors.ed25519 import Ed25519

OURS, THEIRS = "198.51.100.7", "203.0.113.66"
EVERY_12_SECONDS = 12
"""How often a user's devices may be prompted for long (W8)."""
THIEF = Ed25519(b"thief".ljust(32))


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": KINDS}


@pytest.fixture
async def phones(world: World) -> AsyncIterator[Shop]:
    async with phone_shop(world) as opened:
        yield opened


# Whose answer counts


async def test_mallory_approves_her_own_push_and_redeems_nothing_of_alices(
    api: Api, world: World, phones: Shop
) -> None:
    client = await shop(world)
    _, alices = await phones.of_new_user(api, client)
    _, mallorys = await phones.of_new_user(api, client, MALLORY)
    alices_token, _ = await prompted(api, client, alices)
    mallorys_token, challenge = await prompted(api, client, mallorys, MALLORY)
    assert await mallorys.answer(challenge.number) == APPROVED

    assert await reason(api.oob(client, alices_token, challenge.oob_code)) == "OOB_CODE_MALFORMED"
    a(Tokens, await api.oob(client, mallorys_token, challenge.oob_code))


async def test_mallory_answers_nothing_of_alices(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, alices = await phones.of_new_user(api, client)
    _, mallorys = await phones.of_new_user(api, client, MALLORY)
    mfa_token, challenge = await prompted(api, client, alices)
    asked = (alices.pushed().payload or {})["challenge"]
    as_alice: dict[str, Any] = {"user": alices.phone.user, "device": alices.id}

    tried = [
        await reason(mallorys.answer(challenge.number)),
        await reason(mallorys.answer(challenge.number, **as_alice)),
        await reason(mallorys.answer(challenge.number, user=alices.phone.user)),
        await reason(mallorys.answer(challenge.number, device=alices.id)),
        await reason(mallorys.answer(decision="deny", **as_alice)),
        await reason(mallorys.answer(challenge=asked, signed=alices.decided(challenge.number, signer=THIEF))),
    ]

    assert set(tried) <= {"NOT_FOUND", "DEVICE_INVALID"}
    assert isinstance(await api.oob(client, mfa_token, challenge.oob_code), Pending)
    assert await alices.answer(challenge.number) == APPROVED


async def test_an_answer_is_for_one_challenge(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    _, first = await prompted(api, client, phone)
    answer = phone.decided(first.number)
    assert await phone.answer(signed=answer) == APPROVED
    mfa_token, second = await prompted(api, client, phone)

    assert await reason(phone.answer(signed=answer)) == "DEVICE_INVALID"
    assert isinstance(await api.oob(client, mfa_token, second.oob_code), Pending)


async def test_another_device_of_the_same_user_answers_nothing(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    user, phone = await phones.of_new_user(api, client)
    tablet = await phones.added(api, client, user)
    mfa_token, challenge = await prompted(api, client, phone)

    assert await reason(tablet.answer(challenge.number)) == "NOT_FOUND"
    assert await reason(tablet.answer(challenge.number, device=phone.id)) == "DEVICE_INVALID"
    assert isinstance(await api.oob(client, mfa_token, challenge.oob_code), Pending)


async def test_an_answer_about_another_context_is_none(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    mfa_token, challenge = await prompted(api, client, phone)
    other = base64url(hashlib.sha256(b'{"application":"Something harmless"}').digest())

    assert await reason(phone.answer(challenge.number, shown_sha256=other)) == "DEVICE_INVALID"
    assert await reason(phone.answer(challenge.number, issuer="https://else.example.test/")) == "DEVICE_INVALID"
    assert await reason(phone.answer(challenge.number, time=0)) == "DEVICE_INVALID"
    assert isinstance(await api.oob(client, mfa_token, challenge.oob_code), Pending)


@pytest.mark.parametrize("how", ["removed", "given up", "reset", "blocked"])
async def test_a_device_that_is_gone_answers_nothing(how: str, api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    user, phone = await phones.of_new_user(api, client)
    bearer = await mfa_access_token(api, world, client, user)
    mfa_token, challenge = await prompted(api, client, phone)
    match how:
        case "removed":
            await api.remove(bearer, phone.id)
        case "given up":
            await phone.remove()
        case "reset":
            await world.app.operators.reset_mfa("default", ALICE)
        case "blocked":
            await world.app.operators.set_blocked("default", ALICE, blocked=True)

    assert await reason(phone.answer(challenge.number)) == "DEVICE_INVALID"
    assert await reason(phone.update()) == "DEVICE_INVALID"
    assert await outcome(api.oob(client, mfa_token, challenge.oob_code)) in {
        "OOB_CODE_MALFORMED",
        "MFA_TOKEN_STALE",
        "USER_BLOCKED",
    }


async def test_an_approval_dies_with_its_device(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    user, phone = await phones.of_new_user(api, client)
    bearer = await mfa_access_token(api, world, client, user)
    mfa_token, challenge = await prompted(api, client, phone)
    assert await phone.answer(challenge.number) == APPROVED
    await api.remove(bearer, phone.id)

    assert await reason(api.oob(client, mfa_token, challenge.oob_code)) == "OOB_CODE_MALFORMED"


async def test_the_number_is_no_binding_code(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    mfa_token, challenge = await prompted(api, client, phone)

    assert isinstance(await api.oob(client, mfa_token, challenge.oob_code, challenge.number), Pending)
    assert await phone.answer(challenge.number) == APPROVED


async def test_strangers_guesses_do_not_keep_the_owner_from_answering(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    login = await logged_in_to_mfa(api, client)
    wrong = [f"{number:06d}" for number in range(100)]
    for code in wrong[:12]:
        await outcome(api.otp(client, login.mfa_token, code))
    mfa_token, challenge = await prompted(api, client, phone)

    assert await phone.answer(challenge.number) == APPROVED
    a(Tokens, await api.oob(client, mfa_token, challenge.oob_code))


# Who pairs


async def test_a_pairing_secret_is_used_once(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    begun = await api.enroll(bearer, "push")
    phone, again = phones.phone(begun), phones.phone(begun)
    pairing = phone.phone.pair()
    await phone.pair(pairing)

    assert await reason(again.pair(pairing)) == "PAIRING_NOT_FOUND"
    assert await reason(again.pair(again.phone.pair(THIEF))) == "PAIRING_NOT_FOUND"


@pytest.mark.requirement("S18")
async def test_neither_pairing_secret_nor_number_nor_push_token_is_stored_in_clear(
    api: Api, world: World, phones: Shop
) -> None:
    client = await shop(world)
    user, phone = await phones.of_new_user(api, client)
    _, challenge = await prompted(api, client, phone)
    bearer = await mfa_access_token(api, world, client, user)
    waiting = phones.phone(await api.enroll(bearer, "push"))
    stored = repr([await rows(world, table) for table in ("authenticators", "challenges", "events", "notices")])

    assert [
        secret
        for secret in (waiting.phone.secret, phone.phone.secret, "registration-token", f"'{challenge.number}'")
        if secret in stored
    ] == []


async def test_who_did_not_read_the_code_does_not_pair(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    phone = phones.phone(await api.enroll(bearer, "push"))
    (waiting,) = await rows(world, "authenticators", kind="push")

    for guess in ("guess", waiting.unique_ref, waiting.id, waiting.unique_ref.upper()):
        assert await reason(phone.pair(secret=guess)) == "PAIRING_NOT_FOUND"
    other = base64url(hashlib.sha256(b"guess").digest())
    assert await reason(phone.pair(secret_sha256=other)) == "DEVICE_INVALID"
    assert await reason(phone.pair(replace(phone.phone.pair(), signature=b"x" * 64))) == "DEVICE_INVALID"
    await phone.pair()


@pytest.mark.requirement("S36")
async def test_a_pairing_secret_lives_five_minutes(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    phone = phones.phone(await api.enroll(login.mfa_token, "push"))
    world.clock.advance(300)

    assert await reason(phone.pair()) == "PAIRING_NOT_FOUND"


async def test_a_thiefs_pending_phone_dies_when_the_owner_confirms_hers(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    await world.user()
    thiefs_login = await logged_in_to_mfa(api, client)
    thiefs = phones.phone(await api.enroll(thiefs_login.mfa_token, "push"))
    await enrolled(api, world, client, create=False)

    assert await reason(thiefs.pair()) == "PAIRING_NOT_FOUND"


async def test_a_reset_ends_a_pairing(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    phone = phones.phone(await api.enroll(login.mfa_token, "push"))
    await world.app.operators.reset_mfa("default", ALICE)

    assert await reason(phone.pair()) == "PAIRING_NOT_FOUND"


async def test_one_key_is_one_device(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    user, phone = await phones.of_new_user(api, client)
    bearer = await mfa_access_token(api, world, client, user)
    second = phones.phone(await api.enroll(bearer, "push"))

    assert await reason(second.pair(signer=phone.phone.key)) == "AUTHENTICATOR_REGISTERED"


# A device's own calls


async def test_a_nonce_is_used_once_and_for_a_minute(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    said = phone.phone.call("update", await phone.nonce(), push={"service": "FCM", "token": "new"})
    await phone.update(said)
    late = phone.phone.call("update", await phone.nonce())
    world.clock.advance(60)

    assert await reason(phone.update(said)) == "DEVICE_INVALID"
    assert await reason(phone.update(late)) == "DEVICE_INVALID"


async def test_only_the_device_itself_speaks_for_itself(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, alices = await phones.of_new_user(api, client)
    _, mallorys = await phones.of_new_user(api, client, MALLORY)
    nonce = await alices.nonce()
    forged = [
        alices.phone.call("remove", nonce, THIEF),
        alices.phone.call("remove", nonce, mallorys.phone.key),
        mallorys.phone.call("remove", nonce, user=alices.phone.user),
        mallorys.phone.call("remove", nonce, device=alices.id),
        alices.phone.call("remove", nonce, issuer="https://else.example.test/"),
        alices.phone.call("remove", "nonce"),
        alices.phone.call("update", nonce),
        alices.phone.call("watch", nonce),
        alices.phone.call("remove", nonce, push=None),
        alices.phone.call("remove", nonce, user="usr_\0"),
        alices.phone.call("remove", nonce, user="x" * 129),
        alices.phone.call("remove", nonce, version=2),
        Signed(b"\xff\xfe", b"x"),
        Signed(b"[" * 4_096, b"x"),
    ]

    assert {await reason(alices.remove(statement)) for statement in forged} == {"DEVICE_INVALID"}
    await alices.remove(alices.phone.call("remove", nonce))


async def test_a_strangers_signature_counts_nothing(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    _, challenge = await prompted(api, client, phone)
    before = await rows(world, "events"), await rows(world, "authenticators")
    for _ in range(20):
        await reason(phone.answer(challenge.number, signer=THIEF))

    assert (await rows(world, "events"), await rows(world, "authenticators")) == before
    assert await phone.answer(challenge.number) == APPROVED


# Wearing a user down


@pytest.mark.requirement("S12", "S97")
async def test_strangers_cause_ten_prompts_in_vain_and_no_more(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world, capabilities=frozenset({Capability.FORWARD_SOURCE}))
    api.source = OURS
    user, phone = await phones.of_new_user(api, client)
    api.source = THEIRS
    for number in range(10):
        world.clock.advance(EVERY_12_SECONDS)
        mfa_token, challenge = await prompted(api, client, phone)
        assert challenge.oob_code
        if number % 2:
            await phone.answer(decision="deny")
    login = await logged_in_to_mfa(api, client)
    sent = len(world.outbox.sent)

    assert await reason(api.challenge(client, login.mfa_token, authenticator_id=phone.id)) == "TOO_MANY_MESSAGES"
    assert await reason(api.challenge(client, login.mfa_token, types=["oob"])) == "TOO_MANY_MESSAGES"
    assert (await api.challenge(client, login.mfa_token)).type == "otp"
    assert len(world.outbox.sent) == sent
    notices = [notice.name for notice in await rows(world, "notices", user_id=phone.phone.user)]
    assert notices.count("suspicious_failures") == 1
    api.source = OURS
    mfa_token, challenge = await prompted(api, client, phone, user.subject)
    assert await phone.answer(challenge.number) == APPROVED
    a(Tokens, await api.oob(client, mfa_token, challenge.oob_code))
    api.source = THEIRS
    assert (await prompted(api, client, phone))[1].oob_code


@pytest.mark.requirement("S12", "S97")
async def test_a_user_is_prompted_five_times_at_once_and_then_every_twelve_seconds(
    api: Api, world: World, phones: Shop
) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(api, client)
    for _ in range(5):
        await prompted(api, client, phone)
    login = await logged_in_to_mfa(api, client)

    refused = await refusal(api.challenge(client, login.mfa_token, authenticator_id=phone.id))

    assert refused.reason == "TOO_MANY_MESSAGES"
    assert refused.retry_after == pytest.approx(EVERY_12_SECONDS, abs=1)
    assert (await api.challenge(client, login.mfa_token)).type == "otp"
    world.clock.advance(EVERY_12_SECONDS)
    assert (await prompted(api, client, phone))[1].oob_code


async def test_a_prompt_that_was_not_sent_costs_none_of_the_budget(
    grpc_api: GrpcApi, world: World, phones: Shop
) -> None:
    client = await shop(world)
    _, phone = await phones.of_new_user(grpc_api, client)
    world.outbox.down.add("push")
    login = await logged_in_to_mfa(grpc_api, client)
    said = [await reason(grpc_api.challenge(client, login.mfa_token, authenticator_id=phone.id)) for _ in range(7)]
    world.outbox.down.clear()

    assert said == ["DELIVERY_FAILED"] * 7
    assert (await prompted(grpc_api, client, phone))[1].oob_code


async def test_a_login_by_other_means_ends_the_count(api: Api, world: World, phones: Shop) -> None:
    client = await shop(world)
    user, phone = await phones.of_new_user(api, client)
    for _ in range(9):
        world.clock.advance(EVERY_12_SECONDS)
        await prompted(api, client, phone)
    await mfa_access_token(api, world, client, user)
    for _ in range(10):
        world.clock.advance(EVERY_12_SECONDS)
        await prompted(api, client, phone)

    login = await logged_in_to_mfa(api, client)
    assert await reason(api.challenge(client, login.mfa_token, authenticator_id=phone.id)) == "TOO_MANY_MESSAGES"
