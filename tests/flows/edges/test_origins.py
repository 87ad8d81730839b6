"""Pages of which origins may read the answers: CORS."""

import pytest
from cofactor_server.errors import InvalidRequest
from cofactor_server.store.transactions.database import DatabaseAway

from tests.support.flows.api import RestApi
from tests.support.flows.steps import ALICE, shop
from tests.support.world import PASSWORD, World

APP = "https://app.example.test"
OTHER = "https://other.example.test"
ASKS = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
ALLOW = "access-control-allow-origin"
PATHS = [
    "/oauth/token",
    "/oauth/revoke",
    "/mfa/challenge",
    "/mfa/authenticators",
    "/userinfo",
    "/.well-known/jwks.json",
]


async def _away(_: object) -> None:
    raise DatabaseAway


async def test_no_origin_is_allowed_unless_a_client_was_given_it(rest_api: RestApi, world: World) -> None:
    await shop(world, public=True)
    for path in PATHS:
        preflight = await rest_api.http.options(path, headers={"origin": APP, **ASKS})
        assert preflight.status_code == 405
        assert not [name for name in preflight.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", PATHS)
async def test_a_preflight_of_a_clients_origin_is_answered(rest_api: RestApi, world: World, path: str) -> None:
    await shop(world, public=True, origins=(APP,))

    preflight = await rest_api.http.options(path, headers={"origin": APP, **ASKS})
    foreign = await rest_api.http.options(path, headers={"origin": OTHER, **ASKS})

    assert (preflight.status_code, preflight.content) == (204, b"")
    assert preflight.headers[ALLOW] == APP
    assert preflight.headers["vary"] == "Origin"
    assert preflight.headers["access-control-allow-headers"] == "Authorization, Content-Type, Auth0-Client, DPoP"
    assert "access-control-allow-credentials" not in preflight.headers
    assert ALLOW not in foreign.headers


async def test_an_answer_is_for_pages_of_its_own_client(rest_api: RestApi, world: World) -> None:
    mine, _ = await shop(world, public=True, origins=(APP,))
    theirs, _ = await shop(world, public=True, origins=(OTHER,))
    await world.user()

    async def allowed(client_id: str, origin: str) -> str | None:
        body = {"client_id": client_id, "grant_type": "password", "username": ALICE, "password": PASSWORD}
        answer = await rest_api.http.post("/oauth/token", json=body, headers={"origin": origin})
        assert answer.status_code == 403
        assert "Origin" in answer.headers["vary"]
        assert ("access-control-expose-headers" in answer.headers) == (ALLOW in answer.headers)
        return answer.headers.get(ALLOW)

    assert await allowed(mine, APP) == APP
    assert await allowed(mine, OTHER) is None
    assert await allowed(theirs, APP) is None
    assert await allowed(mine, "null") is None
    assert await allowed(mine, "https://app.example.test.evil.example") is None
    assert await allowed(mine, "x" * 300) is None


@pytest.mark.parametrize("path", ["/oauth/introspect", "/openapi.json", "/demo/outbox", "/livez"])
async def test_what_is_not_for_pages_never_is(rest_api: RestApi, world: World, path: str) -> None:
    await shop(world, public=True, origins=(APP,))
    for method in ("OPTIONS", "GET", "POST"):
        answer = await rest_api.http.request(method, path, headers={"origin": APP, **ASKS})
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_page_hears_how_long_to_wait(rest_api: RestApi, world: World) -> None:
    client_id, _ = await shop(world, public=True, origins=(APP,))
    body = {"client_id": client_id, "grant_type": "password", "username": ALICE, "password": "wrong"}
    answers = [await rest_api.http.post("/oauth/token", json=body, headers={"origin": APP}) for _ in range(11)]
    answer = answers[-1]
    assert answer.status_code == 429
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {name for name in answer.headers if name.startswith("x-ratelimit-")} | {"retry-after"}


async def test_a_page_hears_that_the_database_is_away(rest_api: RestApi, world: World) -> None:
    client_id, _ = await shop(world, public=True, origins=(APP,))
    body = {"client_id": client_id, "grant_type": "password", "username": ALICE, "password": PASSWORD}
    await rest_api.http.options("/oauth/token", headers={"origin": APP, **ASKS})
    world.clock.advance(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.app.database, "read", _away)
        answer = await rest_api.http.post("/oauth/token", json=body, headers={"origin": APP})
    assert (answer.status_code, answer.headers[ALLOW]) == (503, APP)


async def test_an_origin_that_is_taken_away_is_refused_within_seconds(rest_api: RestApi, world: World) -> None:
    client_id, _ = await shop(world, public=True, origins=(APP,))
    ask = {"origin": APP, **ASKS}
    assert (await rest_api.http.options("/oauth/token", headers=ask)).status_code == 204
    await world.app.operators.delete_client(client_id)
    world.clock.advance(5)
    assert (await rest_api.http.options("/oauth/token", headers=ask)).status_code == 405


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "null", "", "https://*.example.com", "http://app.example.com", "https://app.example.com/"),
        *("https://APP.example.com", "https://app.example.com:443", "https://user@app.example.com", "file:///"),
        *("https://app.example.com?x", "app.example.com", "https://app.example.com:99999", "https://zoë.example"),
    ],
)
async def test_what_no_browser_sends_safely_is_not_registered(world: World, origin: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await world.client(origins=(origin,))
    assert [name for name, _ in refused.value.violations] == ["origins"]


async def test_a_developers_own_machine_may_be_an_origin(world: World) -> None:
    origins = ("http://localhost:3000", "http://127.0.0.1:8080", "https://app.example:8443")
    client, _ = await world.client(origins=origins)
    assert client.origins == origins
