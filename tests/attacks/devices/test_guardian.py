"""Security decision 17, on the Guardian wire: what was not issued to a device, or not signed by it, is nothing."""

import asyncio
import base64
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from cofactor.v1 import authenticators_pb2, challenges_pb2
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
from cofactor.v1.challenges_pb2_grpc import ChallengeServiceStub
from cofactor_server.store import tables
from sqlalchemy import select

from tests.support.flows.api import ClientCredentials, RestApi, Tokens
from tests.support.flows.attacks import GARBAGE, MALLORY, change, names, reason
from tests.support.flows.grpc_api import call
from tests.support.flows.guardians import KINDS, added, begun, now, of_new_user, prompted, pushed
from tests.support.flows.phones import phone_shop
from tests.support.flows.steps import ALICE, Enrolled, a, enrolled, logged_in_to_mfa, shop
from tests.support.flows.values import TIMEOUT
from tests.support.guardian import ACCEPTED, METHOD, GuardianPhone, base64url, rsa_key
from tests.support.world import ISSUER, World

INVALID = (401, "invalid_token")
UNKNOWN = (404, "login_transaction_not_found")
NO_TICKET = (404, "enrollment_transaction_not_found")
NO_ACCOUNT = (404, "device_account_not_found")
EVIL = "https://evil.example.test/"


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": KINDS}


def said(response: httpx2.Response) -> tuple[int, str]:
    """Return how a request of a device was refused."""
    return response.status_code, response.json()["errorCode"]


@dataclass
class Stage:
    """Alice, her phone, and a prompt on it."""

    api: RestApi
    world: World
    client: ClientCredentials
    alice: Enrolled
    phone: GuardianPhone
    mfa_token: str
    oob_code: str
    push: dict[str, str]

    async def still_waits(self) -> bool:
        """Whether the prompt is as it was: the right answer completes the login."""
        await self.phone.decide(self.push, now(self.world))
        self.world.clock.advance(10)
        return isinstance(await self.api.oob(self.client, self.mfa_token, self.oob_code), Tokens)

    async def mallory(self) -> tuple[GuardianPhone, dict[str, str]]:
        """Return Mallory's phone, and a prompt of his own on it."""
        user = await enrolled(self.api, self.world, self.client, MALLORY)
        about: dict[str, Any] = {"key": rsa_key(which=1), "identifier": "mallory"}
        phone = await added(self.api, self.api, self.world, self.client, user, **about)
        _, _, push = await prompted(self.api, self.world, self.client, phone, MALLORY)
        return phone, push


@pytest.fixture
async def stage(rest_api: RestApi, world: World) -> Stage:
    client = await shop(world)
    alice, phone = await of_new_user(rest_api, rest_api, world, client)
    mfa_token, challenge, push = await prompted(rest_api, world, client, phone)
    return Stage(rest_api, world, client, alice, phone, mfa_token, challenge.oob_code, push)


# Answers


def signed_with_the_public_key(stage: Stage) -> str:
    """Return an answer whose HMAC has the RSA modulus for its key."""
    _, payload, _ = stage.phone.answer(stage.push, now(stage.world)).split(".")
    header = base64url(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    mac = hmac.digest(stage.phone.key.jwk(lead=b"")["n"].encode(), f"{header}.{payload}".encode(), "sha256")
    return f"{header}.{payload}.{base64url(mac)}"


def unsigned(stage: Stage) -> str:
    _, payload, _ = stage.phone.answer(stage.push, now(stage.world)).split(".")
    header = base64url(json.dumps({"alg": "none"}).encode())
    return f"{header}.{payload}."


def altered(stage: Stage) -> str:
    """Return a rejection that was turned into an approval."""
    header, payload, signature = stage.phone.answer(stage.push, now(stage.world), accepted=False).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return f"{header}.{base64url(json.dumps({**claims, ACCEPTED: True}).encode())}.{signature}"


Forgery = Callable[[Stage], str]


def claiming(**changes: Any) -> Forgery:
    return lambda stage: stage.phone.answer(stage.push, now(stage.world), **changes)


def aged(seconds: int, life: int = 30) -> Forgery:
    def forge(stage: Stage) -> str:
        made = now(stage.world) + seconds
        return stage.phone.answer(stage.push, now(stage.world), iat=made, exp=made + life)

    return forge


FORGERIES: dict[str, Forgery] = {
    "for another host": claiming(aud=f"{EVIL}appliance-mfa/api/resolve-transaction"),
    "for the device accounts": claiming(aud=f"{ISSUER}appliance-mfa/api/device-accounts"),
    "for nobody": claiming(aud=None),
    "of another device": claiming(iss="another"),
    "of the enrollment's id": lambda stage: claiming(iss=stage.phone.enrolled["id"])(stage),
    "to another challenge": claiming(sub="0" * 32),
    "to nothing": claiming(sub=None),
    "by another method": claiming(**{METHOD: "sms"}),
    "too old": aged(-61),
    "of the future": aged(31),
    "good for more than a minute": aged(0, 61),
    "good for ever": aged(0, 10**9),
    "by another key": claiming(key=rsa_key(which=1)),
    "by a key that it brings": claiming(
        key=rsa_key(which=1), header={"alg": "RS256", "typ": "JWT", "jwk": rsa_key(which=1).jwk()}
    ),
    "unsigned": unsigned,
    "by the public key as a secret": signed_with_the_public_key,
    "altered": altered,
    "garbage": lambda _: GARBAGE,
    "a device's call": lambda stage: stage.phone.call(now(stage.world)),
    "a proof": lambda stage: stage.phone.proof(stage.push, now(stage.world)),
}


@pytest.mark.requirement("S106")
async def test_a_forged_answer_is_none_and_the_prompt_still_waits(stage: Stage) -> None:
    answers = {name: said(await stage.phone.send(stage.push, forge(stage))) for name, forge in FORGERIES.items()}

    assert answers == dict.fromkeys(FORGERIES, INVALID)
    assert await stage.still_waits()
    assert "proof.refused" in await names(stage.world, "events")


async def test_whom_an_answer_is_for_is_not_said_by_the_host_of_the_request(stage: Stage) -> None:
    headers = {"authorization": f"Bearer {stage.push['txtkn']}", "host": "evil.example.test"}
    url = "/appliance-mfa/api/resolve-transaction"
    evil = stage.phone.answer(stage.push, now(stage.world), aud=f"{EVIL}appliance-mfa/api/resolve-transaction")
    good = stage.phone.answer(stage.push, now(stage.world))

    refused = await stage.api.http.post(url, json={"challenge_response": evil}, headers=headers)
    taken = await stage.api.http.post(url, json={"challenge_response": good}, headers=headers)

    assert said(refused) == INVALID
    assert taken.status_code == 204


@pytest.mark.requirement("S140")
async def test_an_answer_is_taken_once_however_often_it_is_sent(stage: Stage) -> None:
    answer = stage.phone.answer(stage.push, now(stage.world))

    sent = await asyncio.gather(*(stage.phone.send(stage.push, answer) for _ in range(4)))

    assert sorted(response.status_code for response in sent) == [204, *[404] * 3]
    assert said(await stage.phone.send(stage.push, answer)) == UNKNOWN


async def test_a_transaction_token_that_was_not_issued_names_nothing(stage: Stage) -> None:
    _, theirs = await stage.mallory()
    user, challenge, secret = stage.push["txtkn"].split("~")
    other_user, other_challenge, other_secret = theirs["txtkn"].split("~")
    tokens = [
        f"{user}~{challenge}~{secret[:-1]}",
        f"{user}~{challenge}~{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}",
        f"{user}~{challenge}~",
        f"{user}~{challenge}~{other_secret}",
        f"{user}~{other_challenge}~{other_secret}",
        f"{other_user}~{challenge}~{secret}",
        f"{other_user}~{other_challenge}~{secret}",
        f"{stage.push['txtkn']}~",
        f"{user}~{challenge}",
        stage.push["c"],
        "nobody~nothing~secret",
        GARBAGE,
        stage.phone.enrolled["token"],
        stage.mfa_token,
        stage.oob_code,
        "x" * 4_000,
    ]
    answer = stage.phone.answer(stage.push, now(stage.world))

    answers = [said(await stage.phone.send({**stage.push, "txtkn": token}, answer)) for token in tokens]

    assert answers == [UNKNOWN] * len(tokens)
    assert await stage.still_waits()


async def test_mallory_answers_for_alice_with_nothing_of_his_own(stage: Stage) -> None:
    phone, theirs = await stage.mallory()
    at = now(stage.world)
    as_alice = GuardianPhone(stage.api.http, stage.phone.barcode_uri, phone.key, stage.phone.identifier)

    sent = [
        await phone.send(stage.push, phone.answer(stage.push, at)),
        await phone.send(stage.push, phone.answer(theirs, at)),
        await phone.send(stage.push, as_alice.answer(stage.push, at)),
        await phone.send(theirs, stage.phone.answer(theirs, at)),
        await phone.send(theirs, phone.answer(stage.push, at)),
    ]

    assert [said(response) for response in sent] == [INVALID] * 5
    assert await stage.still_waits()


async def test_mallorys_own_approval_completes_no_login_of_alices(stage: Stage) -> None:
    phone, _ = await stage.mallory()
    _, challenge, theirs = await prompted(stage.api, stage.world, stage.client, phone, MALLORY)
    await phone.decide(theirs, now(stage.world))

    assert await reason(stage.api.oob(stage.client, stage.mfa_token, challenge.oob_code)) == "OOB_CODE_MALFORMED"


Ending = Callable[[Stage], Awaitable[object]]


async def disabled(stage: Stage) -> None:
    await change(stage.world, "authenticators", {"state": "disabled"}, id=f"push|{stage.phone.enrolled['id']}")


ENDINGS: dict[str, Ending] = {
    "MFA was reset": lambda stage: stage.world.app.operators.reset_mfa("default", ALICE, enroll_at_login=True),
    "the user is blocked": lambda stage: change(stage.world, "users", {"blocked": True}, subject=ALICE),
    "the user was signed out": lambda stage: change(stage.world, "users", {"epoch": 99}, subject=ALICE),
    "the device is disabled": disabled,
    "the client is gone": lambda stage: stage.world.app.operators.delete_client(stage.client[0]),
    "the login ended with a code": lambda stage: stage.api.otp(
        stage.client, stage.mfa_token, stage.world.otp(stage.alice.secret)
    ),
}


@pytest.mark.parametrize("end", ENDINGS)
async def test_nothing_is_answered_once(stage: Stage, end: str) -> None:
    await ENDINGS[end](stage)

    answered = await stage.phone.send(stage.push, stage.phone.answer(stage.push, now(stage.world)))

    assert said(answered) == UNKNOWN


# Tickets


async def test_a_ticket_is_good_once_for_either_kind_of_device(stage: Stage) -> None:
    _, enrollment = await begun(stage.api, stage.world, stage.client, stage.alice)
    phones = [
        GuardianPhone(stage.api.http, enrollment.barcode_uri, rsa_key(which=which), f"phone {which}")
        for which in (1, 2, 3)
    ]

    tried = await asyncio.gather(*(phone.try_to_enroll() for phone in phones))

    assert sorted(response.status_code for response in tried) == [200, 404, 404]
    assert said(await phones[0].try_to_enroll()) == NO_TICKET
    async with phone_shop(stage.world) as others:
        assert await reason(others.phone(enrollment).pair()) == "PAIRING_NOT_FOUND"


async def test_a_ticket_that_a_device_of_ours_used_is_used(stage: Stage) -> None:
    _, enrollment = await begun(stage.api, stage.world, stage.client, stage.alice)
    async with phone_shop(stage.world) as others:
        await others.phone(enrollment).pair()

    phone = GuardianPhone(stage.api.http, enrollment.barcode_uri, rsa_key(which=1))
    assert said(await phone.try_to_enroll()) == NO_TICKET


async def test_a_ticket_dies_with_its_enrollment(stage: Stage) -> None:
    _, enrollment = await begun(stage.api, stage.world, stage.client, stage.alice)
    phone = GuardianPhone(stage.api.http, enrollment.barcode_uri, rsa_key(which=1))
    stage.world.clock.advance(300)

    assert said(await phone.try_to_enroll()) == NO_TICKET


async def test_what_is_no_ticket_enrolls_nothing(stage: Stage) -> None:
    _, enrollment = await begun(stage.api, stage.world, stage.client, stage.alice)
    phone = GuardianPhone(stage.api.http, enrollment.barcode_uri, rsa_key(which=1))
    tickets = [phone.ticket[:-1], phone.ticket.swapcase(), GARBAGE, "x" * 128, stage.push["c"], ""]

    tried = [await phone.try_to_enroll(authorization=f'Ticket id="{ticket}"') for ticket in tickets]

    assert [said(response) for response in tried] == [NO_TICKET] * len(tickets)
    await phone.enroll()


async def test_a_key_is_one_devices_alone(stage: Stage) -> None:
    mallory = await enrolled(stage.api, stage.world, stage.client, MALLORY)
    _, enrollment = await begun(stage.api, stage.world, stage.client, mallory)

    taken = await GuardianPhone(stage.api.http, enrollment.barcode_uri, stage.phone.key).try_to_enroll()

    assert said(taken) == (409, "enrollment_conflict")


# What a device asks for itself


async def test_only_the_device_changes_and_removes_its_account(stage: Stage) -> None:
    theirs, _ = await stage.mallory()
    phone, at = stage.phone, now(stage.world)
    user, account, secret = phone.enrolled["token"].split("~")
    tokens = [
        f"{user}~{account}~{secret[:-1]}",
        f"{user}~{account}~{theirs.enrolled['token'].split('~')[2]}",
        f"{theirs.enrolled['user_id']}~{account}~{secret}",
        phone.call(at, key=theirs.key),
        phone.call(at, sub=theirs.enrolled["user_id"]),
        phone.call(at, aud=f"{EVIL}appliance-mfa/api/device-accounts"),
        phone.call(at, aud=f"{ISSUER}appliance-mfa/api/resolve-transaction"),
        phone.call(at, exp=at + 7_201),
        phone.call(at - 7_300),
        phone.answer(stage.push, at),
        theirs.enrolled["token"],
        theirs.call(at),
        theirs.call(at, iss=account),
        theirs.call(at, iss=account, sub=user),
        stage.push["txtkn"],
        stage.mfa_token,
        GARBAGE,
        f"..{GARBAGE}",
    ]

    answers = {said(await phone.remove(token)) for token in tokens}
    answers |= {said(await phone.update(token, name="Mallory's")) for token in tokens}

    assert answers == {INVALID, NO_ACCOUNT}
    assert said(await phone.remove(phone.enrolled["token"], account=theirs.enrolled["id"])) == NO_ACCOUNT
    assert await stage.still_waits()


@pytest.mark.parametrize("state", ["blocked", "disabled"])
async def test_a_device_that_is_stopped_changes_nothing(stage: Stage, state: str) -> None:
    await ENDINGS["the user is blocked" if state == "blocked" else "the device is disabled"](stage)

    tried = [
        await stage.phone.update(stage.phone.enrolled["token"], name="New"),
        await stage.phone.remove(stage.phone.call(now(stage.world))),
    ]

    assert {said(response) for response in tried} == ({INVALID} if state == "blocked" else {NO_ACCOUNT})


async def test_the_calls_of_our_own_devices_are_not_for_these(stage: Stage) -> None:
    statement = stage.phone.answer(stage.push, now(stage.world)).encode()
    signature = stage.phone.key.sign(statement)
    channel = stage.world.app.local_channel()
    signed = authenticators_pb2.SignedStatement(payload=statement, signature=signature)
    answer = challenges_pb2.SignedAnswer(payload=statement, signature=signature)
    try:
        authenticators, challenges = AuthenticatorServiceStub(channel), ChallengeServiceStub(channel)
        answering = challenges_pb2.AnswerChallengeRequest(challenge_id=stage.push["c"], signed=answer)
        removing = authenticators_pb2.RemoveDeviceRequest(statement=signed)
        updating = authenticators_pb2.UpdateDeviceRequest(statement=signed)

        reasons = [
            await reason(call(challenges.AnswerChallenge(answering, timeout=TIMEOUT))),
            await reason(call(authenticators.RemoveDevice(removing, timeout=TIMEOUT))),
            await reason(call(authenticators.UpdateDevice(updating, timeout=TIMEOUT))),
        ]
    finally:
        await channel.close()

    assert reasons == ["DEVICE_INVALID"] * 3


# Rich consents


async def test_a_proof_is_good_once_even_when_it_comes_four_times_at_once(stage: Stage) -> None:
    proof = stage.phone.proof(stage.push, now(stage.world))

    shown = await asyncio.gather(*(stage.phone.consent(stage.push, proof) for _ in range(4)))

    assert sorted(response.status_code for response in shown) == [200, *[401] * 3]
    assert said(await stage.phone.consent(stage.push, proof)) == INVALID


async def test_a_consent_is_told_to_its_own_device_alone(stage: Stage) -> None:
    theirs, push = await stage.mallory()
    phone, at = stage.phone, now(stage.world)
    proofs = [
        phone.proof(stage.push, at, key=theirs.key),
        phone.proof(stage.push, at, key=theirs.key, jwk=theirs.key.jwk()),
        phone.proof(stage.push, at, jwk=theirs.key.jwk()),
        phone.proof(stage.push, at, htu=f"{EVIL}rich-consents/{stage.push['txlnkid']}"),
        phone.proof(stage.push, at, htm="POST"),
        phone.proof(stage.push, at, ath="x"),
        phone.proof(push, at, htu=f"{ISSUER}rich-consents/{stage.push['txlnkid']}"),
        phone.proof(stage.push, at - 61),
        phone.proof(stage.push, at + 61),
        phone.answer(stage.push, at),
        GARBAGE,
    ]

    refused = [said(await phone.consent(stage.push, proof)) for proof in proofs]
    other_token = {**stage.push, "txtkn": push["txtkn"]}
    foreign = await theirs.consent(other_token, theirs.proof(other_token, at))
    unknown = await phone.consent(stage.push, phone.proof(stage.push, at), consent_id="unknown")

    assert refused == [INVALID] * len(proofs)
    assert said(foreign) == UNKNOWN
    assert said(unknown) == UNKNOWN


@pytest.mark.parametrize("end", [name for name in ENDINGS if name != "the client is gone"])
async def test_nothing_is_told_once(stage: Stage, end: str) -> None:
    proof = stage.phone.proof(stage.push, now(stage.world))
    await ENDINGS[end](stage)

    assert said(await stage.phone.consent(stage.push, proof)) == UNKNOWN


# At rest


@pytest.mark.requirement("S18", "S88")
async def test_a_dump_holds_nothing_that_a_device_presents(stage: Stage) -> None:
    _, enrollment = await begun(stage.api, stage.world, stage.client, stage.alice)
    ticket = GuardianPhone(stage.api.http, enrollment.barcode_uri).ticket
    phone = stage.phone
    await phone.consent(stage.push, phone.proof(stage.push, now(stage.world), jti="a-name-used-once"))

    def dump(connection: Any) -> str:
        found = (connection.execute(select(table)).all() for table in tables.metadata.sorted_tables)
        return "\n".join(repr(tuple(row)) for rows in found for row in rows)

    text = await stage.world.app.database.read(dump)

    secrets = (
        ticket,
        phone.ticket,
        phone.enrolled["token"].rpartition("~")[2],
        pushed(stage.world)["txtkn"].rpartition("~")[2],
        phone.identifier,
        phone.push_token,
        phone.enrolled["totp"]["secret"],
        "a-name-used-once",
    )
    assert [secret for secret in secrets if secret in text] == []


async def test_a_code_ends_the_login_and_its_prompt(stage: Stage) -> None:
    login = await logged_in_to_mfa(stage.api, stage.client)
    a(Tokens, await stage.api.otp(stage.client, login.mfa_token, stage.world.otp(stage.alice.secret)))

    assert await stage.still_waits()  # of the other login
