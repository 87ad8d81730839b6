"""Step-up: a client says how strong and how fresh an authentication has to be (S127 to S134, ADR-15)."""

from typing import Any

import pytest
from cofactor_server.domain.authenticators.acr import PAPE_MULTI_FACTOR
from cofactor_server.domain.parties.users import MfaPolicy

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, MfaRequired, Tokens
from tests.support.flows.keys import KINDS, TYPES, another_key
from tests.support.flows.steps import ALICE, PERIOD, Enrolled, a, mfa_access_token, read, reason, shop
from tests.support.world import PASSWORD, World
from tests.unit.factors.security_key import SecurityKey

ACR = "urn:cofactor:acr:"
MFA, PHR = ACR + "mfa", ACR + "phr"
UNMET = "UNMET_AUTHENTICATION_REQUIREMENTS"
HOUR = 3_600


@pytest.fixture
def given() -> dict[str, Any]:
    """Policy asks for nothing by itself: what is asked for is what the client asks."""
    return {"kinds": KINDS, "mfa_policy": MfaPolicy.NEVER}


async def holder(api: Api, world: World, *, scope: str = "") -> tuple[ClientCredentials, Enrolled]:
    """Return a client, and a user with an app, who enrolled because the client wanted `mfa`."""
    client = await shop(world)
    await world.user()
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, scope=scope, acr_values=[MFA]))
    app = await api.enroll(login.mfa_token)
    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(app.secret)))
    world.clock.advance(PERIOD)
    return client, Enrolled(ALICE, app.secret, app.recovery_codes[0], tokens, login.mfa_token)


async def acr_of(api: Api, tokens: Tokens) -> str:
    return str((await read(api, tokens.access_token))[1]["acr"])


@pytest.mark.requirement("S130", "S132")
@pytest.mark.parametrize("wanted", [[MFA], [PAPE_MULTI_FACTOR], [PHR, MFA], ["urn:elsewhere", MFA]])
async def test_an_acr_that_a_password_does_not_reach_asks_for_a_factor(
    wanted: list[str], api: Api, world: World
) -> None:
    client, user = await holder(api, world)

    a(Tokens, await api.password(client, ALICE, PASSWORD))
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=wanted))
    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))

    assert await acr_of(api, tokens) == MFA


@pytest.mark.requirement("S132")
async def test_with_several_values_the_highest_that_was_reached_is_reported(api: Api, world: World) -> None:
    client, user = await holder(api, world)
    key = SecurityKey()
    await another_key(api, client, await _manager(api, world, client, user), key)

    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=[MFA, PHR]))
    made = await api.challenge(client, login.mfa_token, types=TYPES)
    tokens = a(Tokens, await api.webauthn(client, login.mfa_token, made.oob_code, key.take(made.public_key)))

    assert await acr_of(api, tokens) == ACR + "phrh"


async def test_an_acr_that_the_first_factor_reaches_asks_for_nothing(api: Api, world: World) -> None:
    client, _ = await holder(api, world)

    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, acr_values=[PHR, ACR + "1fa"]))

    assert await acr_of(api, tokens) == ACR + "1fa"


@pytest.mark.requirement("S133")
@pytest.mark.parametrize("wanted", [PHR, "urn:elsewhere"])
async def test_an_acr_that_can_not_be_reached_gives_no_token(wanted: str, api: Api, world: World) -> None:
    client, _ = await holder(api, world)

    assert await reason(api.password(client, ALICE, PASSWORD, acr_values=[wanted])) == UNMET


@pytest.mark.requirement("S120", "S133")
async def test_a_weaker_factor_is_asked_to_be_followed_by_one_that_is_strong_enough(api: Api, world: World) -> None:
    client, user = await holder(api, world)
    key = SecurityKey()
    await another_key(api, client, await _manager(api, world, client, user), key)

    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=[PHR]))
    more = a(MfaRequired, await api.otp(client, login.mfa_token, world.otp(user.secret)))
    made = await api.challenge(client, more.mfa_token, types=TYPES)
    tokens = a(Tokens, await api.webauthn(client, more.mfa_token, made.oob_code, key.take(made.public_key)))

    _, claims = await read(api, tokens.access_token)
    assert (login.types, more.types) == (("webauthn",), ("webauthn",))
    assert claims["acr"] == ACR + "phrh"
    assert claims["amr"] == ["pwd", "otp", "hwk", "user", "mfa"]
    assert await reason(api.otp(client, login.mfa_token, world.otp(user.secret))) == "MFA_TOKEN_STALE"


async def test_a_recovery_code_that_is_not_enough_shows_its_replacement_all_the_same(api: Api, world: World) -> None:
    client, user = await holder(api, world)

    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=[MFA]))
    more = a(MfaRequired, await api.recovery(client, login.mfa_token, user.recovery_code))

    assert more.recovery_code not in ("", user.recovery_code)
    assert await reason(api.recovery(client, more.mfa_token, more.recovery_code)) == "ANOTHER_KIND_REQUIRED"
    assert await acr_of(api, a(Tokens, await api.otp(client, more.mfa_token, world.otp(user.secret)))) == MFA


@pytest.mark.requirement("S131", "S134")
async def test_a_refresh_that_needs_a_fresh_factor_uses_nothing_up_and_then_moves_auth_time(
    api: Api, world: World
) -> None:
    client, user = await holder(api, world, scope="openid offline_access")
    first = user.tokens.refresh_token
    world.clock.advance(HOUR)

    a(MfaRequired, await api.refresh(client, first, max_age=0))
    login = a(MfaRequired, await api.refresh(client, first, max_age=HOUR - PERIOD))
    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))

    _, claims = await read(api, tokens.access_token)
    assert claims["auth_time"] == world.clock.now() // 1_000_000
    assert tokens.refresh_token not in ("", first)
    later = a(Tokens, await api.refresh(client, tokens.refresh_token, max_age=HOUR))
    assert (await read(api, later.access_token))[1]["auth_time"] == claims["auth_time"]
    assert await reason(api.refresh(client, first)) == "REFRESH_TOKEN_INVALID"


async def test_a_refresh_that_is_fresh_and_strong_enough_asks_for_nothing(api: Api, world: World) -> None:
    client, user = await holder(api, world, scope="offline_access")

    a(Tokens, await api.refresh(client, user.tokens.refresh_token, acr_values=[MFA], max_age=HOUR))


@pytest.mark.requirement("S110", "S203")
@pytest.mark.usefixtures("scopes")
async def test_a_refresh_steps_up_its_family(api: Api, world: World) -> None:
    client, user = await holder(api, world)
    weak = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access read:cart"))

    login = a(MfaRequired, await api.refresh(client, weak.refresh_token, scope="read:cart", acr_values=[MFA]))
    strong = a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))
    refreshed = a(Tokens, await api.refresh(client, strong.refresh_token, acr_values=[MFA]))

    assert (await acr_of(api, strong), strong.scope) == (MFA, "read:cart")
    assert (await acr_of(api, refreshed), refreshed.scope) == (MFA, "offline_access read:cart")


async def test_a_vouch_counts_as_one_factor_as_old_as_it_says(grpc_api: GrpcApi, world: World) -> None:
    from cofactor_server.domain.parties.clients import MFA_GRANTS, Capability, GrantType

    client = await shop(
        world,
        realms=("default",),
        capabilities=frozenset({Capability.VOUCH}),
        grant_types=MFA_GRANTS | {GrantType.VOUCHED, GrantType.PASSWORD},
    )
    user = await enrolled_unasked(grpc_api, world, client)
    seen = world.clock.now() / 1_000_000 - 120

    async def vouched(**wanted: Any) -> Tokens | MfaRequired:
        return await grpc_api.vouched(client, "default", ALICE, ["pwd"], seen, **wanted)

    a(Tokens, await vouched(max_age=180))
    a(MfaRequired, await vouched(acr_values=[MFA]))
    a(MfaRequired, await vouched(max_age=0))
    login = a(MfaRequired, await vouched(max_age=60))
    a(Tokens, await grpc_api.otp(client, login.mfa_token, world.otp(user.secret)))


async def enrolled_unasked(api: Api, world: World, client: ClientCredentials) -> Enrolled:
    await world.user()
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=[MFA]))
    app = await api.enroll(login.mfa_token)
    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(app.secret)))
    world.clock.advance(PERIOD)
    return Enrolled(ALICE, app.secret, app.recovery_codes[0], tokens, login.mfa_token)


async def _manager(api: Api, world: World, client: ClientCredentials, user: Enrolled) -> str:
    return await mfa_access_token(api, world, client, user)


async def test_a_chained_login_whose_reply_was_lost_is_given_again(grpc_api: GrpcApi, world: World) -> None:
    client, user = await holder(grpc_api, world)
    key = SecurityKey()
    await another_key(grpc_api, client, await _manager(grpc_api, world, client, user), key)
    login = a(MfaRequired, await grpc_api.password(client, ALICE, PASSWORD, acr_values=[PHR]))
    code, once = world.otp(user.secret), "3f5c2f7e-0001-4e6a"

    lost = a(MfaRequired, await grpc_api.otp(client, login.mfa_token, code, request_id=once))
    again = a(MfaRequired, await grpc_api.otp(client, login.mfa_token, code, request_id=once))
    made = await grpc_api.challenge(client, again.mfa_token, types=TYPES)
    a(Tokens, await grpc_api.webauthn(client, again.mfa_token, made.oob_code, key.take(made.public_key)))

    assert await reason(grpc_api.challenge(client, lost.mfa_token, types=TYPES)) == "MFA_TOKEN_STALE"


@pytest.mark.parametrize("max_age", [-1, 10**11])
async def test_a_max_age_that_is_none_is_refused(max_age: int, api: Api, world: World) -> None:
    client = await shop(world)

    assert await reason(api.password(client, ALICE, PASSWORD, max_age=max_age)) == "INVALID_REQUEST"
