"""Security decision 13: a remembered browser is asked for less, is no factor, and is one browser of one user."""

from typing import Any

import pytest
from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.services.policy.rules import NewRule

from tests.support.flows.api import ClientCredentials, GrpcApi, MfaRequired, Tokens
from tests.support.flows.attacks import DAY, MALLORY, fail, names, reason, rows, wrong
from tests.support.flows.steps import ALICE, MFA_SCOPE, Enrolled, a, enrolled, read, shop
from tests.support.world import ISSUER, PASSWORD, World

MFA = "urn:cofactor:acr:mfa"
TOO_MANY_CODES = "TOO_MANY_FAILED_CODES"


async def remembered(
    api: GrpcApi, world: World, client: ClientCredentials, user: Enrolled, subject: str = ALICE
) -> Tokens:
    login = a(MfaRequired, await api.password(client, subject, PASSWORD))
    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret), remember=True))
    world.clock.advance(30)
    return tokens


async def asked(api: GrpcApi, client: ClientCredentials, token: str, subject: str = ALICE, **wanted: Any) -> bool:
    outcome = await api.password(client, subject, PASSWORD, remember_token=token, **wanted)
    return isinstance(outcome, MfaRequired)


@pytest.mark.requirement("S46", "S195")
async def test_a_remembered_browser_is_not_asked_and_its_tokens_say_one_factor(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    tokens = await remembered(grpc_api, world, client, user)

    skipped = a(Tokens, await grpc_api.password(client, ALICE, PASSWORD, remember_token=tokens.remember_token))

    _, claims = await read(grpc_api, skipped.access_token)
    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:1fa", ["pwd"])
    assert skipped.remember_token == ""
    assert await asked(grpc_api, client, "")  # the user passed MFA lately; another browser did not
    assert (await names(world, "events"))[-1] == "login.remembered"


async def test_a_browser_is_remembered_where_that_is_asked_for_and_not_by_a_recovery_code(
    grpc_api: GrpcApi, world: World
) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    login = a(MfaRequired, await grpc_api.password(client, ALICE, PASSWORD))
    from cofactor.v1 import tokens_pb2

    grant = tokens_pb2.MfaRecoveryCodeGrant(mfa_token=login.mfa_token, recovery_code=user.recovery_code)

    assert user.tokens.remember_token == ""
    assert await reason(grpc_api.issue(client, remember=True, mfa_recovery_code=grant)) == "INVALID_REQUEST"


async def test_it_is_good_for_its_user_at_its_client_alone(grpc_api: GrpcApi, world: World) -> None:
    client, other = await shop(world), await shop(world, name="Other")
    user, _ = await enrolled(grpc_api, world, client), await enrolled(grpc_api, world, client, MALLORY)
    token = (await remembered(grpc_api, world, client, user)).remember_token

    assert await asked(grpc_api, client, token, MALLORY)
    assert await asked(grpc_api, other, token)
    assert await asked(grpc_api, client, token[:-2] + "AA")
    assert not await asked(grpc_api, client, token)


async def test_other_tokens_are_no_remember_tokens(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client, scope="offline_access")
    login = a(MfaRequired, await grpc_api.password(client, ALICE, PASSWORD))
    browser = await remembered(grpc_api, world, client, user)

    for token in (login.mfa_token, user.tokens.access_token, user.tokens.refresh_token):
        assert await asked(grpc_api, client, token)
    assert await reason(grpc_api.otp(client, browser.remember_token, "123456")) == "MFA_TOKEN_MALFORMED"


@pytest.mark.parametrize("days", [29, 30])
async def test_it_lasts_thirty_days(days: int, grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    tokens = await remembered(grpc_api, world, client, user)
    world.clock.advance(days * DAY)

    assert await asked(grpc_api, client, tokens.remember_token) == (days == 30)


async def test_a_client_may_have_none_remembered(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world, remember_days=0)
    user = await enrolled(grpc_api, world, client)

    assert (await remembered(grpc_api, world, client, user)).remember_token == ""


@pytest.mark.parametrize("given", [{"strict": True, "kinds": frozenset({"totp", "recovery-code"})}])
async def test_the_strict_profile_remembers_none(given: dict[str, Any], grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)

    assert (await remembered(grpc_api, world, client, user)).remember_token == ""


@pytest.mark.usefixtures("scopes")
async def test_it_never_stands_for_a_factor_where_one_is_wanted(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    token = (await remembered(grpc_api, world, client, user)).remember_token

    assert await asked(grpc_api, client, token, acr_values=[MFA])
    assert await asked(grpc_api, client, token, max_age=3_600)
    assert await asked(grpc_api, client, token, audience=f"{ISSUER}mfa/", scope=MFA_SCOPE)
    await world.app.policies.add(NewRule(MfaPolicy.ALWAYS, client_id=client[0]))  # which wants nothing more
    await world.app.policies.add(NewRule(MfaPolicy.ALWAYS, scope="pay", level=Level.MFA))
    assert await asked(grpc_api, client, token, scope="pay")
    assert not await asked(grpc_api, client, token)


@pytest.mark.parametrize("end", ["revoke", "forget", "password", "block", "reset"])
async def test_it_ends_with_what_ends_trust(end: str, grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    token = (await remembered(grpc_api, world, client, user)).remember_token
    operators = world.app.operators
    match end:
        case "revoke":
            await grpc_api.revoke(client, token)
        case "forget":
            assert await operators.forget_browsers("default", ALICE) == 1
        case "password":
            await operators.set_password("default", ALICE, PASSWORD)
        case "block":
            await operators.set_blocked("default", ALICE, blocked=True)
            await operators.set_blocked("default", ALICE, blocked=False)
        case "reset":
            await operators.reset_mfa("default", ALICE)

    assert await asked(grpc_api, client, token)


# A remembered browser is a source of the user's own (ADR-9)


@pytest.mark.requirement("S186", "S195")
async def test_strangers_do_not_keep_the_owner_out_of_a_browser_that_is_remembered(
    grpc_api: GrpcApi, world: World
) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    token = (await remembered(grpc_api, world, client, user)).remember_token
    assert (await fail(grpc_api, world, client, user, 11))[-1] == TOO_MANY_CODES
    said = [await reason(grpc_api.password(client, ALICE, "wrong")) for _ in range(11)]
    assert said == ["INVALID_CREDENTIALS"] * 10 + ["TOO_MANY_ATTEMPTS"]

    assert await reason(grpc_api.password(client, ALICE, PASSWORD)) == "TOO_MANY_ATTEMPTS"
    login = a(MfaRequired, await grpc_api.password(client, ALICE, PASSWORD, remember_token=token, max_age=0))
    a(Tokens, await grpc_api.otp(client, login.mfa_token, world.otp(user.secret)))


@pytest.mark.requirement("S186")
async def test_a_browser_that_is_remembered_has_a_budget_and_no_more(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    token = (await remembered(grpc_api, world, client, user)).remember_token
    logins = [await grpc_api.password(client, ALICE, PASSWORD, remember_token=token, max_age=0) for _ in range(2)]
    tokens = [a(MfaRequired, login).mfa_token for login in logins]

    said = [await reason(grpc_api.otp(client, tokens[number % 2], wrong(world, user.secret))) for number in range(12)]

    assert said == ["INVALID_OTP"] * 10 + [TOO_MANY_CODES] * 2
    assert await fail(grpc_api, world, client, user, 1) == ["INVALID_OTP"]


async def test_a_token_of_a_browser_of_somebody_else_or_of_before_is_a_strangers(
    grpc_api: GrpcApi, world: World
) -> None:
    client, other = await shop(world), await shop(world, name="Other")
    user, mallory = await enrolled(grpc_api, world, client), await enrolled(grpc_api, world, client, MALLORY)
    hers = (await remembered(grpc_api, world, client, mallory, MALLORY)).remember_token
    token = (await remembered(grpc_api, world, client, user)).remember_token
    await fail(grpc_api, world, client, user, 10)
    code = wrong(world, user.secret)

    async def guessed(at: ClientCredentials, token: str) -> str:
        login = a(MfaRequired, await grpc_api.password(at, ALICE, PASSWORD, remember_token=token, max_age=0))
        return await reason(grpc_api.otp(at, login.mfa_token, code))

    assert [await guessed(client, hers), await guessed(other, token)] == [TOO_MANY_CODES] * 2
    assert await guessed(client, token) == "INVALID_OTP"
    assert await world.app.operators.forget_browsers("default", ALICE) == 1
    assert await guessed(client, token) == TOO_MANY_CODES


async def test_another_client_does_not_forget_it(grpc_api: GrpcApi, world: World) -> None:
    client, other = await shop(world), await shop(world, name="Other")
    user = await enrolled(grpc_api, world, client)
    token = (await remembered(grpc_api, world, client, user)).remember_token

    await grpc_api.revoke(other, token)

    assert not await asked(grpc_api, client, token)


async def test_a_lost_reply_gives_the_same_browser_again(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    login = a(MfaRequired, await grpc_api.password(client, ALICE, PASSWORD))
    code, once = world.otp(user.secret), "3f5c2f7e-0001-4e6a"
    both = [
        a(Tokens, await grpc_api.otp(client, login.mfa_token, code, remember=True, request_id=once)) for _ in range(2)
    ]

    assert both[0].remember_token == both[1].remember_token != ""
    assert len(await rows(world, "browsers")) == 1
