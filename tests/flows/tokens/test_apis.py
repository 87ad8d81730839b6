"""APIs: a client asks for the scopes that are registered, and for no others."""

from typing import Any

import pytest
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.apis import Api as ResourceServer
from cofactor_server.errors import InvalidRequest
from cofactor_server.services.policy.apis import InUse
from cofactor_server.services.transactions.refusals import Conflict, Missing

from tests.support.flows.api import Api, MfaRequired, Tokens
from tests.support.flows.steps import ALICE, a, enrolled, read, reason, refusal, shop
from tests.support.world import API, ISSUER, PASSWORD, World

ORDERS = ResourceServer(API, "Orders", 0, ("read:orders", "write:orders"), 300, "ES256")


@pytest.mark.requirement("S107")
async def test_tokens_for_an_api_live_as_long_and_are_signed_as_it_says(api: Api, world: World) -> None:
    await world.app.apis.create(ORDERS)
    client = await shop(world)

    tokens = (await enrolled(api, world, client, scope="openid read:orders offline_access")).tokens
    refreshed = a(Tokens, await api.refresh(client, tokens.refresh_token, scope="read:orders"))

    for issued in (tokens, refreshed):
        header, claims = await read(api, issued.access_token)
        assert (header["alg"], claims["exp"] - claims["iat"], issued.expires_in) == ("ES256", 300, 300)
        assert API in claims["aud"]
    assert (await read(api, tokens.id_token))[0]["alg"] == "RS256"


@pytest.mark.parametrize("scope", ["admin", "read:orders admin", "READ:ORDERS", "read:authenticators"])
async def test_a_scope_that_the_api_does_not_have_is_refused(api: Api, world: World, scope: str) -> None:
    await world.app.apis.create(ORDERS)
    client = await shop(world)
    await world.user()

    refused = await refusal(api.password(client, ALICE, PASSWORD, scope=scope))
    unknown_user = await refusal(api.password(client, "nobody", PASSWORD, scope=scope))

    assert (refused.reason, refused.text) == ("INVALID_SCOPE", "The scope is not allowed for this grant.")
    assert unknown_user.reason == refused.reason


@pytest.mark.parametrize("audiences", [(API,), ()], ids=["unregistered", "no audience"])
async def test_where_no_api_is_registered_there_are_the_standard_scopes_alone(
    api: Api, world: World, audiences: tuple[str, ...]
) -> None:
    client = await shop(world, audiences=audiences)
    standard = "openid profile email offline_access"

    user = await enrolled(api, world, client, scope=standard)

    assert user.tokens.scope == standard
    for scope in ("read:orders", "openid admin", "enroll"):
        assert await reason(api.password(client, ALICE, PASSWORD, scope=scope)) == "INVALID_SCOPE"


async def test_an_audience_that_is_not_the_clients_is_refused_registered_or_not(api: Api, world: World) -> None:
    await world.app.apis.create(ResourceServer("https://billing.example.test/", "Billing", 0))
    client = await shop(world)
    await world.user()
    for audience in ("https://billing.example.test/", "https://nowhere.example.test/"):
        assert await reason(api.password(client, ALICE, PASSWORD, audience=audience)) == "AUDIENCE_NOT_ALLOWED"


async def test_a_refresh_gives_no_scope_that_was_taken_from_its_api(api: Api, world: World) -> None:
    await world.app.apis.create(ORDERS)
    client = await shop(world)
    granted = (await enrolled(api, world, client, scope="openid read:orders write:orders offline_access")).tokens

    await world.app.apis.update(API, lambda known: replace(known, scopes=("read:orders",)))
    asked_for = await reason(api.refresh(client, granted.refresh_token, scope="write:orders"))
    refreshed = a(Tokens, await api.refresh(client, granted.refresh_token))

    assert asked_for == "INVALID_SCOPE"
    assert refreshed.scope == "openid read:orders offline_access"
    assert (await read(api, refreshed.access_token))[1]["scope"] == refreshed.scope


async def test_an_api_is_changed_for_the_clients_that_it_has(api: Api, world: World) -> None:
    await world.app.apis.create(ORDERS)
    client = await shop(world)
    await enrolled(api, world, client, scope="openid")

    changed = await world.app.apis.update(API, lambda known: replace(known, scopes=(*known.scopes, "ship:orders")))
    outcome = await api.password(client, ALICE, PASSWORD, scope="ship:orders")
    with pytest.raises(InvalidRequest):
        await world.app.apis.update(API, lambda known: replace(known, access_token_seconds=1))
    with pytest.raises(Missing):
        await world.app.apis.update("https://nowhere.example.test/", lambda known: known)

    assert isinstance(outcome, MfaRequired)
    assert await world.app.apis.listed() == [changed]


async def test_an_api_that_clients_use_stays(world: World) -> None:
    apis = world.app.apis
    await apis.create(ORDERS)
    client, _ = await world.client()
    with pytest.raises(InUse, match="Shop"):
        await apis.delete(API)
    await world.app.operators.delete_client(client.id)
    await apis.delete(API)
    assert await apis.listed() == []
    with pytest.raises(Missing):
        await apis.delete(API)


async def test_an_api_is_registered_once_and_kept_as_it_was(world: World) -> None:
    await world.app.apis.create(ORDERS)
    with pytest.raises(Conflict):
        await world.app.apis.create(ResourceServer(API, "Another", 0))
    assert await world.app.apis.listed() == [ORDERS]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("audience", f"{ISSUER}mfa/"),
        ("audience", f"{ISSUER}mfa"),
        ("audience", f"{ISSUER}userinfo"),
        ("audience", ""),
        ("audience", "two words"),
        ("name", ""),
        ("scopes", ("two words",)),
        ("scopes", ("openid",)),
        ("scopes", ("",)),
        ("access_token_seconds", 59),
        ("access_token_seconds", 2_592_001),
    ],
)
async def test_what_can_be_no_api_is_refused(world: World, member: str, value: object) -> None:
    wanted: dict[str, Any] = {"audience": API, "name": "Orders", "created_at": 0, member: value}
    with pytest.raises(InvalidRequest) as refused:
        await world.app.apis.create(ResourceServer(**wanted))
    assert [name for name, _ in refused.value.violations] == [member]
