"""Security decision 16: a lost reply is given again to whom it was meant for, and to nobody else."""

import pytest
from cofactor_server.domain.parties.users import MfaPolicy

from tests.support.flows.api import GrpcApi, Tokens
from tests.support.flows.attacks import MALLORY, enrolled_pair, outcome, reason, rows, wrong
from tests.support.flows.steps import ALICE, a, enrolled, logged_in_to_mfa, shop
from tests.support.world import World

ID = "0123456789abcdef"


@pytest.mark.requirement("S196")
async def test_the_same_request_gets_the_same_tokens_again(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client, scope="offline_access")
    code = world.otp(alice.secret)

    first = a(Tokens, await grpc_api.otp(client, login.mfa_token, code, request_id=ID))
    again = a(Tokens, await grpc_api.otp(client, login.mfa_token, code, request_id=ID))

    assert again.refresh_token == first.refresh_token
    told = [await grpc_api.introspect(client, tokens.access_token) for tokens in (first, again)]
    assert told[0] == told[1]


async def test_a_rotated_recovery_code_is_shown_again(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)

    shown = [
        a(Tokens, await grpc_api.recovery(client, login.mfa_token, alice.recovery_code, request_id=ID)).recovery_code
        for _ in range(2)
    ]

    assert shown[0] == shown[1]
    assert shown[0]


async def test_another_body_under_the_same_id_is_refused(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    await grpc_api.otp(client, login.mfa_token, world.otp(alice.secret), request_id=ID)
    other = await logged_in_to_mfa(grpc_api, client)

    said = [
        await reason(grpc_api.otp(client, login.mfa_token, wrong(world, alice.secret), request_id=ID)),
        await reason(grpc_api.otp(client, other.mfa_token, world.otp(alice.secret), request_id=ID)),
        await reason(grpc_api.recovery(client, login.mfa_token, alice.recovery_code, request_id=ID)),
    ]

    assert said == ["REQUEST_ID_REUSED"] * 3


async def test_without_the_id_a_repeat_is_a_spent_token(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    code = world.otp(alice.secret)
    await grpc_api.otp(client, login.mfa_token, code, request_id=ID)

    assert await reason(grpc_api.otp(client, login.mfa_token, code)) == "MFA_TOKEN_STALE"
    assert await reason(grpc_api.otp(client, login.mfa_token, code, request_id=ID + "0")) == "MFA_TOKEN_STALE"


async def test_neither_another_client_nor_another_user_gets_it(grpc_api: GrpcApi, world: World) -> None:
    client, other = await shop(world), await shop(world, name="Other")
    alice, mallory = await enrolled_pair(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    code = world.otp(alice.secret)
    await grpc_api.otp(client, login.mfa_token, code, request_id=ID)
    theirs = await logged_in_to_mfa(grpc_api, client, MALLORY)

    assert await reason(grpc_api.otp(other, login.mfa_token, code, request_id=ID)) == "MFA_TOKEN_FOREIGN"
    assert await reason(grpc_api.otp(client, theirs.mfa_token, "000000", request_id=ID)) == "INVALID_OTP"
    assert await outcome(grpc_api.otp(client, theirs.mfa_token, world.otp(mallory.secret), request_id=ID)) == ""


@pytest.mark.parametrize(("seconds", "said"), [(119, ""), (120, "MFA_TOKEN_STALE")])
async def test_it_is_given_again_for_two_minutes(seconds: int, said: str, grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    code = world.otp(alice.secret)
    await grpc_api.otp(client, login.mfa_token, code, request_id=ID)
    world.clock.advance(seconds)

    assert await outcome(grpc_api.otp(client, login.mfa_token, code, request_id=ID)) == said


async def test_an_id_serves_again_when_its_outcome_is_over(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    for _ in range(3):
        login = await logged_in_to_mfa(grpc_api, client)
        code = world.otp(alice.secret)
        assert await outcome(grpc_api.otp(client, login.mfa_token, code, request_id=ID)) == ""
        assert await outcome(grpc_api.otp(client, login.mfa_token, code, request_id=ID)) == ""
        world.clock.advance(150)

    assert len(await rows(world, "outcomes")) == 1


async def test_a_wrong_code_is_neither_remembered_nor_free(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    code = wrong(world, alice.secret)

    said = [await reason(grpc_api.otp(client, login.mfa_token, code, request_id=ID)) for _ in range(11)]

    assert said == ["INVALID_OTP"] * 10 + ["TOO_MANY_FAILED_CODES"]
    assert await rows(world, "outcomes") == []


@pytest.mark.parametrize("event", ["password", "block", "reset", "delete"])
async def test_nothing_is_given_again_once_the_account_changed(event: str, grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client, scope="offline_access")
    login = await logged_in_to_mfa(grpc_api, client)
    code = world.otp(alice.secret)
    await grpc_api.otp(client, login.mfa_token, code, request_id=ID)
    refresh_token = alice.tokens.refresh_token
    await grpc_api.refresh(client, refresh_token, request_id=ID + "refresh")
    operators = world.app.operators
    match event:
        case "password":
            await operators.set_password("default", ALICE, "another horse")
        case "block":
            await operators.set_blocked("default", ALICE, blocked=True)
        case "reset":
            await operators.reset_mfa("default", ALICE)
        case "delete":
            await operators.delete_user("default", ALICE)

    refreshed = await reason(grpc_api.refresh(client, refresh_token, request_id=ID + "refresh"))

    assert await reason(grpc_api.otp(client, login.mfa_token, code, request_id=ID)) == "MFA_TOKEN_STALE"
    assert refreshed == ("REFRESH_TOKEN_ORPHANED" if event == "delete" else "REFRESH_TOKEN_INVALID")


async def test_a_repeated_refresh_gets_the_same_successor_and_revokes_nothing(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world, mfa_policy=MfaPolicy.ALWAYS)
    token = (await enrolled(grpc_api, world, client, scope="offline_access")).tokens.refresh_token

    first = a(Tokens, await grpc_api.refresh(client, token, request_id=ID))
    again = a(Tokens, await grpc_api.refresh(client, token, request_id=ID))

    assert again.refresh_token == first.refresh_token
    assert await outcome(grpc_api.refresh(client, first.refresh_token)) == ""
