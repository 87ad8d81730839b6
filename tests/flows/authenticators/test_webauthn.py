"""Security keys and passkeys, from the first registration to the removal of the last."""

import json
from typing import Any

import pytest

from tests.support.flows.api import Api, GrpcApi, RestApi, Tokens
from tests.support.flows.keys import KINDS, TYPES, another_key, challenged, manager_token, signed_in, with_key
from tests.support.flows.steps import (
    MFA_SCOPE,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    read,
    reason,
    refusal,
    shop,
)
from tests.support.world import World
from tests.unit.factors.security_key import EDDSA, ES256, RS256, AlreadyRegistered, NothingAllowed, SecurityKey, b64

REFUSED = "INVALID_PUBLIC_KEY_CREDENTIAL"


@pytest.fixture
def given() -> dict[str, Any]:
    """Apps, keys and recovery codes are on."""
    return {"kinds": KINDS}


@pytest.mark.requirement("S168")
@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256])
async def test_a_key_registered_at_a_login_completes_it_and_logs_in_afterwards(
    algorithm: int, api: Api, world: World
) -> None:
    client = await shop(world)
    key = SecurityKey(algorithm)

    first = await with_key(api, world, client, key)
    later = [await signed_in(api, client, key) for _ in range(2)]

    for tokens in (first, *later):
        _, claims = await read(api, tokens.access_token)
        assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:phrh", ["pwd", "hwk", "user", "mfa"])


async def test_a_passkey_that_synchronizes_is_phishing_resistant_and_no_hardware(api: Api, world: World) -> None:
    client = await shop(world)
    key = SecurityKey(synced=True)
    await with_key(api, world, client, key)

    _, claims = await read(api, (await signed_in(api, client, key)).access_token)

    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:phr", ["pwd", "swk", "user", "mfa"])


@pytest.mark.requirement("S42")
async def test_what_the_user_may_enroll_and_has_enrolled_names_keys(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    before = await logged_in_to_mfa(api, client)
    begun = await api.enroll(before.mfa_token, "webauthn", name="Blue key")
    pending = await api.list(before.mfa_token)
    await api.webauthn(client, before.mfa_token, begun.oob_code, SecurityKey().take(begun.public_key))

    after = await logged_in_to_mfa(api, client)
    row, paper = await api.list(after.mfa_token)

    assert (before.wants, before.types) == ("enroll", ("otp", "webauthn"))
    assert (after.wants, after.types) == ("challenge", ("webauthn", "recovery-code"))
    assert [(row.type, row.active) for row in pending] == [("webauthn", False), ("recovery-code", False)]
    assert (row.type, row.active, row.name) == ("webauthn", True, "Blue key")
    assert row.id.startswith("webauthn|dev_")
    assert (paper.type, paper.active) == ("recovery-code", True)


@pytest.mark.requirement("S194")
async def test_a_key_that_was_not_confirmed_is_in_nobodys_way(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    abandoned = await logged_in_to_mfa(api, client)
    await api.enroll(abandoned.mfa_token, "webauthn")

    login = await logged_in_to_mfa(api, client)

    assert login.wants == "enroll"
    assert await reason(api.challenge(client, login.mfa_token, types=TYPES)) == "ASSOCIATION_REQUIRED"
    begun = await api.enroll(login.mfa_token, "webauthn")
    a(Tokens, await api.webauthn(client, login.mfa_token, begun.oob_code, SecurityKey().take(begun.public_key)))


async def test_a_second_key_logs_in_and_either_answers_a_challenge_that_names_none(api: Api, world: World) -> None:
    client = await shop(world)
    first, second = SecurityKey(), SecurityKey(EDDSA)
    await with_key(api, world, client, first)
    await another_key(api, client, await manager_token(api, world, client, first), second)

    for key in (second, first, second):
        await signed_in(api, client, key)

    _, challenge = await challenged(api, client)
    listed = {entry["id"] for entry in challenge.public_key["allowCredentials"]}
    assert listed == {b64(key.made[0].id) for key in (first, second)}


async def test_a_challenge_that_names_a_key_is_answered_by_that_one_alone(api: Api, world: World) -> None:
    client = await shop(world)
    first, second = SecurityKey(), SecurityKey()
    await with_key(api, world, client, first)
    bearer = await manager_token(api, world, client, first)
    world.clock.advance(1)
    await another_key(api, client, bearer, second)
    newest, oldest, _ = await api.list(bearer)

    for row, right, wrong in ((newest, second, first), (oldest, first, second)):
        mfa_token, challenge = await challenged(api, client, authenticator_id=row.id)
        with pytest.raises(NothingAllowed):
            wrong.take(challenge.public_key)
        forced = {**challenge.public_key, "allowCredentials": [{"id": b64(wrong.made[0].id)}]}
        answer = wrong.take(forced)
        assert await reason(api.webauthn(client, mfa_token, challenge.oob_code, answer)) == REFUSED
        mfa_token, challenge = await challenged(api, client, authenticator_id=row.id)
        await api.webauthn(client, mfa_token, challenge.oob_code, right.take(challenge.public_key))


async def test_what_the_key_counts_and_when_it_was_used_belong_to_the_key_that_answered(
    grpc_api: GrpcApi, world: World
) -> None:
    client = await shop(world)
    first, second = SecurityKey(), SecurityKey()
    await with_key(grpc_api, world, client, first)
    bearer = await manager_token(grpc_api, world, client, first)
    world.clock.advance(1)
    await another_key(grpc_api, client, bearer, second)
    newest, oldest, _ = await grpc_api.list(bearer)
    world.clock.advance(60)
    now = world.clock.now() // 1_000_000

    await signed_in(grpc_api, client, first)

    assert (await grpc_api.get(bearer, oldest.id)).last_use_time.seconds == now
    assert (await grpc_api.get(bearer, newest.id)).last_use_time.seconds == now - 60


@pytest.mark.requirement("S165")
async def test_a_key_is_registered_once_for_its_user(api: Api, world: World) -> None:
    client = await shop(world)
    key = SecurityKey()
    await with_key(api, world, client, key)
    bearer = await manager_token(api, world, client, key)

    begun = await api.enroll(bearer, "webauthn")

    with pytest.raises(AlreadyRegistered):  # the browser's doing, and only a browser's
        key.take(begun.public_key)


@pytest.mark.requirement("S199")
async def test_a_key_is_the_fallback_of_an_app_and_an_app_that_of_a_key(api: Api, world: World) -> None:
    client = await shop(world)
    key = SecurityKey()
    user = await enrolled(api, world, client)
    await another_key(api, client, await mfa_access_token(api, world, client, user), key)

    login = await logged_in_to_mfa(api, client)
    types = login.types
    await api.challenge(client, login.mfa_token, types=TYPES)
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))
    await signed_in(api, client, key)

    assert types == ("webauthn", "otp", "recovery-code")


@pytest.mark.requirement("S189")
async def test_a_key_that_verified_its_user_is_all_that_is_asked_of_who_has_an_app_too(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    key = SecurityKey()
    await another_key(api, client, await mfa_access_token(api, world, client, alice), key)

    tokens = await signed_in(api, client, key)

    _, claims = await read(api, tokens.access_token)
    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:phrh", ["pwd", "hwk", "user", "mfa"])


async def test_who_lost_the_key_has_the_recovery_code(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    begun = await api.enroll(login.mfa_token, "webauthn")
    await api.webauthn(client, login.mfa_token, begun.oob_code, SecurityKey().take(begun.public_key))
    audience = world.app.configuration.deployment.mfa_audience

    again = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=audience)
    bearer = a(Tokens, await api.recovery(client, again.mfa_token, begun.recovery_codes[0])).access_token
    await api.remove(bearer, (await api.list(bearer))[0].id)

    assert (await logged_in_to_mfa(api, client)).wants == "enroll"


async def test_a_removed_key_logs_nobody_in_and_may_be_registered_again(api: Api, world: World) -> None:
    client = await shop(world)
    first, second = SecurityKey(), SecurityKey()
    await with_key(api, world, client, first)
    bearer = await manager_token(api, world, client, first)
    world.clock.advance(1)
    await another_key(api, client, bearer, second)
    oldest = (await api.list(bearer))[1]
    mfa_token, challenge = await challenged(api, client, authenticator_id=oldest.id)
    answer = first.take(challenge.public_key)

    await api.remove(bearer, oldest.id)

    assert await reason(api.webauthn(client, mfa_token, challenge.oob_code, answer)) == "OOB_CODE_MALFORMED"
    begun = await api.enroll(bearer, "webauthn")
    again = first.attested(
        first.made[0],
        begun.public_key["rp"]["id"],
        first._client_data("webauthn.create", begun.public_key["challenge"]),
    )
    a(Tokens, await api.webauthn(client, bearer, begun.oob_code, json.dumps(again)))
    await signed_in(api, client, first)


@pytest.mark.parametrize("given", [{"kinds": KINDS, "strict": True}], ids=["strict"])
async def test_the_strict_profile_wants_the_user_verified(api: Api, world: World, given: dict[str, Any]) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    begun = await api.enroll(login.mfa_token, "webauthn")

    refused = await refusal(
        api.webauthn(client, login.mfa_token, begun.oob_code, SecurityKey(verifies=False).take(begun.public_key))
    )

    assert begun.public_key["authenticatorSelection"]["userVerification"] == "required"
    assert (refused.reason, refused.metadata["hint"]) == (REFUSED, "user_verification_required")
    await with_key(api, world, client, SecurityKey(), "bob@example.test")


@pytest.mark.parametrize(
    "given",
    [{"kinds": KINDS, "webauthn_rp_id": "example.test", "webauthn_origins": ("https://shop.example.test",)}],
    ids=["shop"],
)
async def test_applications_elsewhere_in_the_domain_may_be_listed(
    api: Api, world: World, given: dict[str, Any]
) -> None:
    client = await shop(world)
    key = SecurityKey(origin="https://shop.example.test")
    await with_key(api, world, client, key)

    mfa_token, challenge = await challenged(api, client)
    key.origin = "https://auth.example.test"
    refused = await refusal(api.webauthn(client, mfa_token, challenge.oob_code, key.take(challenge.public_key)))

    assert challenge.public_key["rpId"] == "example.test"
    assert (refused.reason, refused.metadata["hint"]) == (REFUSED, "check_origin")


@pytest.mark.parametrize(
    "asked", [{}, {"challenge_type": ""}, {"challenge_type": "otp oob"}, {"challenge_type": "oob"}]
)
async def test_a_client_that_does_not_ask_for_webauthn_is_not_handed_it(
    rest_api: RestApi, world: World, asked: dict[str, str]
) -> None:
    client = await shop(world)
    key = SecurityKey()
    await with_key(rest_api, world, client, key)
    login = await logged_in_to_mfa(rest_api, client)
    row = (await rest_api.list(login.mfa_token))[0]
    members = {"client_id": client[0], "client_secret": client[1], "mfa_token": login.mfa_token, **asked}

    for more in ({}, {"authenticator_id": row.id}):
        response = await rest_api.http.post("/mfa/challenge", json={**members, **more})

        assert (response.status_code, response.json()["error"]) == (401, "unsupported_challenge_type")
        assert response.json()["error_description"].endswith("Supported type: webauthn.")


async def test_a_client_that_does_not_ask_gets_what_it_knows_though_a_key_was_confirmed_last(
    rest_api: RestApi, world: World
) -> None:
    client = await shop(world)
    user = await enrolled(rest_api, world, client)
    await another_key(rest_api, client, await mfa_access_token(rest_api, world, client, user), SecurityKey())
    login = await logged_in_to_mfa(rest_api, client)

    assert (await rest_api.challenge(client, login.mfa_token)).type == "otp"
    assert (await rest_api.challenge(client, login.mfa_token, types=("otp", "oob", "webauthn"))).type == "webauthn"


async def test_over_grpc_no_type_means_any(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await with_key(grpc_api, world, client, SecurityKey())
    login = await logged_in_to_mfa(grpc_api, client)

    challenge = await grpc_api.challenge(client, login.mfa_token)

    assert (challenge.type, challenge.expires_at) == ("webauthn", world.clock.now() / 1_000_000 + 300)


async def test_the_wire_of_a_key_is_like_that_of_its_neighbors(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(rest_api, client)
    headers = {"authorization": f"Bearer {login.mfa_token}"}
    asked = {"authenticator_types": ["webauthn"], "resident_key": True}

    begun = (await rest_api.http.post("/mfa/associate", json=asked, headers=headers)).json()
    key = SecurityKey()
    members = {"client_id": client[0], "client_secret": client[1], "mfa_token": login.mfa_token}
    grant = {"grant_type": "http://auth0.com/oauth/grant-type/mfa-webauthn", "oob_code": begun["oob_code"]}
    credential = key.create(begun["authn_params_public_key"])
    done = await rest_api.http.post("/oauth/token", json={**members, **grant, "credential": credential})
    login = await logged_in_to_mfa(rest_api, client)
    members["mfa_token"] = login.mfa_token
    challenge = (await rest_api.http.post("/mfa/challenge", json={**members, "challenge_type": "webauthn"})).json()
    form = {**members, **grant, "oob_code": challenge["oob_code"]}
    form["credential"] = key.take(challenge["authn_params_public_key"])
    again = await rest_api.http.post("/oauth/token", data=form)

    assert list(begun) == ["authenticator_type", "recovery_codes", "oob_code", "authn_params_public_key"]
    assert begun["authn_params_public_key"]["authenticatorSelection"]["residentKey"] == "required"
    assert list(challenge) == ["challenge_type", "oob_code", "authn_params_public_key"]
    assert (done.status_code, again.status_code) == (200, 200)


@pytest.mark.requirement("S99")
async def test_a_lost_reply_is_given_again(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    key = SecurityKey()
    await with_key(grpc_api, world, client, key)
    mfa_token, challenge = await challenged(grpc_api, client)
    answer = key.take(challenge.public_key)
    request_id = "0123456789abcdef"

    one = await grpc_api.webauthn(client, mfa_token, challenge.oob_code, answer, request_id=request_id)
    two = await grpc_api.webauthn(client, mfa_token, challenge.oob_code, answer, request_id=request_id)

    ids = [(await read(grpc_api, a(Tokens, said).access_token))[1]["jti"] for said in (one, two)]
    assert ids[0] == ids[1]
