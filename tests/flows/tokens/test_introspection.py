import pytest

from tests.support.flows.api import Api, Tokens
from tests.support.flows.steps import (
    ALICE,
    a,
    enrolled,
    logged_in,
    logged_in_to_mfa,
    mfa_access_token,
    read,
    reason,
    shop,
)
from tests.support.world import API, ISSUER, World

pytestmark = pytest.mark.usefixtures("scopes")
SCOPE = "openid offline_access read:cart"
INACTIVE = {"active": False}


@pytest.mark.requirement("S130")
async def test_a_client_learns_what_its_access_token_says(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope=SCOPE)
    _, claims = await read(api, user.tokens.access_token)

    said = await api.introspect(client, user.tokens.access_token)

    names = ("iss", "sub", "aud", "client_id", "scope", "jti", "iat", "exp", "auth_time", "acr", "amr")
    assert said == {"active": True, "token_type": "access_token", **{name: claims[name] for name in names}}


async def test_a_client_learns_what_its_refresh_token_says(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope=SCOPE)
    _, claims = await read(api, user.tokens.access_token)

    said = await api.introspect(client, user.tokens.refresh_token)

    assert said.pop("jti")
    assert said == {
        "active": True,
        "token_type": "refresh_token",
        "iss": ISSUER,
        "sub": claims["sub"],
        "aud": [API],
        "client_id": client[0],
        "scope": SCOPE,
        "iat": claims["iat"],
        "exp": claims["iat"] + 30 * 86_400,
        "auth_time": claims["auth_time"],
        "acr": claims["acr"],
        "amr": claims["amr"],
    }


async def test_a_resource_server_learns_of_tokens_for_its_audience(api: Api, world: World) -> None:
    client = await shop(world)
    resource_server = await shop(world, grant_types=frozenset())
    stranger = await shop(world, audiences=("https://orders.example.test/",))
    user = await enrolled(api, world, client, scope=SCOPE)

    assert (await api.introspect(resource_server, user.tokens.access_token))["active"] is True
    assert await api.introspect(stranger, user.tokens.access_token) == INACTIVE
    assert await api.introspect(resource_server, user.tokens.refresh_token) == INACTIVE


async def test_what_is_no_token_of_ours_is_inactive(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope=SCOPE)
    login = await logged_in_to_mfa(api, client)
    access, refresh = user.tokens.access_token, user.tokens.refresh_token
    head, body, _ = access.split(".")

    others = {
        "garbage": "garbage",
        "dots": "a.b.c",
        "four parts": "a.b.1.c",
        "no signature": f"{head}.{body}.",
        "mfa_token": login.mfa_token,
        "id_token": user.tokens.id_token,
        "forged refresh token": f"{refresh[:-4]}AAAA",
        "longer": f"{access}A",
    }

    assert {name: await api.introspect(client, token) for name, token in others.items()} == dict.fromkeys(
        others, INACTIVE
    )


@pytest.mark.requirement("S155")
async def test_a_token_whose_time_is_over_is_inactive(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope=SCOPE)

    world.clock.advance(86_400)
    access = await api.introspect(client, user.tokens.access_token)
    world.clock.advance(29 * 86_400)
    refresh = await api.introspect(client, user.tokens.refresh_token)

    assert (access, refresh) == (INACTIVE, INACTIVE)


async def test_a_rotated_refresh_token_is_inactive(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope=SCOPE)
    tokens = a(Tokens, await api.refresh(client, user.tokens.refresh_token))

    assert await api.introspect(client, user.tokens.refresh_token) == INACTIVE
    assert (await api.introspect(client, tokens.refresh_token))["active"] is True


async def test_the_tokens_of_who_is_blocked_are_inactive(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope=SCOPE)
    await world.app.operators.set_blocked("default", ALICE, blocked=True)

    assert await api.introspect(client, user.tokens.access_token) == INACTIVE
    assert await api.introspect(client, user.tokens.refresh_token) == INACTIVE


async def test_a_public_client_may_not_ask(api: Api, world: World) -> None:
    client = await shop(world, public=True)
    user = await enrolled(api, world, client)

    assert await reason(api.introspect(client, user.tokens.access_token)) == "CALLER_NOT_ALLOWED"


async def test_a_revoked_access_token_is_inactive_and_manages_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)

    await api.revoke(client, bearer)

    assert await api.introspect(client, bearer) == INACTIVE
    assert await reason(api.list(bearer)) == "BEARER_INVALID"
    assert await reason(api.enroll(bearer)) == "BEARER_INVALID"


async def test_revoking_any_generation_ends_the_family(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope=SCOPE)
    newest = a(Tokens, await api.refresh(client, user.tokens.refresh_token)).refresh_token

    await api.revoke(client, user.tokens.refresh_token)

    assert await reason(api.refresh(client, newest)) == "REFRESH_TOKEN_INVALID"


async def test_revoking_twice_is_as_good_as_once(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope=SCOPE)

    for token in (user.tokens.access_token, user.tokens.refresh_token) * 2:
        await api.revoke(client, token)

    assert await api.introspect(client, user.tokens.access_token) == INACTIVE


async def test_what_is_another_clients_is_revoked_by_nobody_else_and_nobody_is_told(api: Api, world: World) -> None:
    client, other = await shop(world), await shop(world)
    user = await enrolled(api, world, client, scope=SCOPE)

    for token in (user.tokens.access_token, user.tokens.refresh_token, "garbage"):
        await api.revoke(other, token)

    assert (await api.introspect(client, user.tokens.access_token))["active"] is True
    a(Tokens, await api.refresh(client, user.tokens.refresh_token))


async def test_revoking_one_login_leaves_the_others(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope=SCOPE)
    other = await logged_in(api, world, client, user, scope=SCOPE)

    await api.revoke(client, user.tokens.refresh_token)
    await api.revoke(client, user.tokens.access_token)

    assert (await api.introspect(client, other.access_token))["active"] is True
    a(Tokens, await api.refresh(client, other.refresh_token))
