"""WatchDevice: a device hears of its own prompts, without a push service, for as long as it is its user's."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cofactor_server.domain.foundation import values
from cofactor_server.services.challenges import watchers
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey

from tests.support.flows.api import ClientCredentials, GrpcApi, Tokens
from tests.support.flows.attacks import MALLORY
from tests.support.flows.phones import APPROVED, KINDS, Owned, Shop, Stream, listening, phone_shop, prompted
from tests.support.flows.steps import ALICE, Enrolled, a, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import World, world_on
from tests.unit.factors.ed25519 import Ed25519

THIEF = Ed25519(b"thief".ljust(32))


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": KINDS}


@pytest.fixture
async def phones(world: World) -> AsyncIterator[Shop]:
    async with phone_shop(world) as opened:
        yield opened


@pytest.fixture
def api(grpc_api: GrpcApi) -> GrpcApi:
    """Only this edge streams."""
    return grpc_api


@pytest.fixture
async def client(world: World) -> ClientCredentials:
    return await shop(world)


@pytest.fixture
async def owned(api: GrpcApi, client: ClientCredentials, phones: Shop) -> tuple[Enrolled, Owned]:
    """Alice, and her phone, which no push service reaches."""
    return await phones.of_new_user(api, client, push=None)


async def test_a_device_hears_of_a_prompt_and_answers_it(
    api: GrpcApi, world: World, client: ClientCredentials, owned: tuple[Enrolled, Owned]
) -> None:
    _, phone = owned
    stream = await listening(phone)
    mfa_token, challenge = await prompted(api, client, phone)
    kind, prompt = await stream.next()
    signed = phone.phone.state(prompt.challenge_id, prompt.shown, challenge.number, world.clock.now())

    assert (kind, prompt.number_wanted) == ("prompt", True)
    assert json.loads(prompt.shown)["application"] == "Shop"
    assert await phone.answer(signed=signed, challenge=prompt.challenge_id) == APPROVED
    kind, withdrawn = await stream.next()
    assert (kind, withdrawn.challenge_id) == ("withdrawn", prompt.challenge_id)
    a(Tokens, await api.oob(client, mfa_token, challenge.oob_code))
    assert world.outbox.sent == []


async def test_a_device_that_comes_later_hears_what_waits(
    api: GrpcApi, client: ClientCredentials, owned: tuple[Enrolled, Owned]
) -> None:
    _, phone = owned
    await prompted(api, client, phone)
    stream = Stream(phone, phone.phone.call("watch", await phone.nonce()))
    kind, opened = await stream.next()

    assert (kind, opened.waiting) == ("listening", 1)
    assert await stream.heard(1) == ["prompt"]


async def test_the_number_is_not_in_the_stream(
    api: GrpcApi, client: ClientCredentials, owned: tuple[Enrolled, Owned]
) -> None:
    _, phone = owned
    stream = await listening(phone)
    _, challenge = await prompted(api, client, phone)
    _, prompt = await stream.next()

    assert challenge.number.encode() not in prompt.SerializeToString()


async def test_a_prompt_that_gave_way_or_expired_is_withdrawn(
    api: GrpcApi, world: World, client: ClientCredentials, owned: tuple[Enrolled, Owned]
) -> None:
    _, phone = owned
    stream = await listening(phone)
    mfa_token, _ = await prompted(api, client, phone)
    _, first = await stream.next()
    await api.challenge(client, mfa_token, types=["oob"], authenticator_id=phone.id)
    changed = [await stream.next(), await stream.next()]
    world.clock.advance(300)
    kind, gone = await stream.next()

    assert [kind for kind, _ in changed] == ["withdrawn", "prompt"]
    assert changed[0][1].challenge_id == first.challenge_id
    assert (kind, gone.challenge_id) == ("withdrawn", changed[1][1].challenge_id)


async def test_a_prompt_of_a_login_completed_by_other_means_is_withdrawn(
    api: GrpcApi, world: World, client: ClientCredentials, owned: tuple[Enrolled, Owned]
) -> None:
    user, phone = owned
    stream = await listening(phone)
    mfa_token, _ = await prompted(api, client, phone)
    a(Tokens, await api.otp(client, mfa_token, world.otp(user.secret)))

    assert await stream.heard(2) == ["prompt", "withdrawn"]


async def test_a_device_hears_nothing_of_others(
    api: GrpcApi, client: ClientCredentials, phones: Shop, owned: tuple[Enrolled, Owned]
) -> None:
    user, phone = owned
    tablet = await phones.added(api, client, user)
    _, mallorys = await phones.of_new_user(api, client, MALLORY)
    stream = await listening(phone)
    await prompted(api, client, tablet)
    await prompted(api, client, mallorys, MALLORY)
    _, challenge = await prompted(api, client, phone)
    kind, prompt = await stream.next()

    assert kind == "prompt"
    assert challenge.expires_at == pytest.approx(prompt.expire_time.ToMicroseconds() / 1e6)


@pytest.mark.parametrize("how", ["removed", "given up", "reset", "blocked", "deleted"])
async def test_a_stream_ends_at_once_when_its_device_is_gone(
    how: str, api: GrpcApi, world: World, client: ClientCredentials, owned: tuple[Enrolled, Owned]
) -> None:
    user, phone = owned
    bearer = await mfa_access_token(api, world, client, user)
    stream = await listening(phone)
    match how:
        case "removed":
            await api.remove(bearer, phone.id)
        case "given up":
            await phone.remove()
        case "reset":
            await world.app.operators.reset_mfa("default", ALICE)
        case "blocked":
            await world.app.operators.set_blocked("default", ALICE, blocked=True)
        case "deleted":
            await world.app.operators.delete_user("default", ALICE)

    assert await stream.heard(1) == ["DEVICE_INVALID"]


async def test_only_the_device_opens_its_stream_and_once_with_a_nonce(
    client: ClientCredentials, api: GrpcApi, world: World, phones: Shop, owned: tuple[Enrolled, Owned]
) -> None:
    _, phone = owned
    _, mallorys = await phones.of_new_user(api, client, MALLORY)
    nonce = await phone.nonce()
    good = phone.phone.call("watch", nonce)
    forged = [
        phone.phone.call("watch", nonce, THIEF),
        phone.phone.call("watch", nonce, mallorys.phone.key),
        mallorys.phone.call("watch", nonce, user=phone.phone.user, device=phone.id),
        phone.phone.call("remove", nonce),
        phone.phone.call("watch", "nonce"),
        values.replace(good, signature=b"x" * 64),
    ]

    assert {kind for each in forged for kind in await Stream(phone, each).heard(1)} == {"DEVICE_INVALID"}
    assert await Stream(phone, good).heard(1) == ["listening"]
    assert await Stream(phone, good).heard(1) == ["DEVICE_INVALID"]
    late = phone.phone.call("watch", await phone.nonce())
    world.clock.advance(61)
    assert await Stream(phone, late).heard(1) == ["DEVICE_INVALID"]


async def test_a_device_has_five_streams(owned: tuple[Enrolled, Owned]) -> None:
    _, phone = owned
    streams = [await listening(phone) for _ in range(5)]
    sixth = Stream(phone, phone.phone.call("watch", await phone.nonce()))

    assert await sixth.heard(1) == ["TOO_MANY_REQUESTS"]
    assert len(streams) == 5


async def test_a_device_hears_of_a_prompt_asked_for_at_another_replica(
    monkeypatch: pytest.MonkeyPatch,
    root_keys: Sequence[RootKey],
    api: GrpcApi,
    world: World,
    client: ClientCredentials,
    owned: tuple[Enrolled, Owned],
) -> None:
    monkeypatch.setattr(watchers, "POLL_ALONE", 0.05)
    monkeypatch.setattr(watchers, "POLL_SIGNALLED", 0.05)
    _, phone = owned
    keyring = Keyring(root_keys, world.clock)
    async with (
        world_on(world.database_url, clock=world.clock, keyring=keyring, kinds=KINDS) as replica,
        phone_shop(replica) as elsewhere,
    ):
        there = replace(phone, channel=elsewhere.channel)
        stream = await listening(there)
        mfa_token, challenge = await prompted(api, client, phone)
        kind, prompt = await stream.next()
        signed = phone.phone.state(prompt.challenge_id, prompt.shown, challenge.number, world.clock.now())
        assert kind == "prompt"
        assert await there.answer(signed=signed, challenge=prompt.challenge_id) == APPROVED
        assert await stream.heard(1) == ["withdrawn"]
        stream.call.cancel()
    a(Tokens, await api.oob(client, mfa_token, challenge.oob_code))


async def test_an_enrollment_is_no_prompt(
    api: GrpcApi, world: World, client: ClientCredentials, owned: tuple[Enrolled, Owned]
) -> None:
    user, phone = owned
    bearer = await mfa_access_token(api, world, client, user)
    await api.enroll(bearer, "push")
    login = await logged_in_to_mfa(api, client)

    assert login.mfa_token
    await listening(phone)
