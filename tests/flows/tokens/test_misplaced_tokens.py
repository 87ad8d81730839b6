"""Tokens that are over, used up, altered, or of another kind, in every place that takes one."""

from collections.abc import Awaitable, Callable, Mapping

import pytest
from cofactor_server.vault.tokens import TokenSealer

from tests.support.flows.api import Api, ClientCredentials
from tests.support.flows.steps import ALICE, enrolled, logged_in_to_mfa, reason, shop
from tests.support.world import ISSUER, World

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def uses(api: Api, client: ClientCredentials) -> Mapping[str, Callable[[str], Awaitable[object]]]:
    """Return everything that takes an mfa_token."""
    return {
        "otp": lambda token: api.otp(client, token, "123456"),
        "oob": lambda token: api.oob(client, token, "AAAA", "123456"),
        "recovery": lambda token: api.recovery(client, token, "A" * 24),
        "challenge": lambda token: api.challenge(client, token),
        "list": api.list,
        "enroll": api.enroll,
    }


def like(grant: str, bearer: str) -> dict[str, str]:
    """Return what grants and challenges say, and what calls by bearer token say."""
    return {**dict.fromkeys(("otp", "oob", "recovery", "challenge"), grant), "list": bearer, "enroll": bearer}


async def said_of(api: Api, client: ClientCredentials, token: str) -> dict[str, str]:
    return {name: await reason(use(token)) for name, use in uses(api, client).items()}


async def test_what_is_no_mfa_token_is_malformed_everywhere(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope="openid offline_access")
    login = await logged_in_to_mfa(api, client)
    token, issued = login.mfa_token, user.tokens
    wrong = {
        "one letter": "x",
        "garbage": "Fe26.2*garbage",
        "half": token[: len(token) // 2],
        "without its end": token[:-1],
        "with more": f"{token}A",
        "padded": f"{token}=",
        "twice": token * 2,
        "an access token": issued.access_token,
        "an id_token": issued.id_token,
        "a refresh token": issued.refresh_token,
        "three empty parts": "..",
    }

    said = {name: await said_of(api, client, text) for name, text in wrong.items()}

    assert said == {name: like("MFA_TOKEN_MALFORMED", "BEARER_INVALID") for name in wrong}


async def test_an_mfa_token_that_is_over_says_so_everywhere(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    world.clock.advance(600)

    said = await said_of(api, client, login.mfa_token)

    assert said == like("MFA_TOKEN_EXPIRED", "MFA_TOKEN_EXPIRED")


async def test_an_mfa_token_that_is_used_up_is_stale_everywhere(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)

    said = await said_of(api, client, user.mfa_token)

    assert said == {**like("MFA_TOKEN_STALE", "MFA_TOKEN_STALE"), "oob": "OOB_CODE_MALFORMED"}


async def test_the_mfa_token_of_who_was_deleted_is_stale_everywhere(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    await world.app.operators.delete_user("default", ALICE)

    said = await said_of(api, client, login.mfa_token)

    assert said == {**like("MFA_TOKEN_STALE", "MFA_TOKEN_STALE"), "oob": "OOB_CODE_MALFORMED"}


async def test_the_mfa_token_of_who_was_blocked_is_stale_everywhere(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    await world.app.operators.set_blocked("default", ALICE, blocked=True)

    said = await said_of(api, client, login.mfa_token)

    assert said == {**like("MFA_TOKEN_STALE", "MFA_TOKEN_STALE"), "oob": "OOB_CODE_MALFORMED"}


async def test_the_mfa_token_of_another_issuer_is_malformed_everywhere(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    sealed = TokenSealer(world.keyring, ISSUER).open("mfa_token", login.mfa_token)
    foreign = TokenSealer(world.keyring, "https://other.example.test/").seal("mfa_token", sealed)

    said = await said_of(api, client, foreign)

    assert said == like("MFA_TOKEN_MALFORMED", "BEARER_INVALID")


@pytest.mark.requirement("S106")
async def test_an_mfa_token_with_one_letter_changed_is_malformed(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    code = world.otp(user.secret)

    said = {await reason(api.otp(client, token, code)) for token in changed(login.mfa_token)}

    assert said == {"MFA_TOKEN_MALFORMED"}


def changed(token: str) -> list[str]:
    """Return the token with every letter changed in turn, by its lowest bit."""
    return [
        token[:at] + ALPHABET[ALPHABET.index(letter) ^ 1] + token[at + 1 :]
        for at, letter in enumerate(token)
        if letter in ALPHABET
    ]


@pytest.mark.requirement("S106")
async def test_no_token_serves_as_a_refresh_token(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope="openid offline_access")
    login = await logged_in_to_mfa(api, client)

    for token in (login.mfa_token, user.tokens.access_token, user.tokens.id_token, "x", "a.b.c.d", "a.b.1.c"):
        assert await reason(api.refresh(client, token)) == "REFRESH_TOKEN_INVALID"


@pytest.mark.requirement("S106")
async def test_no_token_serves_as_an_oob_code(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    for token in (login.mfa_token, user.tokens.access_token, "garbage", "Fe26.2*SERVER_x"):
        assert await reason(api.oob(client, login.mfa_token, token, "123456")) == "OOB_CODE_MALFORMED"
