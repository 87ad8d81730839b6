"""Security decision 8: the token that manages authenticators is no way round them."""

import pytest
from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.parties.users import MfaPolicy

from tests.support.flows.api import Api, MfaRequired, Tokens
from tests.support.flows.attacks import (
    HOUR,
    add_mailed,
    change,
    fail,
    low_access_token,
    one_factor_token,
    outcome,
    reason,
)
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    PERIOD,
    a,
    enrolled,
    logged_in,
    logged_in_to_mfa,
    mfa_access_token,
    shop,
)
from tests.support.world import ISSUER, PASSWORD, World

AUDIENCE = ISSUER + "mfa/"


@pytest.mark.parametrize("audience", [AUDIENCE, AUDIENCE.rstrip("/")])
async def test_a_refresh_never_yields_it_and_consumes_nothing(audience: str, api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    refresh_token = alice.tokens.refresh_token

    asked = a(MfaRequired, await api.refresh(client, refresh_token, audience=audience, scope=MFA_SCOPE))

    assert asked.wants == "challenge"
    assert a(Tokens, await api.refresh(client, refresh_token)).refresh_token


async def test_it_is_never_a_clients_default_with_a_refresh_token(api: Api, world: World) -> None:
    client = await shop(world, audiences=(AUDIENCE,))
    await world.user()

    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope=f"offline_access {MFA_SCOPE}"))

    assert (tokens.refresh_token, tokens.scope) == ("", MFA_SCOPE)


async def test_what_was_minted_with_one_factor_dies_when_the_user_is_enrolled(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    hers, thiefs = await one_factor_token(api, world, client), await one_factor_token(api, world, client)
    his = await api.enroll(thiefs)
    app = await api.enroll(hers)
    a(Tokens, await api.otp(client, hers, world.otp(app.secret)))

    for token in (hers, thiefs):
        (row,) = [row for row in await api.list(await _strong(api, world, client, app.secret)) if row.type == "otp"]
        assert await reason(api.list(token)) == "BEARER_INVALID"
        assert await reason(api.enroll(token)) == "BEARER_INVALID"
        assert await reason(api.rename(token, row.id, "mine")) == "BEARER_INVALID"
        assert await reason(api.remove(token, row.id)) == "BEARER_INVALID"
    assert await reason(api.otp(client, thiefs, world.otp(his.secret))) == "MFA_TOKEN_MALFORMED"


async def _strong(api: Api, world: World, client: tuple[str, str | None], secret: str) -> str:
    world.clock.advance(PERIOD)
    login = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=AUDIENCE)
    return a(Tokens, await api.otp(client, login.mfa_token, world.otp(secret))).access_token


async def test_used_as_an_mfa_token_it_keeps_client_scope_and_audience(api: Api, world: World) -> None:
    client, other = await shop(world), await shop(world, name="Other")
    await world.user()
    narrow = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="enroll", audience=AUDIENCE)).access_token
    app = await api.enroll(narrow)

    assert await reason(api.otp(other, narrow, world.otp(app.secret))) == "MFA_TOKEN_FOREIGN"
    confirmed = a(Tokens, await api.otp(client, narrow, world.otp(app.secret)))

    said = await api.introspect(client, confirmed.access_token)
    assert (said["client_id"], said["scope"], said["aud"]) == (client[0], "enroll", [AUDIENCE])
    assert confirmed.refresh_token == ""


async def test_it_is_not_raised_by_the_code_of_an_active_app(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    email = await add_mailed(api, world, client, alice, "email")
    low = await low_access_token(api, world, client, ALICE, email)

    assert await reason(api.otp(client, low, world.otp(alice.secret))) == "MFA_TOKEN_MALFORMED"
    assert await reason(api.recovery(client, low, alice.recovery_code)) == "MFA_TOKEN_MALFORMED"
    assert await reason(api.challenge(client, low)) == "MFA_TOKEN_MALFORMED"


async def test_without_the_scope_it_confirms_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice, scope="read:authenticators")

    assert await reason(api.otp(client, bearer, world.otp(alice.secret))) == "MFA_TOKEN_MALFORMED"


@pytest.mark.requirement("S5", "S34", "S102")
async def test_a_weaker_factor_adds_and_removes_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    email = await add_mailed(api, world, client, alice, "email")
    low = await low_access_token(api, world, client, ALICE, email)
    (app,) = [row.id for row in await api.list(low) if row.type == "otp"]

    assert await reason(api.enroll(low)) == "INSUFFICIENT_AUTHENTICATION"
    assert await reason(api.remove(low, app)) == "INSUFFICIENT_AUTHENTICATION"
    assert await reason(api.remove(low, email)) == "INSUFFICIENT_AUTHENTICATION"


async def test_what_the_new_one_can_not_exceed_is_enough_for_adding_it(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    email = await add_mailed(api, world, client, alice, "email")
    await change(world, "authenticators", {"acr": Level.PHISHING_RESISTANT.acr}, kind="totp")
    low = await low_access_token(api, world, client, ALICE, email)

    another = await api.enroll(low, "email", destination="jane.doe@example.com")

    assert another.oob_code
    assert await reason(api.enroll(low)) == "INSUFFICIENT_AUTHENTICATION"


@pytest.mark.requirement("S34")
async def test_exhausting_the_stronger_factor_does_not_promote_the_weaker_one(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    email = await add_mailed(api, world, client, alice, "email")
    await change(world, "authenticators", {"failures": 99}, kind="totp")
    world.clock.advance(HOUR)
    await fail(api, world, client, alice, 1)

    low = await low_access_token(api, world, client, ALICE, email)
    (app,) = [row for row in await api.list(low) if row.type == "otp"]

    assert not app.active
    assert await reason(api.enroll(low)) == "INSUFFICIENT_AUTHENTICATION"
    assert await reason(api.remove(low, app.id)) == "INSUFFICIENT_AUTHENTICATION"


@pytest.mark.requirement("S32")
async def test_a_recovery_code_replaces_what_was_lost(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=AUDIENCE)
    bearer = a(Tokens, await api.recovery(client, login.mfa_token, alice.recovery_code)).access_token

    assert await outcome(api.enroll(bearer)) == ""


@pytest.mark.parametrize("policy", list(MfaPolicy))
async def test_no_policy_mints_it_for_an_enrolled_user_without_a_factor(
    policy: MfaPolicy, api: Api, world: World
) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    await change(world, "users", {"mfa_policy": policy}, subject=ALICE)

    asked = await api.password(client, ALICE, PASSWORD, scope=MFA_SCOPE, audience=AUDIENCE)

    assert a(MfaRequired, asked).wants == "challenge"


async def test_a_login_for_another_audience_is_not_turned_into_it(api: Api, world: World) -> None:
    await world.api(*MFA_SCOPE.split())
    client = await shop(world)
    alice = await enrolled(api, world, client)

    tokens = await logged_in(api, world, client, alice, scope=f"openid {MFA_SCOPE}")

    assert AUDIENCE not in (await api.introspect(client, tokens.access_token))["aud"]
    assert await reason(api.list(tokens.access_token)) == "BEARER_INVALID"


@pytest.mark.parametrize("audience", [AUDIENCE + "/", AUDIENCE.upper(), ISSUER, ISSUER + "mfa/x", " " + AUDIENCE])
async def test_what_looks_like_it_is_refused(audience: str, api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()

    said = await reason(api.password(client, ALICE, PASSWORD, audience=audience))

    assert said in ("AUDIENCE_NOT_ALLOWED", "INVALID_REQUEST")
