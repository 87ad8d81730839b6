from collections.abc import Sequence

import pytest

from tests.support.flows.api import Api, GrpcApi, RestApi
from tests.support.flows.steps import (
    PERIOD,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    reason,
    refusal,
    second_app,
    shop,
)
from tests.support.world import World

THE_TYPE = "The user does not support the requested challenge type"
ANY_TYPE = "The user does not support any of the requested challenge types"


@pytest.mark.parametrize("types", [(), ("otp",), ("oob", "otp"), ("otp", "oob", "webauthn")])
async def test_an_app_needs_no_preparation(api: Api, world: World, types: Sequence[str]) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    challenge = await api.challenge(client, login.mfa_token, types=types)

    assert (challenge.type, challenge.oob_code, challenge.prompts, challenge.expires_at) == ("otp", "", False, None)


async def test_over_rest_a_challenge_of_an_app_says_its_type_and_nothing_else(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    await enrolled(rest_api, world, client)
    login = await logged_in_to_mfa(rest_api, client)
    members = {"client_id": client[0], "client_secret": client[1], "mfa_token": login.mfa_token}

    response = await rest_api.http.post("/mfa/challenge", json=members)

    assert response.json() == {"challenge_type": "otp"}


@pytest.mark.parametrize(
    ("types", "text"),
    [
        (("oob",), f"{THE_TYPE} (oob). Supported type: otp."),
        (("oob", "webauthn"), f"{ANY_TYPE} (oob, webauthn). Supported type: otp."),
    ],
)
async def test_types_that_the_user_has_nothing_for_are_named(
    api: Api, world: World, types: Sequence[str], text: str
) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    refused = await refusal(api.challenge(client, login.mfa_token, types=types))

    assert (refused.reason, refused.text) == ("CHALLENGE_TYPE_UNSUPPORTED", text)


async def test_who_is_not_enrolled_is_told_to_associate(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    await api.enroll(login.mfa_token)

    refused = await refusal(api.challenge(client, login.mfa_token))

    assert (refused.reason, refused.text) == (
        "ASSOCIATION_REQUIRED",
        "User is not enrolled. You can use /mfa/associate endpoint to enroll the first authenticator.",
    )


async def test_a_code_of_who_is_not_enrolled_is_refused_in_the_same_words(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)

    refused = await refusal(api.otp(client, login.mfa_token, "123456"))

    assert (refused.reason, refused.text) == (
        "NOT_ENROLLED",
        "User is not enrolled. You can use /mfa/associate endpoint to enroll the first authenticator.",
    )


async def test_only_an_active_authenticator_of_the_user_is_challenged(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    await enrolled(api, world, client, "mallory@example.test")
    bearer = await mfa_access_token(api, world, client, user)
    await second_app(api, world, client, bearer)
    removed, kept, _ = await api.list(bearer)
    await api.remove(bearer, removed.id)
    await api.enroll(bearer)
    pending = next(row for row in await api.list(bearer) if not row.active)
    login = await logged_in_to_mfa(api, client)
    others = (await api.list((await logged_in_to_mfa(api, client, "mallory@example.test")).mfa_token))[0]

    answers = {}
    for name, authenticator_id in {
        "removed": removed.id,
        "pending": pending.id,
        "somebody else's": others.id,
        "unknown": "totp|dev_0000000000000000",
        "garbage": "!",
    }.items():
        refused = await refusal(api.challenge(client, login.mfa_token, authenticator_id=authenticator_id))
        answers[name] = (refused.reason, refused.text)

    assert set(answers.values()) == {("AUTHENTICATOR_NOT_FOUND", "Authenticator not found")}, answers
    assert (await api.challenge(client, login.mfa_token, authenticator_id=kept.id)).type == "otp"


async def test_a_recovery_code_is_not_challenged(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    paper = (await api.list(login.mfa_token))[-1]

    refused = await refusal(api.challenge(client, login.mfa_token, authenticator_id=paper.id))

    assert (paper.type, refused.reason) == ("recovery-code", "CHALLENGE_TYPE_UNSUPPORTED")
    assert refused.text == f"{THE_TYPE} (recovery-code). Currently there is no supported challenge available."


@pytest.mark.requirement("S199")
async def test_what_was_confirmed_last_is_picked_and_listed_first(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    bearer = await mfa_access_token(grpc_api, world, client, user)
    second = await second_app(grpc_api, world, client, bearer)
    third = await second_app(grpc_api, world, client, bearer)
    login = await logged_in_to_mfa(grpc_api, client)

    picked = await grpc_api.challenge(client, login.mfa_token)

    listed = [row.id for row in await grpc_api.list(login.mfa_token)]
    assert [picked.authenticator_id, second.id] == [third.id, listed[1]]
    assert (listed[0], listed[-1].partition("|")[0]) == (third.id, "recovery-code")


async def test_a_challenge_may_be_asked_for_again(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    challenges = [await api.challenge(client, login.mfa_token) for _ in range(3)]

    assert {challenge.type for challenge in challenges} == {"otp"}
    await api.otp(client, login.mfa_token, world.otp(user.secret))


async def test_an_mfa_token_that_is_used_up_or_over_is_not_challenged(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    over, used = await logged_in_to_mfa(api, client), await logged_in_to_mfa(api, client)
    await api.otp(client, used.mfa_token, world.otp(user.secret))

    stale = await reason(api.challenge(client, used.mfa_token))
    world.clock.advance(600 + PERIOD)
    expired = await reason(api.challenge(client, over.mfa_token))

    assert (stale, expired) == ("MFA_TOKEN_STALE", "MFA_TOKEN_EXPIRED")
