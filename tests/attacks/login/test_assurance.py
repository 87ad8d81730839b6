"""Security decision 14: a token says what was proven, and never more."""

import pytest

from tests.support.flows.api import Api, Tokens
from tests.support.flows.attacks import add_mailed, challenged, one_factor_token, reason
from tests.support.flows.steps import a, enrolled, logged_in, logged_in_to_mfa, shop
from tests.support.world import World

ACR = "urn:cofactor:acr:"


async def said(api: Api, client: tuple[str, str | None], tokens: Tokens) -> tuple[str, list[str]]:
    """Return acr and amr."""
    claims = await api.introspect(client, tokens.access_token)
    return claims["acr"], claims["amr"]


@pytest.mark.requirement("S153")
async def test_a_password_and_an_app_are_two_factors(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)

    assert await said(api, client, alice.tokens) == (ACR + "mfa", ["pwd", "otp", "mfa"])
    assert await said(api, client, await logged_in(api, world, client, alice)) == (ACR + "mfa", ["pwd", "otp", "mfa"])


@pytest.mark.requirement("S120")
async def test_a_recovery_code_never_looks_like_a_second_factor(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    login = await logged_in_to_mfa(api, client, scope="offline_access")
    tokens = a(Tokens, await api.recovery(client, login.mfa_token, alice.recovery_code))
    refreshed = a(Tokens, await api.refresh(client, tokens.refresh_token))

    for each in (tokens, refreshed):
        assert await said(api, client, each) == (ACR + "mfa-low", ["pwd"])


@pytest.mark.requirement("S14", "S41")
@pytest.mark.parametrize(("kind", "acr", "amr"), [("sms", "mfa", ["pwd", "sms", "mfa"]), ("email", "mfa-low", ["pwd"])])
async def test_a_sent_code_proves_what_its_channel_does(
    kind: str, acr: str, amr: list[str], api: Api, world: World
) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    mailed = await add_mailed(api, world, client, alice, kind)
    login = await logged_in_to_mfa(api, client)
    sent = await challenged(api, client, login.mfa_token, mailed)
    tokens = a(Tokens, await api.oob(client, login.mfa_token, sent.oob_code, world.outbox.sent[-1].code))

    assert await said(api, client, tokens) == (ACR + acr, amr)


@pytest.mark.requirement("S46")
async def test_what_took_one_factor_says_one_factor(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    token = await one_factor_token(api, world, client)

    claims = await api.introspect(client, token)

    assert (claims["acr"], claims["amr"]) == (ACR + "1fa", ["pwd"])


@pytest.mark.requirement("S29", "S172")
async def test_a_used_recovery_code_is_dead_and_its_successor_lives_once(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    following = a(Tokens, await api.recovery(client, login.mfa_token, alice.recovery_code)).recovery_code
    login = await logged_in_to_mfa(api, client)

    assert await reason(api.recovery(client, login.mfa_token, alice.recovery_code)) == "INVALID_RECOVERY_CODE"
    assert a(Tokens, await api.recovery(client, login.mfa_token, following)).recovery_code not in ("", following)
