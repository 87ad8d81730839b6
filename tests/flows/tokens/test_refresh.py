import pytest
from cofactor_server.domain.parties.users import MfaPolicy

from tests.support.flows.api import Api, ClientCredentials, MfaRequired, Tokens
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    PERIOD,
    Enrolled,
    a,
    enrolled,
    read,
    reason,
    refusal,
    shop,
)
from tests.support.world import API, ISSUER, PASSWORD, World

pytestmark = pytest.mark.usefixtures("scopes")
SCOPE = "openid offline_access read:cart write:cart"
MFA = f"{ISSUER}mfa/"
DAY = 86_400


async def refreshable(api: Api, world: World) -> tuple[ClientCredentials, Enrolled, str]:
    client = await shop(world, audiences=(API, "https://orders.example.test/"))
    user = await enrolled(api, world, client, scope=SCOPE)
    return client, user, user.tokens.refresh_token


@pytest.mark.requirement("S110", "S203")
async def test_a_refresh_rotates_and_asks_for_nothing(api: Api, world: World) -> None:
    client, user, first = await refreshable(api, world)

    tokens = a(Tokens, await api.refresh(client, first))

    assert tokens.refresh_token not in ("", first)
    assert tokens.access_token != user.tokens.access_token
    assert (tokens.scope, tokens.id_token != "") == (SCOPE, True)
    a(Tokens, await api.refresh(client, tokens.refresh_token))


@pytest.mark.requirement("S110")
async def test_a_used_refresh_token_revokes_its_family(api: Api, world: World) -> None:
    client, _, first = await refreshable(api, world)
    second = a(Tokens, await api.refresh(client, first)).refresh_token

    refused = await refusal(api.refresh(client, first))

    assert (refused.reason, refused.text) == ("REFRESH_TOKEN_INVALID", "Unknown or invalid refresh token.")
    assert await reason(api.refresh(client, second)) == "REFRESH_TOKEN_INVALID"


async def test_a_family_of_another_login_lives_on(api: Api, world: World) -> None:
    client, user, first = await refreshable(api, world)
    await api.refresh(client, first)
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, scope=SCOPE))
    other = a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))
    await refusal(api.refresh(client, first))

    a(Tokens, await api.refresh(client, other.refresh_token))


async def test_a_refreshed_scope_shrinks_for_one_token(api: Api, world: World) -> None:
    client, _, first = await refreshable(api, world)

    less = a(Tokens, await api.refresh(client, first, scope="read:cart"))
    all_of_it = a(Tokens, await api.refresh(client, less.refresh_token))

    _, claims = await read(api, less.access_token)
    assert (less.scope, claims["scope"], less.id_token) == ("read:cart", "read:cart", "")
    assert all_of_it.scope == SCOPE


@pytest.mark.parametrize("scope", ["admin", "read:cart admin", "READ:CART"])
async def test_a_refreshed_scope_never_grows(api: Api, world: World, scope: str) -> None:
    client, _, first = await refreshable(api, world)
    less = a(Tokens, await api.refresh(client, first, scope="read:cart"))

    assert await reason(api.refresh(client, less.refresh_token, scope=scope)) == "INVALID_SCOPE"
    a(Tokens, await api.refresh(client, less.refresh_token))


async def test_a_refreshed_audience_stays(api: Api, world: World) -> None:
    client, _, first = await refreshable(api, world)

    refused = await reason(api.refresh(client, first, audience="https://orders.example.test/"))

    assert refused == "AUDIENCE_NOT_ALLOWED"
    tokens = a(Tokens, await api.refresh(client, first, audience=API))
    assert API in (await read(api, tokens.access_token))[1]["aud"]


@pytest.mark.requirement("S134")
async def test_a_refresh_moves_neither_acr_nor_auth_time(api: Api, world: World) -> None:
    client, user, first = await refreshable(api, world)
    _, before = await read(api, user.tokens.access_token)
    world.clock.advance(DAY)

    tokens = a(Tokens, await api.refresh(client, first))

    _, after = await read(api, tokens.access_token)
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {"jti", "iat", "exp"}
    _, about_user = await read(api, tokens.id_token)
    assert about_user["auth_time"] == before["auth_time"]


async def test_a_family_made_without_a_second_factor_stays_so(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(mfa_policy=MfaPolicy.NEVER)
    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access"))

    refreshed = a(Tokens, await api.refresh(client, tokens.refresh_token))

    assert (await read(api, refreshed.access_token))[1]["acr"] == "urn:cofactor:acr:1fa"


@pytest.mark.requirement("S203")
async def test_the_mfa_audience_takes_a_factor_and_consumes_no_refresh_token(api: Api, world: World) -> None:
    client, user, first = await refreshable(api, world)

    login = a(MfaRequired, await api.refresh(client, first, audience=MFA, scope=MFA_SCOPE))
    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))

    _, claims = await read(api, tokens.access_token)
    assert (login.wants, claims["aud"], claims["scope"]) == ("challenge", [MFA], MFA_SCOPE)
    assert claims["amr"] == ["pwd", "otp", "mfa"]
    a(Tokens, await api.refresh(client, first))


async def test_a_refresh_token_alone_never_enrolls(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(mfa_policy=MfaPolicy.NEVER)
    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access"))

    login = a(MfaRequired, await api.refresh(client, tokens.refresh_token, audience=MFA, scope=MFA_SCOPE))

    assert (login.wants, login.types) == ("enroll", ())
    assert await reason(api.enroll(login.mfa_token)) == "ENROLLMENT_NEEDS_LOGIN"


async def test_a_family_ends_thirty_days_after_the_login(api: Api, world: World) -> None:
    client, _, first = await refreshable(api, world)
    world.clock.advance(30 * DAY - 2 * PERIOD)
    second = a(Tokens, await api.refresh(client, first)).refresh_token

    world.clock.advance(PERIOD)

    assert await reason(api.refresh(client, second)) == "REFRESH_TOKEN_INVALID"


async def test_another_clients_refresh_token_is_refused_and_left_alone(api: Api, world: World) -> None:
    client, _, first = await refreshable(api, world)
    other = await shop(world)

    assert await reason(api.refresh(other, first)) == "REFRESH_TOKEN_INVALID"
    a(Tokens, await api.refresh(client, first))


async def test_a_forged_generation_is_refused_and_revokes_nothing(api: Api, world: World) -> None:
    client, _, first = await refreshable(api, world)
    second = a(Tokens, await api.refresh(client, first)).refresh_token
    user_id, family_id, generation, mac = second.split(".")
    forged = [".".join((user_id, family_id, str(int(generation) + step), mac)) for step in (-1, 1)]

    assert [await reason(api.refresh(client, token)) for token in forged] == ["REFRESH_TOKEN_INVALID"] * 2
    a(Tokens, await api.refresh(client, second))


async def test_a_deleted_users_refresh_token_says_that_its_user_is_gone(api: Api, world: World) -> None:
    client, _, first = await refreshable(api, world)
    await world.app.operators.delete_user("default", ALICE)

    refused = await refusal(api.refresh(client, first))

    assert (refused.reason, refused.text) == (
        "REFRESH_TOKEN_ORPHANED",
        "The refresh_token was generated for a user who doesn't exist anymore.",
    )


LEEWAY = pytest.mark.parametrize("given", [{"refresh_reuse_leeway": 10 * 1_000_000}])


@LEEWAY
@pytest.mark.requirement("S110")
async def test_within_the_leeway_a_used_token_gets_the_same_successor(api: Api, world: World) -> None:
    client, _, first = await refreshable(api, world)
    second = a(Tokens, await api.refresh(client, first))
    world.clock.advance(9)

    again = a(Tokens, await api.refresh(client, first))

    assert again.refresh_token == second.refresh_token
    assert again.access_token != second.access_token
    a(Tokens, await api.refresh(client, second.refresh_token))


@LEEWAY
@pytest.mark.requirement("S110")
async def test_after_the_leeway_a_used_token_ends_its_family(api: Api, world: World) -> None:
    client, _, first = await refreshable(api, world)
    second = a(Tokens, await api.refresh(client, first))
    world.clock.advance(10)

    assert await reason(api.refresh(client, first)) == "REFRESH_TOKEN_INVALID"
    assert await reason(api.refresh(client, second.refresh_token)) == "REFRESH_TOKEN_INVALID"


@LEEWAY
@pytest.mark.requirement("S110")
async def test_the_leeway_is_for_the_token_before_the_newest_alone(api: Api, world: World) -> None:
    client, _, first = await refreshable(api, world)
    second = a(Tokens, await api.refresh(client, first))
    third = a(Tokens, await api.refresh(client, second.refresh_token))

    assert await reason(api.refresh(client, first)) == "REFRESH_TOKEN_INVALID"
    assert await reason(api.refresh(client, third.refresh_token)) == "REFRESH_TOKEN_INVALID"
