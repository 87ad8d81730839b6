"""Security decision 24: a spent token stays spent, and a clock that differs opens nothing twice."""

import pytest
from cofactor_server.seams import SECOND

from tests.support.flows.api import Api, GrpcApi, grpc_edge
from tests.support.flows.attacks import open_world, outcome, reason, rows
from tests.support.flows.steps import enrolled, logged_in_to_mfa, shop
from tests.support.world import MovableClock, World


async def test_a_replica_whose_clock_is_ahead_forgets_no_spent_token(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    fast = MovableClock()
    (spent,) = await rows(world, "spent")
    fast.advance((spent.expires_at - fast.now()) / SECOND + 14 * 60)

    async with open_world(world.database_url, clock=fast, keyring=world.keyring) as ahead:
        await ahead.app.upkeep.prune()
        said = await reason(api.otp(client, alice.mfa_token, world.otp(alice.secret)))
        fast.advance(2 * 60)
        await ahead.app.upkeep.prune()

    assert said == "MFA_TOKEN_STALE"
    assert await rows(world, "spent") == []


@pytest.mark.parametrize(("behind", "said"), [(29, ""), (31, "MFA_TOKEN_EXPIRED")])
async def test_a_token_from_a_clock_ahead_is_borne_for_half_a_minute(behind: float, said: str, world: World) -> None:
    async with grpc_edge(world) as api:
        client = await shop(world)
        alice = await enrolled(api, world, client)
        login = await logged_in_to_mfa(api, client)
    clock = MovableClock()
    clock._now = world.clock.now() - int(behind * SECOND)

    async with open_world(world.database_url, clock=clock, keyring=world.keyring) as slow, grpc_edge(slow) as api:
        assert await outcome(api.otp(client, login.mfa_token, world.otp(alice.secret))) == said


async def test_a_token_is_not_borne_a_moment_past_its_end(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    world.clock.advance(600)

    assert await reason(grpc_api.otp(client, login.mfa_token, world.otp(alice.secret))) == "MFA_TOKEN_EXPIRED"


@pytest.mark.requirement("S74")
async def test_a_clock_that_steps_back_reopens_no_spent_code(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    code = world.otp(alice.secret)
    login = await logged_in_to_mfa(api, client)
    assert await outcome(api.otp(client, login.mfa_token, code)) == ""
    world.clock.advance(-30)
    login = await logged_in_to_mfa(api, client)

    assert await reason(api.otp(client, login.mfa_token, code)) == "INVALID_OTP"
    assert await reason(api.otp(client, login.mfa_token, world.otp(alice.secret))) == "INVALID_OTP"


@pytest.mark.requirement("S19", "S69", "S182", "S183")
async def test_a_code_serves_one_login(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    logins = [await logged_in_to_mfa(api, client) for _ in range(3)]
    code, earlier = world.otp(alice.secret), world.otp(alice.secret, steps=-1)
    said = [await outcome(api.otp(client, login.mfa_token, code)) for login in logins[:2]]

    assert said == ["", "INVALID_OTP"]
    assert await reason(api.otp(client, logins[2].mfa_token, earlier)) == "INVALID_OTP"
