"""Security keys under attack: what is signed elsewhere, for somebody else, again, or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from cofactor.v1 import challenges_pb2 as challenges
from cofactor_server.domain.authenticators.kinds import SMS
from cofactor_server.domain.foundation.events import EventName, NoticeName
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, Tokens, call, grpc_edge
from tests.support.flows.attacks import (
    DESTINATIONS,
    GARBAGE,
    KINDS,
    MALLORY,
    change,
    names,
    open_world,
    outcome,
    refusal,
    rows,
)
from tests.support.flows.keys import another_key, challenged, manager_token, signed_in, with_key
from tests.support.flows.steps import ALICE, a, enrolled, logged_in_to_mfa, mfa_access_token, reason, shop
from tests.support.world import MovableClock, World
from tests.unit.factors.security_key import ORIGIN, SecurityKey, b64, unb64

REFUSED = "INVALID_PUBLIC_KEY_CREDENTIAL"


@pytest.fixture
async def world(prepared_url: str, root_keys: Sequence[RootKey]) -> AsyncIterator[World]:
    """A deployment with everything that attacks need, keys among it."""
    clock = MovableClock()
    keyring = Keyring(root_keys, clock)
    async with open_world(prepared_url, clock=clock, keyring=keyring, kinds=KINDS | {"webauthn"}) as opened_world:
        yield opened_world


@dataclass
class Stage:
    """Alice and Mallory, each with a security key."""

    api: Api
    world: World
    client: ClientCredentials
    alice: SecurityKey
    mallory: SecurityKey

    async def signed(self, subject: str, key: SecurityKey) -> tuple[str, str, str]:
        """Log in and sign; return mfa_token, oob_code and the credential."""
        mfa_token, challenge = await challenged(self.api, self.client, subject)
        return mfa_token, challenge.oob_code, key.take(challenge.public_key)

    async def id_of(self, subject: str) -> str:
        login = await logged_in_to_mfa(self.api, self.client, subject)
        return next(row.id for row in await self.api.list(login.mfa_token) if row.type == "webauthn")


@pytest.fixture
async def stage(api: Api, world: World) -> Stage:
    client = await shop(world)
    alice, mallory = SecurityKey(), SecurityKey()
    await with_key(api, world, client, alice)
    await with_key(api, world, client, mallory, MALLORY)
    return Stage(api, world, client, alice, mallory)


# Challenges are bound (ADR-2)

Presented = tuple[ClientCredentials, str, str, str]


async def other_user(stage: Stage) -> Presented:
    _, oob_code, credential = await stage.signed(MALLORY, stage.mallory)
    login = await logged_in_to_mfa(stage.api, stage.client)
    return stage.client, login.mfa_token, oob_code, credential


async def other_login(stage: Stage) -> Presented:
    _, oob_code, credential = await stage.signed(ALICE, stage.alice)
    login = await logged_in_to_mfa(stage.api, stage.client)
    return stage.client, login.mfa_token, oob_code, credential


async def other_client(stage: Stage) -> Presented:
    _, oob_code, credential = await stage.signed(ALICE, stage.alice)
    other = await shop(stage.world, name="Other")
    login = await logged_in_to_mfa(stage.api, other)
    return other, login.mfa_token, oob_code, credential


async def other_purpose(stage: Stage) -> Presented:
    mfa_token, oob_code, credential = await stage.signed(ALICE, stage.alice)
    await change(stage.world, "challenges", {"purpose": "enroll"}, state="pending")
    return stage.client, mfa_token, oob_code, credential


async def other_epoch(stage: Stage) -> Presented:
    mfa_token, oob_code, credential = await stage.signed(ALICE, stage.alice)
    await change(stage.world, "challenges", {"epoch": 0}, state="pending")
    return stage.client, mfa_token, oob_code, credential


async def enrolling_with_a_token(stage: Stage) -> Presented:
    bearer = await manager_token(stage.api, stage.world, stage.client, stage.alice)
    begun = await stage.api.enroll(bearer, "webauthn")
    login = await logged_in_to_mfa(stage.api, stage.client)
    return stage.client, login.mfa_token, begun.oob_code, SecurityKey().take(begun.public_key)


async def removed_authenticator(stage: Stage) -> Presented:
    bearer = await manager_token(stage.api, stage.world, stage.client, stage.alice)
    await another_key(stage.api, stage.client, bearer, SecurityKey())
    alices = next(row.id for row in await stage.api.list(bearer) if row.type == "webauthn")
    mfa_token, challenge = await challenged(stage.api, stage.client, authenticator_id=alices)
    await stage.api.remove(bearer, alices)
    options = {**challenge.public_key, "allowCredentials": [{"id": b64(stage.alice.made[0].id)}]}
    return stage.client, mfa_token, challenge.oob_code, stage.alice.take(options)


async def disabled_authenticator(stage: Stage) -> Presented:
    mfa_token, oob_code, credential = await stage.signed(ALICE, stage.alice)
    await change(stage.world, "authenticators", {"state": "disabled"}, kind="webauthn")
    return stage.client, mfa_token, oob_code, credential


MISBOUND: tuple[Callable[[Stage], Awaitable[Presented]], ...] = (
    other_user,
    other_login,
    other_client,
    other_purpose,
    other_epoch,
    enrolling_with_a_token,
    removed_authenticator,
    disabled_authenticator,
)


@pytest.mark.requirement("S95", "S160")
@pytest.mark.parametrize("misbound", MISBOUND, ids=lambda case: str(case.__name__))
async def test_a_misbound_challenge_answers_like_garbage(
    misbound: Callable[[Stage], Awaitable[Presented]], stage: Stage
) -> None:
    client, mfa_token, oob_code, credential = await misbound(stage)

    said = await refusal(stage.api.webauthn(client, mfa_token, oob_code, credential))
    garbage = await refusal(stage.api.webauthn(client, mfa_token, GARBAGE, credential))

    assert (said.reason, said.text) == ("OOB_CODE_MALFORMED", "Malformed oob_code")
    assert (said.reason, said.text, said.metadata) == (garbage.reason, garbage.text, garbage.metadata)
    assert (await names(stage.world, "events")).count(EventName.CHALLENGE_MISBOUND) == 1


async def test_each_kind_of_challenge_has_its_own_grant(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    key = SecurityKey()
    sent = await api.enroll(bearer, SMS, destination=DESTINATIONS[SMS])
    begun = await api.enroll(bearer, "webauthn")
    credential = key.take(begun.public_key)

    by_code = [await outcome(api.oob(client, bearer, begun.oob_code, typed)) for typed in ("123456", "")]
    by_key = await outcome(api.webauthn(client, bearer, sent.oob_code, credential))

    assert (by_code, by_key) == (["OOB_CODE_MALFORMED"] * 2, "OOB_CODE_MALFORMED")
    a(Tokens, await api.webauthn(client, bearer, begun.oob_code, credential))
    bearer = await manager_token(api, world, client, key)
    sent = await api.enroll(bearer, SMS, destination=DESTINATIONS[SMS])
    a(Tokens, await api.oob(client, bearer, sent.oob_code, world.outbox.sent[-1].code))


async def test_a_typed_answer_to_a_key_is_none(world: World) -> None:
    async with grpc_edge(world) as api:
        client = await shop(world)
        await with_key(api, world, client, SecurityKey())
        mfa_token, challenge = await challenged(api, client)
        request = challenges.AnswerChallengeRequest(oob_code=challenge.oob_code, code="123456")
        metadata = (*api.by_client(client), ("authorization", f"Bearer {mfa_token}"))

        assert await outcome(call(api.challenges.AnswerChallenge(request, metadata=metadata))) == "OOB_CODE_MALFORMED"


# What is signed


@pytest.mark.requirement("S161", "S162", "S164", "S166", "S167", "S170")
@pytest.mark.parametrize(
    ("wrong", "replaced", "hint"),
    [
        ({"origin": "https://auth.example.test.evil.test"}, {}, "check_origin"),
        ({"origin": "http://auth.example.test"}, {}, "check_origin"),
        ({"rp_id": "evil.test"}, {}, None),
        ({"client": {"challenge": b64(bytes(32))}}, {}, None),
        ({"client": {"type": "webauthn.create"}}, {}, None),
        ({"client": {"crossOrigin": True}}, {}, None),
        ({"client": {"topOrigin": ORIGIN}}, {}, None),
        ({"flags": 0x01}, {}, None),
        ({"flags": 0x08}, {}, None),
        ({"flags": 0x10}, {}, None),
        ({}, {"signature": bytes(70)}, None),
        ({}, {"signature": b""}, None),
        ({}, {"userHandle": b"usr_mallory"}, None),
        ({}, {"authenticatorData": bytes(37)}, None),
        ({}, {"clientDataJSON": b"{}"}, None),
    ],
)
async def test_a_signature_for_something_else_is_refused_and_the_next_one_is_not(
    wrong: dict[str, Any], replaced: dict[str, Any], hint: str | None, stage: Stage
) -> None:
    mfa_token, challenge = await challenged(stage.api, stage.client)
    honest = {name: getattr(stage.alice, name) for name in wrong}
    for name, value in wrong.items():
        setattr(stage.alice, name, value)
    credential = json.dumps(stage.alice.get(challenge.public_key, **replaced))
    for name, value in honest.items():
        setattr(stage.alice, name, value)

    said = await refusal(stage.api.webauthn(stage.client, mfa_token, challenge.oob_code, credential))

    assert (said.reason, said.text, said.metadata.get("hint")) == (REFUSED, "Invalid credential.", hint)
    assert (await names(stage.world, "events")).count(EventName.PROOF_REFUSED) == 1
    again = await stage.api.challenge(stage.client, mfa_token, types=("webauthn",))
    good = stage.alice.take(again.public_key)
    a(Tokens, await stage.api.webauthn(stage.client, mfa_token, again.oob_code, good))


@pytest.mark.requirement("S166")
async def test_another_users_key_is_refused_whosever_it_says_it_is(stage: Stage) -> None:
    for named in (stage.alice, stage.mallory):
        mfa_token, challenge = await challenged(stage.api, stage.client)
        options = {**challenge.public_key, "allowCredentials": [{"id": b64(stage.mallory.made[0].id)}]}
        credential = {**stage.mallory.get(options), "id": b64(named.made[0].id), "rawId": b64(named.made[0].id)}

        said = await outcome(stage.api.webauthn(stage.client, mfa_token, challenge.oob_code, json.dumps(credential)))

        assert said == REFUSED


@pytest.mark.requirement("S160")
async def test_a_challenge_takes_one_answer_good_or_bad(stage: Stage) -> None:
    mfa_token, challenge = await challenged(stage.api, stage.client)
    bad = json.dumps(stage.alice.get(challenge.public_key, signature=bytes(70)))
    good = stage.alice.take(challenge.public_key)

    said = [
        await outcome(stage.api.webauthn(stage.client, mfa_token, challenge.oob_code, credential))
        for credential in (bad, good)
    ]

    assert said == [REFUSED, "OOB_CODE_EXPIRED"]


@pytest.mark.requirement("S87", "S160")
async def test_an_assertion_serves_once(stage: Stage) -> None:
    mfa_token, oob_code, credential = await stage.signed(ALICE, stage.alice)
    later, challenge = await challenged(stage.api, stage.client)
    calls = [stage.api.webauthn(stage.client, mfa_token, oob_code, credential) for _ in range(4)]

    said = sorted(await asyncio.gather(*map(outcome, calls)))

    assert said == ["", "MFA_TOKEN_STALE", "MFA_TOKEN_STALE", "MFA_TOKEN_STALE"]
    assert await reason(stage.api.webauthn(stage.client, later, challenge.oob_code, credential)) == REFUSED


@pytest.mark.requirement("S8", "S160", "S190")
async def test_a_challenge_is_over_after_five_minutes(stage: Stage) -> None:
    mfa_token, oob_code, credential = await stage.signed(ALICE, stage.alice)

    stage.world.clock.advance(300)

    assert await reason(stage.api.webauthn(stage.client, mfa_token, oob_code, credential)) == "OOB_CODE_EXPIRED"


@pytest.mark.requirement("S164")
async def test_a_cloned_key_is_refused_recorded_and_told_of(stage: Stage) -> None:
    clone = SecurityKey(made=[*stage.alice.made])
    original = stage.alice.made[0]
    clone.made[0] = type(original)(original.id, original.key, original.user_handle, original.count)
    for _ in range(3):
        await signed_in(stage.api, stage.client, stage.alice)

    mfa_token, oob_code, credential = await stage.signed(ALICE, clone)
    said = await refusal(stage.api.webauthn(stage.client, mfa_token, oob_code, credential))

    assert (said.reason, said.text) == (REFUSED, "Invalid credential.")
    assert (await names(stage.world, "events")).count(EventName.AUTHENTICATOR_CLONED) == 1
    assert (await names(stage.world, "notices")).count(NoticeName.SUSPICIOUS_FAILURES) == 1
    await signed_in(stage.api, stage.client, stage.alice)


async def test_nobody_has_a_key_disabled_or_slowed_down_by_junk(stage: Stage) -> None:
    junk = json.dumps({"id": b64(stage.alice.made[0].id)})
    for _ in range(12):
        mfa_token, challenge = await challenged(stage.api, stage.client)
        for _ in range(9):
            assert await outcome(stage.api.webauthn(stage.client, mfa_token, challenge.oob_code, junk)) == REFUSED
            challenge = await stage.api.challenge(stage.client, mfa_token, types=("webauthn",))

    await signed_in(stage.api, stage.client, stage.alice)


# What is registered


@pytest.mark.requirement("S165")
async def test_a_credential_that_somebody_registered_is_refused_to_everybody_else(stage: Stage) -> None:
    api, client = stage.api, stage.client
    bearer = await manager_token(api, stage.world, client, stage.alice)
    begun = await api.enroll(bearer, "webauthn")
    client_data = stage.alice._client_data("webauthn.create", begun.public_key["challenge"])
    stolen = json.dumps(stage.alice.attested(stage.mallory.made[0], "auth.example.test", client_data))

    said = await refusal(api.webauthn(client, bearer, begun.oob_code, stolen))

    assert (said.reason, said.text) == (
        "AUTHENTICATOR_REGISTERED",
        "This security key, passkey or device is registered already.",
    )
    stored = await rows(stage.world, "authenticators", unique_ref=b64(stage.mallory.made[0].id))
    assert len(stored) == 1
    await signed_in(api, client, stage.mallory, MALLORY)


@pytest.mark.requirement("S165")
async def test_of_two_who_register_one_credential_at_once_one_succeeds(api: Api, world: World) -> None:
    client = await shop(world)
    key = SecurityKey()
    calls = []
    for subject in (ALICE, MALLORY):
        await world.user(subject)
        login = await logged_in_to_mfa(api, client, subject)
        begun = await api.enroll(login.mfa_token, "webauthn")
        if not key.made:
            key.create(begun.public_key)
        client_data = key._client_data("webauthn.create", begun.public_key["challenge"])
        credential = json.dumps(key.attested(key.made[0], "auth.example.test", client_data))
        calls.append(api.webauthn(client, login.mfa_token, begun.oob_code, credential))

    assert sorted(await asyncio.gather(*map(outcome, calls))) == ["", "AUTHENTICATOR_REGISTERED"]


async def test_a_thief_does_not_confirm_his_key_in_the_owners_login(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    thiefs = await logged_in_to_mfa(api, client)
    planted = await api.enroll(thiefs.mfa_token, "webauthn")
    credential = SecurityKey().take(planted.public_key)
    owners = await logged_in_to_mfa(api, client)

    assert await reason(api.webauthn(client, owners.mfa_token, planted.oob_code, credential)) == "OOB_CODE_MALFORMED"
    begun = await api.enroll(owners.mfa_token, "webauthn")
    a(Tokens, await api.webauthn(client, owners.mfa_token, begun.oob_code, SecurityKey().take(begun.public_key)))
    assert await reason(api.webauthn(client, thiefs.mfa_token, planted.oob_code, credential)) == "OOB_CODE_MALFORMED"


# Anything at all


async def test_what_is_cut_or_made_up_is_refused_in_an_orderly_way(stage: Stage) -> None:
    bearer = await manager_token(stage.api, stage.world, stage.client, stage.alice)
    said = set()
    for number in range(25):
        begun = await stage.api.enroll(bearer, "webauthn")
        good = SecurityKey().create(begun.public_key)
        attestation = unb64(good["response"]["attestationObject"])
        spoiled = (attestation[: number * 7], attestation[number + 1 :], bytes([number * 10]) * 9)[number % 3]
        good["response"]["attestationObject"] = b64(spoiled)
        said.add(await outcome(stage.api.webauthn(stage.client, bearer, begun.oob_code, json.dumps(good))))
    mfa_token, challenge = await challenged(stage.api, stage.client)
    for document in ("{", "[]", "null", '"x"', "7", "{}", '{"id": 7}', '{"id": "a b"}', "[" * 30_000):
        said.add(await outcome(stage.api.webauthn(stage.client, mfa_token, challenge.oob_code, document)))

    assert said <= {REFUSED, "INVALID_REQUEST", "MISSING_PARAMETER"}
    assert REFUSED in said
    a(
        Tokens,
        await stage.api.webauthn(stage.client, mfa_token, challenge.oob_code, stage.alice.take(challenge.public_key)),
    )


async def test_what_a_key_signs_with_is_nowhere_in_a_dump(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    key = SecurityKey()
    await with_key(grpc_api, world, client, key)
    made = key.made[0]

    stored = b"".join(row.credential for row in await rows(world, "authenticators"))

    assert made.key.cose()[-2] not in stored
    assert made.user_handle not in stored
