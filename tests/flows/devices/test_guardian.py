"""Guardian apps from the QR code to tokens: the phone speaks its wire, the login either edge."""

import json
from typing import Any

import pytest

from tests.support.flows.api import Api, Pending, RestApi, Tokens
from tests.support.flows.attacks import names
from tests.support.flows.guardians import KINDS, added, begun, now, of_new_user, prompted, pushed
from tests.support.flows.phones import phone_shop
from tests.support.flows.steps import a, enrolled, logged_in_to_mfa, mfa_access_token, read, reason, refusal, shop
from tests.support.guardian import GuardianPhone, RsaKey, rsa_key
from tests.support.world import API, ISSUER, World, totp

LOW = "urn:cofactor:acr:mfa-low"


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": KINDS}


async def test_a_first_enrollment_by_scanning_ends_in_tokens(api: Api, rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    enrollment = await api.enroll(login.mfa_token, "push")
    before = await api.oob(client, login.mfa_token, enrollment.oob_code)
    phone = GuardianPhone(rest_api.http, enrollment.barcode_uri)

    said = await phone.enroll()
    world.clock.advance(5)
    tokens = a(Tokens, await api.oob(client, login.mfa_token, enrollment.oob_code))

    assert isinstance(before, Pending)
    _, claims = await read(api, tokens.access_token)
    assert (claims["sub"], claims["acr"]) == (said["user_id"], LOW)
    assert said["url"] == ISSUER
    assert said["issuer"] == "Example"
    assert said["id"].startswith("dev_")
    assert len(said["token"].rpartition("~")[2]) == 32
    assert "recovery_code" not in said


async def test_the_device_computes_codes_as_well_and_both_are_listed(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    user, phone = await of_new_user(rest_api, rest_api, world, client)
    bearer = await mfa_access_token(rest_api, world, client, user)
    twin = phone.enrolled["totp"]
    rows = {row.id: row for row in await rest_api.list(bearer) if row.type != "recovery-code"}
    device = rows[f"push|{phone.enrolled['id']}"]

    assert {**twin, "secret": ""} == {"secret": "", "algorithm": "sha1", "digits": 6, "period": 30}
    assert (device.name, device.type, device.active) == ("Alice's phone", "push-notification", True)
    assert sorted(row.type for row in rows.values()) == ["otp", "otp", "push-notification"]
    login = await logged_in_to_mfa(rest_api, client)
    a(Tokens, await rest_api.otp(client, login.mfa_token, totp(twin["secret"], now(world))))


@pytest.mark.requirement("S13", "S135")
async def test_an_approval_ends_in_tokens_that_are_worth_less(api: Api, rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    _, phone = await of_new_user(rest_api, api, world, client)
    mfa_token, challenge, push = await prompted(api, world, client, phone)

    assert (challenge.type, challenge.prompts, challenge.number) == ("oob", False, "")
    assert isinstance(await api.oob(client, mfa_token, challenge.oob_code), Pending)
    assert await reason(api.oob(client, mfa_token, challenge.oob_code)) == "SLOW_DOWN"
    await phone.decide(push, now(world))
    world.clock.advance(10)
    tokens = a(Tokens, await api.oob(client, mfa_token, challenge.oob_code))

    _, claims = await read(api, tokens.access_token)
    assert claims["acr"] == LOW
    assert await reason(api.oob(client, mfa_token, challenge.oob_code)) == "MFA_TOKEN_STALE"


@pytest.mark.requirement("S138")
async def test_a_rejection_is_final(api: Api, rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    _, phone = await of_new_user(rest_api, api, world, client)
    mfa_token, challenge, push = await prompted(api, world, client, phone)

    await phone.decide(push, now(world), accepted=False)
    again = await phone.send(push, phone.answer(push, now(world)))

    refused = await refusal(api.oob(client, mfa_token, challenge.oob_code))
    assert (refused.reason, refused.text) == ("CHALLENGE_DENIED", "MFA Authorization rejected.")
    assert (again.status_code, again.json()["errorCode"]) == (404, "login_transaction_not_found")
    assert await reason(api.oob(client, mfa_token, challenge.oob_code)) == "CHALLENGE_DENIED"


@pytest.mark.requirement("S139")
async def test_a_prompt_expires(api: Api, rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    _, phone = await of_new_user(rest_api, api, world, client)
    mfa_token, challenge, push = await prompted(api, world, client, phone)
    world.clock.advance(300)

    late = await phone.send(push, phone.answer(push, now(world)))

    assert (late.status_code, late.json()["errorCode"]) == (403, "transaction_expired")
    assert await reason(api.oob(client, mfa_token, challenge.oob_code)) == "OOB_CODE_EXPIRED"


async def test_a_newer_prompt_of_a_login_takes_the_place_of_the_older(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    _, phone = await of_new_user(rest_api, rest_api, world, client)
    mfa_token, _, older = await prompted(rest_api, world, client, phone)
    challenge = await rest_api.challenge(
        client, mfa_token, types=["oob"], authenticator_id=f"push|{phone.enrolled['id']}"
    )

    late = await phone.send(older, phone.answer(older, now(world)))
    await phone.decide(pushed(world), now(world))

    assert (late.status_code, late.json()["errorCode"]) == (404, "login_transaction_not_found")
    a(Tokens, await rest_api.oob(client, mfa_token, challenge.oob_code))


async def test_a_push_is_a_flat_map_of_texts_for_its_device(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    _, phone = await of_new_user(rest_api, rest_api, world, client)
    _, _, push = await prompted(rest_api, world, client, phone)

    assert world.outbox.sent[-1].to == f"fcm:{phone.push_token}"
    assert push.keys() == {"txtkn", "dai", "d", "sh", "c", "txlnkid", "s"} | ({"l"} if "l" in push else set())
    assert all(isinstance(value, str) for value in push.values())
    assert (push["dai"], push["sh"]) == (phone.enrolled["id"], ISSUER)
    assert json.loads(push["s"])["b"]["n"] == "Shop"


async def test_one_qr_code_serves_both_kinds_of_devices(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(rest_api, world, client)
    async with phone_shop(world) as phones:
        theirs = await phones.added(rest_api, client, user)
    ours = await added(rest_api, rest_api, world, client, user)

    assert ours.ticket != theirs.phone.secret
    assert ours.base == f"{theirs.phone.issuer}appliance-mfa"


async def test_a_device_is_renamed_and_reached_elsewhere(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    user, phone = await of_new_user(rest_api, rest_api, world, client)
    token = {"service": "APNS", "token": "ab" * 32}

    issued = await phone.update(phone.enrolled["token"], name="Alice's other phone", push_credentials=token)
    signed = await phone.update(phone.call(now(world)), identifier="other-identifier")

    account = {"id": phone.enrolled["id"], "name": "Alice's other phone", "push_credentials": token}
    assert issued.json() == {**account, "identifier": phone.identifier}
    assert signed.json() == {**account, "identifier": "other-identifier"}
    bearer = await mfa_access_token(rest_api, world, client, user)
    assert "Alice's other phone" in {row.name for row in await rest_api.list(bearer)}
    phone.identifier = "other-identifier"
    mfa_token, challenge, push = await prompted(rest_api, world, client, phone)
    assert world.outbox.sent[-1].to == f"apns:{'ab' * 32}"
    await phone.decide(push, now(world))
    a(Tokens, await rest_api.oob(client, mfa_token, challenge.oob_code))


@pytest.mark.parametrize("by", ["token", "signature"])
async def test_a_device_that_removes_itself_takes_its_codes_along(
    api: Api, rest_api: RestApi, world: World, by: str
) -> None:
    client = await shop(world)
    user, phone = await of_new_user(rest_api, api, world, client)

    removed = await phone.remove(phone.enrolled["token"] if by == "token" else phone.call(now(world)))

    assert (removed.status_code, removed.content) == (204, b"")
    again = await phone.remove(phone.enrolled["token"])
    assert (again.status_code, again.json()["errorCode"]) == (404, "device_account_not_found")
    bearer = await mfa_access_token(api, world, client, user)
    assert [row.type for row in await api.list(bearer) if row.type != "recovery-code"] == ["otp"]
    login = await logged_in_to_mfa(api, client)
    assert await reason(api.otp(client, login.mfa_token, totp(phone.enrolled["totp"]["secret"], now(world)))) == (
        "INVALID_OTP"
    )
    assert "authenticator_removed" in await names(world, "notices")


async def test_the_last_authenticator_is_not_removed_by_its_device(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(rest_api, client)
    enrollment = await rest_api.enroll(login.mfa_token, "push")
    phone = GuardianPhone(rest_api.http, enrollment.barcode_uri)
    await phone.enroll()

    refused = await phone.remove(phone.enrolled["token"])

    assert (refused.status_code, refused.json()["errorCode"]) == (403, "insufficient_scope")
    a(Tokens, await rest_api.oob(client, login.mfa_token, enrollment.oob_code))


async def test_the_owner_removes_a_device_and_it_is_told_that_it_is_gone(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    user, phone = await of_new_user(rest_api, rest_api, world, client)
    _, _, push = await prompted(rest_api, world, client, phone)
    await rest_api.remove(await mfa_access_token(rest_api, world, client, user), f"push|{phone.enrolled['id']}")

    answered = await phone.send(push, phone.answer(push, now(world)))
    updated = await phone.update(phone.enrolled["token"], name="Gone")

    assert (answered.status_code, answered.json()["errorCode"]) == (404, "login_transaction_not_found")
    assert (updated.status_code, updated.json()["errorCode"]) == (404, "device_account_not_found")


async def test_a_consent_tells_what_the_login_asks_for(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    _, phone = await of_new_user(rest_api, rest_api, world, client)
    _, _, push = await prompted(rest_api, world, client, phone, scope="openid profile", audience=API)

    response = await phone.consent(push, phone.proof(push, now(world)))

    said = response.json()
    assert response.status_code == 200
    assert said["id"] == push["txlnkid"]
    assert said["requested_details"] == {"audience": API, "scope": ["openid", "profile"]}
    assert said["created_at"] == push["d"]
    assert said["created_at"] < said["expires_at"]


async def test_a_consent_ends_with_the_answer(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    _, phone = await of_new_user(rest_api, rest_api, world, client)
    _, _, push = await prompted(rest_api, world, client, phone)
    await phone.decide(push, now(world))

    response = await phone.consent(push, phone.proof(push, now(world)))

    assert (response.status_code, response.json()["errorCode"]) == (404, "login_transaction_not_found")


@pytest.mark.parametrize("lead", [b"", b"\x00"])
async def test_a_modulus_may_begin_with_a_zero_octet(rest_api: RestApi, world: World, lead: bytes) -> None:
    client = await shop(world)
    user = await enrolled(rest_api, world, client)
    _, enrollment = await begun(rest_api, world, client, user)
    phone = GuardianPhone(rest_api.http, enrollment.barcode_uri)

    response = await phone.try_to_enroll(public_key=phone.key.jwk(lead=lead))

    assert response.status_code == 200


@pytest.mark.parametrize("key", [rsa_key(1024), rsa_key(2048, 3)], ids=["1024 bits", "exponent 3"])
async def test_a_weak_key_enrolls_nothing_and_the_ticket_stays_good(
    rest_api: RestApi, world: World, key: RsaKey
) -> None:
    client = await shop(world)
    user = await enrolled(rest_api, world, client)
    _, enrollment = await begun(rest_api, world, client, user)

    refused = await GuardianPhone(rest_api.http, enrollment.barcode_uri, key).try_to_enroll()

    assert (refused.status_code, refused.json()["errorCode"]) == (400, "invalid_body")
    await GuardianPhone(rest_api.http, enrollment.barcode_uri).enroll()


@pytest.mark.parametrize("given", [{"kinds": KINDS, "guardian_url": "https://tenant.guardian.example.test/"}])
async def test_a_host_of_its_own_is_told_to_the_device_and_answered_for(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    _, phone = await of_new_user(rest_api, rest_api, world, client)
    mfa_token, challenge, push = await prompted(rest_api, world, client, phone)
    own = "https://tenant.guardian.example.test/api/resolve-transaction"

    response = await rest_api.http.post(
        own,
        json={"challenge_response": phone.answer(push, now(world), aud=own)},
        headers={"authorization": f"Bearer {push['txtkn']}"},
    )

    assert phone.enrolled["url"] == "https://tenant.guardian.example.test/"
    assert response.status_code == 204
    a(Tokens, await rest_api.oob(client, mfa_token, challenge.oob_code))


@pytest.mark.parametrize("given", [{"kinds": frozenset({"recovery-code", "push"})}])
async def test_without_authenticator_apps_a_device_has_no_codes(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(rest_api, client)
    enrollment = await rest_api.enroll(login.mfa_token, "push")

    said = await GuardianPhone(rest_api.http, enrollment.barcode_uri).enroll()

    assert "totp" not in said


@pytest.mark.requirement("S13")
@pytest.mark.parametrize("given", [{"kinds": KINDS, "strict": True}])
async def test_the_strict_profile_takes_no_such_device(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(rest_api, world, client)
    _, enrollment = await begun(rest_api, world, client, user)

    refused = await GuardianPhone(rest_api.http, enrollment.barcode_uri).try_to_enroll()

    assert (refused.status_code, refused.json()["errorCode"]) == (403, "feature_disabled")
