"""A reply that was lost is given again. What is given to nobody else, and not for long: attacks/test_repeats.py."""

import pytest

from tests.support.flows.api import GrpcApi, Tokens
from tests.support.flows.steps import a, enrolled, logged_in_to_mfa, read, reason, shop
from tests.support.world import World

REQUEST = "5f0c2a52-6a1d-4b8e-9d53-0c5a2f6f7b11"
OTHER = "0d0c5c53-1b8e-4c3e-8d2e-7a2b6d1f9e22"


@pytest.mark.requirement("S196")
async def test_confirming_twice_with_one_id_gives_the_same_login(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(grpc_api, client, scope="openid offline_access")
    app = await grpc_api.enroll(login.mfa_token)
    code = world.otp(app.secret)

    first = a(Tokens, await grpc_api.otp(client, login.mfa_token, code, request_id=REQUEST))
    world.clock.advance(119)
    again = a(Tokens, await grpc_api.otp(client, login.mfa_token, code, request_id=REQUEST))

    said = [(await read(grpc_api, tokens.access_token))[1] for tokens in (first, again)]
    assert said[0] == said[1]
    assert (again.refresh_token, again.scope) == (first.refresh_token, first.scope)
    a(Tokens, await grpc_api.refresh(client, again.refresh_token))


@pytest.mark.requirement("S196")
async def test_another_id_is_another_request(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    code = world.otp(user.secret)
    await grpc_api.otp(client, login.mfa_token, code, request_id=REQUEST)

    assert await reason(grpc_api.otp(client, login.mfa_token, code, request_id=OTHER)) == "MFA_TOKEN_STALE"


async def test_one_id_for_two_grants_is_refused(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client, scope="offline_access")
    await grpc_api.refresh(client, user.tokens.refresh_token, request_id=REQUEST)
    login = await logged_in_to_mfa(grpc_api, client)

    refused = await reason(grpc_api.otp(client, login.mfa_token, world.otp(user.secret), request_id=REQUEST))

    assert refused == "REQUEST_ID_REUSED"
    a(Tokens, await grpc_api.otp(client, login.mfa_token, world.otp(user.secret)))


@pytest.mark.requirement("S196")
async def test_every_repeat_of_a_refresh_gets_one_successor(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client, scope="offline_access")

    answers = [
        a(Tokens, await grpc_api.refresh(client, user.tokens.refresh_token, request_id=REQUEST)) for _ in range(3)
    ]

    assert len({answer.refresh_token for answer in answers}) == 1
    a(Tokens, await grpc_api.refresh(client, answers[0].refresh_token))


@pytest.mark.parametrize("request_id", ["short", "x" * 15, "x" * 65, "not visible ASCII", "ünïcödé-0123456789"])
async def test_what_is_no_request_id_is_refused(grpc_api: GrpcApi, world: World, request_id: str) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)

    call = grpc_api.otp(client, login.mfa_token, world.otp(user.secret), request_id=request_id)

    assert await reason(call) == "INVALID_REQUEST"
