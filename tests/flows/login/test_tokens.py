import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from cofactor_server.domain.parties.clients import GrantType
from cofactor_server.domain.parties.users import MfaPolicy

from tests.support.flows.api import Api, Tokens
from tests.support.flows.steps import (
    ALICE,
    ORDERS,
    a,
    enrolled,
    logged_in,
    logged_in_to_mfa,
    mfa_access_token,
    read,
    reason,
    shop,
)
from tests.support.world import API, ISSUER, PASSWORD, USER_GRANTS, World

USERINFO = f"{ISSUER}userinfo"


@pytest.mark.requirement("S107", "S130", "S151", "S152", "S153", "S154")
@pytest.mark.usefixtures("scopes")
async def test_an_access_token_says_who_logged_in_how_and_for_what(api: Api, world: World) -> None:
    client = await shop(world)
    user = await world.user()
    alice = await enrolled(api, world, client, create=False)
    bearer = await mfa_access_token(api, world, client, alice)
    (app,) = [row.id for row in await api.list(bearer) if row.type == "otp"]
    world.clock.advance(60)
    now = world.clock.now() // 1_000_000

    tokens = await logged_in(api, world, client, alice, scope="read:cart", audience=API)

    header, claims = await read(api, tokens.access_token)
    assert (header["typ"], header["alg"]) == ("at+jwt", "RS256")
    jti = claims.pop("jti")
    assert len(jti) >= 16
    assert claims == {
        "iss": ISSUER,
        "sub": user.id,
        "aud": [API],
        "client_id": client[0],
        "iat": now,
        "exp": now + 86_400,
        "auth_time": now,
        "acr": "urn:cofactor:acr:mfa",
        "amr": ["pwd", "otp", "mfa"],
        "scope": "read:cart",
        "epoch": 1,
        "authenticators": [app],
    }
    assert tokens.expires_in == 86_400


async def test_an_access_token_is_signed_as_its_client_wants(api: Api, world: World) -> None:
    client = await shop(world, algorithm="ES256")
    alice = await enrolled(api, world, client)

    header, _ = await read(api, alice.tokens.access_token)

    assert header["alg"] == "ES256"


@pytest.mark.requirement("S154")
async def test_the_published_keys_are_public_and_named_by_the_tokens(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)

    keys = await api.keys()

    assert {key["alg"]: set(key) for key in keys} == {
        "RS256": {"kty", "kid", "use", "alg", "n", "e"},
        "ES256": {"kty", "kid", "use", "alg", "crv", "x", "y"},
    }
    assert _header(alice.tokens.access_token)["kid"] in {key["kid"] for key in keys}


@pytest.mark.requirement("S154")
async def test_an_id_token_comes_with_openid(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    now = world.clock.now() // 1_000_000

    tokens = await logged_in(api, world, client, alice, scope="openid profile")

    header, claims = await read(api, tokens.id_token)
    _, of_access = await read(api, tokens.access_token)
    assert (header["typ"], header["alg"]) == ("JWT", "RS256")
    assert claims == {
        "iss": ISSUER,
        "sub": of_access["sub"],
        "aud": client[0],
        "iat": now,
        "exp": now + 86_400,
        "auth_time": now,
        "acr": "urn:cofactor:acr:mfa",
        "amr": ["pwd", "otp", "mfa"],
        "at_hash": urlsafe_b64encode(hashlib.sha256(tokens.access_token.encode()).digest()[:16])[:-2].decode(),
    }
    assert of_access["aud"] == [API, USERINFO]


async def test_there_is_no_id_token_without_openid(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)

    tokens = await logged_in(api, world, client, alice, scope="profile")

    assert tokens.id_token == ""


async def test_an_id_token_stays_rs256_where_access_tokens_are_es256(api: Api, world: World) -> None:
    client = await shop(world, algorithm="ES256")

    alice = await enrolled(api, world, client, scope="openid")

    assert _header(alice.tokens.id_token)["alg"] == "RS256"


@pytest.mark.parametrize(
    ("scope", "may_refresh", "granted", "refreshes"),
    [
        ("offline_access read:cart", True, "offline_access read:cart", True),
        ("read:cart", True, "read:cart", False),
        ("offline_access read:cart", False, "read:cart", False),
        ("", True, "", False),
    ],
)
@pytest.mark.usefixtures("scopes")
async def test_a_refresh_token_takes_the_scope_and_the_grant(
    api: Api, world: World, scope: str, may_refresh: bool, granted: str, refreshes: bool
) -> None:
    grants = USER_GRANTS if may_refresh else USER_GRANTS - {GrantType.REFRESH_TOKEN}
    client = await shop(world, grant_types=grants)

    alice = await enrolled(api, world, client, scope=scope)

    assert (alice.tokens.scope, alice.tokens.refresh_token != "") == (granted, refreshes)


@pytest.mark.usefixtures("scopes")
async def test_scope_and_audience_are_those_of_the_first_request(api: Api, world: World) -> None:
    client = await shop(world, audiences=(API, ORDERS))
    alice = await enrolled(api, world, client)

    tokens = await logged_in(api, world, client, alice, scope="openid read:cart", audience=ORDERS)

    _, claims = await read(api, tokens.access_token)
    assert (tokens.scope, claims["scope"], claims["aud"]) == (
        "openid read:cart",
        "openid read:cart",
        [ORDERS, USERINFO],
    )


async def test_the_default_audience_is_the_clients_first(api: Api, world: World) -> None:
    client = await shop(world, audiences=(ORDERS, API))

    alice = await enrolled(api, world, client)

    _, claims = await read(api, alice.tokens.access_token)
    assert claims["aud"] == [ORDERS]


async def test_a_client_without_audiences_gets_tokens_for_the_userinfo_endpoint_alone(api: Api, world: World) -> None:
    client = await shop(world, audiences=())

    alice = await enrolled(api, world, client)

    _, claims = await read(api, alice.tokens.access_token)
    assert claims["aud"] == [USERINFO]


@pytest.mark.parametrize("audience", [ORDERS, "https://api.example.test", "https://auth.example.test/mfa/x", USERINFO])
async def test_an_audience_that_is_not_the_clients_is_refused(api: Api, world: World, audience: str) -> None:
    client = await shop(world)
    await world.user()

    assert await reason(api.password(client, ALICE, PASSWORD, audience=audience)) == "AUDIENCE_NOT_ALLOWED"


async def test_without_a_second_factor_a_token_says_so(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(mfa_policy=MfaPolicy.NEVER)

    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD))

    _, claims = await read(api, tokens.access_token)
    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:1fa", ["pwd"])


@pytest.mark.requirement("S120")
async def test_a_recovery_code_raises_no_token_to_mfa(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    tokens = a(Tokens, await api.recovery(client, login.mfa_token, alice.recovery_code))

    _, claims = await read(api, tokens.access_token)
    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:mfa-low", ["pwd"])


@pytest.mark.requirement("S134")
async def test_auth_time_is_when_the_factor_was_shown_not_the_password(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    world.clock.advance(100)

    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(alice.secret)))

    _, claims = await read(api, tokens.access_token)
    assert claims["auth_time"] == world.clock.now() // 1_000_000


@pytest.mark.requirement("S47")
async def test_no_two_tokens_have_one_id(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)

    tokens = [alice.tokens, *[await logged_in(api, world, client, alice) for _ in range(3)]]

    assert len({(await read(api, t.access_token))[1]["jti"] for t in tokens}) == 4


async def test_two_clients_know_a_user_by_one_name(api: Api, world: World) -> None:
    client, other = await shop(world), await shop(world)
    alice = await enrolled(api, world, client)

    tokens = await logged_in(api, world, other, alice)

    subjects = {(await read(api, t.access_token))[1]["sub"] for t in (alice.tokens, tokens)}
    assert len(subjects) == 1
    assert ALICE not in subjects


def _header(token: str) -> dict[str, Any]:
    encoded = token.partition(".")[0]
    header: dict[str, Any] = json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return header
