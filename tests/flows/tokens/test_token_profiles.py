"""The form of access tokens: RFC 9068 by default, or that of Auth0's default tokens where an API asks for it."""

from typing import Any

import pytest
from cofactor.verifier import TokenInvalid, Verifier, aio_grpc_keys
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.apis import Api as ResourceServer
from cofactor_server.domain.parties.apis import TokenProfile

from tests.flows.tokens.test_user_info import told
from tests.support.flows.api import Api, Tokens
from tests.support.flows.steps import a, enrolled, mfa_access_token, read, reason, shop
from tests.support.world import API, ISSUER, World

ORDERS = ResourceServer(API, "Orders", 0, ("read:orders",), token_profile=TokenProfile.AUTH0)
SCOPE = "openid read:orders offline_access"


@pytest.fixture
async def issued(api: Api, world: World) -> Any:
    """A client, and tokens of a login with two factors for an API of Auth0's profile."""
    await world.app.apis.create(ORDERS)
    client = await shop(world)
    return client, (await enrolled(api, world, client, scope=SCOPE)).tokens


async def test_auth0s_profile_has_its_type_and_names_the_client_in_azp(api: Api, issued: Any) -> None:
    client, tokens = issued

    header, claims = await read(api, tokens.access_token)

    assert (header["typ"], header["alg"], claims["azp"]) == ("JWT", "RS256", client[0])
    assert "client_id" not in claims
    assert {"iss", "sub", "aud", "iat", "exp", "scope", "jti", "acr", "amr", "auth_time"} <= claims.keys()
    assert (claims["acr"], "mfa" in claims["amr"]) == ("urn:cofactor:acr:mfa", True)


async def test_the_default_profile_is_rfc_9068(api: Api, world: World) -> None:
    await world.app.apis.create(replace(ORDERS, token_profile=TokenProfile.RFC9068))
    client = await shop(world)

    header, claims = await read(api, (await enrolled(api, world, client, scope=SCOPE)).tokens.access_token)

    assert (header["typ"], claims["client_id"], "azp" in claims) == ("at+jwt", client[0], False)
    assert ResourceServer(API, "Orders", 0).token_profile is TokenProfile.RFC9068


async def test_a_token_of_auth0s_profile_is_introspected_revoked(api: Api, issued: Any) -> None:
    client, tokens = issued

    assert (await told(api, tokens.access_token))["sub"]
    active = await api.introspect(client, tokens.access_token)
    await api.revoke(client, tokens.access_token)

    assert (active["active"], active["client_id"]) == (True, client[0])
    assert await api.introspect(client, tokens.access_token) == {"active": False}


async def test_a_refresh_keeps_the_profile_and_a_change_of_the_api_reaches_the_next_token(
    api: Api, world: World, issued: Any
) -> None:
    client, tokens = issued

    second = a(Tokens, await api.refresh(client, tokens.refresh_token))
    await world.app.apis.update(API, lambda found: replace(found, token_profile=TokenProfile.RFC9068))
    third = a(Tokens, await api.refresh(client, second.refresh_token))

    assert [(await read(api, found.access_token))[0]["typ"] for found in (second, third)] == ["JWT", "at+jwt"]


async def test_an_id_token_is_no_access_token_although_their_types_are_alike(api: Api, issued: Any) -> None:
    client, tokens = issued

    assert (await read(api, tokens.id_token))[0]["typ"] == "JWT"
    assert await api.introspect(client, tokens.id_token) == {"active": False}
    assert await reason(api.list(tokens.id_token)) == "BEARER_INVALID"


async def test_the_mfa_audience_keeps_rfc_9068(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    token = await mfa_access_token(api, world, client, user)

    assert (await read(api, token))[0]["typ"] == "at+jwt"


async def test_the_verifier_takes_the_profile_that_it_was_told_and_no_other(
    world: World, api: Api, issued: Any
) -> None:
    _, tokens = issued
    keys = await aio_grpc_keys(world.app.local_channel())()
    now = world.clock.now() / 1_000_000

    def verify(profile: Any, token: str) -> Any:
        return Verifier(ISSUER, API, keys=lambda: keys, clock=lambda: now, profile=profile).verify(token)

    assert verify("auth0", tokens.access_token).client_id == issued[0][0]
    with pytest.raises(TokenInvalid):
        verify("rfc9068", tokens.access_token)
    with pytest.raises(TokenInvalid):
        verify("auth0", tokens.id_token)
    with pytest.raises(ValueError, match="profile"):
        verify("okta", tokens.access_token)
