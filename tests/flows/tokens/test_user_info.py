"""Who the user of an access token is: user info, over both edges."""

from typing import Any

import pytest
from cofactor.v1 import tokens_pb2

from tests.support.flows.api import Api, GrpcApi, Refused, RestApi
from tests.support.flows.grpc_api import call
from tests.support.flows.rest_api import refusal_in
from tests.support.flows.steps import ALICE, enrolled, mfa_access_token, shop
from tests.support.world import World


async def told(api: Api, token: str) -> dict[str, Any]:
    """Ask, with a token in the header."""
    if isinstance(api, GrpcApi):
        bearer = (("authorization", f"Bearer {token}"),) if token else ()
        answer = await call(api.tokens.GetUserInfo(tokens_pb2.GetUserInfoRequest(), metadata=bearer))
        return {field.name: value for field, value in answer.ListFields()}
    assert isinstance(api, RestApi)
    response = await api.http.get("/userinfo", headers={"authorization": f"Bearer {token}"} if token else {})
    if response.status_code != 200:
        raise refusal_in(response)
    said: dict[str, Any] = response.json()
    return said


@pytest.mark.parametrize(
    ("scope", "members"),
    [
        ("openid", set()),
        ("openid profile", {"name", "preferred_username"}),
        ("openid email", {"email", "email_verified"}),
        ("openid profile email", {"name", "preferred_username", "email", "email_verified"}),
    ],
)
async def test_a_token_tells_as_much_of_its_user_as_its_scopes_allow(
    api: Api, world: World, scope: str, members: set[str]
) -> None:
    client = await shop(world)
    created = await world.user(email="alice@example.com", email_verified=True)
    user = await enrolled(api, world, client, scope=scope, create=False)

    said = await told(api, user.tokens.access_token)

    everything = {
        "sub": created.id,
        "name": ALICE,
        "preferred_username": ALICE,
        "email": "alice@example.com",
        "email_verified": True,
    }
    assert said == {name: value for name, value in everything.items() if name in members | {"sub"}}


async def test_an_address_that_nobody_verified_is_told_as_such(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(email="alice@example.com")
    user = await enrolled(api, world, client, scope="openid email", create=False)
    assert (await told(api, user.tokens.access_token))["email_verified"] is False


@pytest.mark.requirement("S106", "S107")
@pytest.mark.parametrize("event", ["revoked", "blocked", "client deleted", "expired", "another audience", "id_token"])
async def test_a_token_that_is_no_good_any_more_tells_nothing(api: Api, world: World, event: str) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client, scope="openid")
    token = user.tokens.access_token
    match event:
        case "revoked":
            await api.revoke(client, token)
        case "blocked":
            await world.app.operators.set_blocked("default", ALICE, blocked=True)
        case "client deleted":
            await world.app.operators.delete_client(client[0])
        case "expired":
            world.clock.advance(86_400)
        case "another audience":
            token = await mfa_access_token(api, world, client, user)
        case "id_token":
            token = user.tokens.id_token

    with pytest.raises(Refused) as refused:
        await told(api, token)

    assert refused.value.reason in {"ACCESS_TOKEN_INVALID", "invalid_token"}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_user_info_refuses_as_rfc_6750_has_it(rest_api: RestApi, world: World, method: str) -> None:
    client = await shop(world, audiences=())
    unscoped = (await enrolled(rest_api, world, client)).tokens.access_token

    async def ask(**headers: str) -> tuple[int, str, str]:
        answer = await rest_api.http.request(method, "/userinfo?access_token=in-the-query", headers=headers)
        assert answer.headers["cache-control"] == "no-store"
        return answer.status_code, answer.json()["error"], answer.headers["www-authenticate"]

    assert await ask() == (401, "access_denied", "Bearer")
    text = "The access token is invalid, expired or revoked."
    invalid = (401, "invalid_token", f'Bearer error="invalid_token", error_description="{text}"')
    assert await ask(authorization="Bearer a.b.c") == invalid
    assert await ask(authorization="Bearer an mfa token") == invalid
    assert await ask(authorization=f"Bearer {unscoped}") == (
        403,
        "insufficient_scope",
        'Bearer error="insufficient_scope", scope="openid"',
    )


async def test_discovery_names_what_is_served_and_may_be_kept_a_while(rest_api: RestApi) -> None:
    for path in ("openid-configuration", "oauth-authorization-server", "jwks.json", "keys.json"):
        answer = await rest_api.http.get(f"/.well-known/{path}")
        assert answer.headers["cache-control"] == "public, max-age=300"
    said = (await rest_api.http.get("/.well-known/openid-configuration")).json()
    assert said["userinfo_endpoint"] == f"{said['issuer']}userinfo"
    assert "private_key_jwt" in said["token_endpoint_auth_methods_supported"]
    assert said["token_endpoint_auth_signing_alg_values_supported"] == ["RS256", "RS384", "PS256", "ES256"]
