"""Security decisions 14 and 15: a refresh token, or one more factor, is no way round what is demanded."""

from typing import Any

import pytest
from cofactor_server.domain.parties.users import MfaPolicy

from tests.support.flows.api import Api, ClientCredentials, MfaRequired, Tokens
from tests.support.flows.attacks import KINDS, add_mailed, challenged, change, outcome, reason, rows
from tests.support.flows.keys import TYPES, another_key
from tests.support.flows.steps import (
    ALICE,
    PERIOD,
    Enrolled,
    a,
    enrolled,
    logged_in,
    mfa_access_token,
    read,
    second_app,
    shop,
)
from tests.support.world import PASSWORD, World
from tests.unit.factors.security_key import SecurityKey

MFA, PHR = "urn:cofactor:acr:mfa", "urn:cofactor:acr:phr"


@pytest.fixture
def given() -> dict[str, Any]:
    """Keys are on, beside what attacks have."""
    return {"kinds": KINDS | {"webauthn"}}


async def stepping_up(api: Api, world: World) -> tuple[ClientCredentials, Enrolled, str, str]:
    """Return a refresh token and the mfa_token of a refresh that wants a fresh factor."""
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    login = a(MfaRequired, await api.refresh(client, alice.tokens.refresh_token, max_age=0))
    return client, alice, alice.tokens.refresh_token, login.mfa_token


@pytest.mark.requirement("S110")
async def test_an_old_step_up_does_not_outlive_the_refresh_token_it_began_with(api: Api, world: World) -> None:
    client, alice, first, mfa_token = await stepping_up(api, world)
    second = a(Tokens, await api.refresh(client, first)).refresh_token

    code = world.otp(alice.secret)
    assert await reason(api.otp(client, mfa_token, code)) == "REFRESH_TOKEN_INVALID"
    a(Tokens, await api.refresh(client, second))
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))
    a(Tokens, await api.otp(client, login.mfa_token, code))  # which was not looked at


@pytest.mark.requirement("S110")
async def test_a_revoked_family_is_not_revived_by_a_factor(api: Api, world: World) -> None:
    client, alice, first, mfa_token = await stepping_up(api, world)
    await api.revoke(client, first)

    assert await reason(api.otp(client, mfa_token, world.otp(alice.secret))) == "REFRESH_TOKEN_INVALID"
    assert await reason(api.recovery(client, mfa_token, alice.recovery_code)) == "REFRESH_TOKEN_INVALID"


async def test_two_step_ups_of_one_refresh_token_rotate_it_once(api: Api, world: World) -> None:
    client, alice, first, one = await stepping_up(api, world)
    other = a(MfaRequired, await api.refresh(client, first, max_age=0)).mfa_token
    a(Tokens, await api.otp(client, one, world.otp(alice.secret)))
    world.clock.advance(PERIOD)

    assert await reason(api.otp(client, other, world.otp(alice.secret))) == "REFRESH_TOKEN_INVALID"
    (family,) = await rows(world, "refresh_families")
    assert (family.generation, bool(family.revoked)) == (2, False)


async def test_a_factor_that_fails_moves_nothing(api: Api, world: World) -> None:
    client, _, first, mfa_token = await stepping_up(api, world)
    before = (await rows(world, "refresh_families"))[0]

    assert await reason(api.otp(client, mfa_token, "000000")) == "INVALID_OTP"
    assert (await rows(world, "refresh_families"))[0] == before
    a(Tokens, await api.refresh(client, first))


@pytest.mark.usefixtures("scopes")
async def test_a_step_up_does_not_grow_the_scope(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access read:cart")

    assert await reason(api.refresh(client, alice.tokens.refresh_token, scope="admin", max_age=0)) == "INVALID_SCOPE"


@pytest.mark.requirement("S131")
async def test_a_stolen_refresh_token_is_not_made_fresh_by_refreshing(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    world.clock.advance(3_600)
    refreshed = a(Tokens, await api.refresh(client, alice.tokens.refresh_token))

    a(MfaRequired, await api.refresh(client, refreshed.refresh_token, max_age=60))


@pytest.mark.requirement("S14", "S120")
async def test_codes_by_mail_do_not_add_up_to_mfa(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    mailed = await add_mailed(api, world, client, alice, "email")
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=[MFA]))

    sent = await challenged(api, client, login.mfa_token, mailed)
    more = a(MfaRequired, await api.oob(client, login.mfa_token, sent.oob_code, world.outbox.sent[-1].code))

    assert more.types == ("otp",)
    assert await reason(challenged(api, client, more.mfa_token, mailed)) == "AUTHENTICATOR_NOT_FOUND"
    assert await reason(api.recovery(client, more.mfa_token, alice.recovery_code)) == "ANOTHER_KIND_REQUIRED"


@pytest.mark.requirement("S191")
async def test_one_app_is_not_shown_twice(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    key = SecurityKey()
    await another_key(api, client, await mfa_access_token(api, world, client, alice), key)
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=[PHR]))
    more = a(MfaRequired, await api.otp(client, login.mfa_token, world.otp(alice.secret)))
    world.clock.advance(PERIOD)

    assert await reason(api.otp(client, more.mfa_token, world.otp(alice.secret))) == "ANOTHER_KIND_REQUIRED"


async def test_a_challenge_of_the_first_half_is_none_of_the_second(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    key = SecurityKey()
    await another_key(api, client, await mfa_access_token(api, world, client, alice), key)
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=[PHR]))
    made = await api.challenge(client, login.mfa_token, types=TYPES)
    more = a(MfaRequired, await api.otp(client, login.mfa_token, world.otp(alice.secret)))

    taken = key.take(made.public_key)
    assert await reason(api.webauthn(client, more.mfa_token, made.oob_code, taken)) == "OOB_CODE_MALFORMED"
    assert await reason(api.webauthn(client, login.mfa_token, made.oob_code, taken)) == "MFA_TOKEN_STALE"


async def test_a_chained_login_ends_with_the_epoch_and_the_time_of_the_first(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    key = SecurityKey()
    await another_key(api, client, await mfa_access_token(api, world, client, alice), key)
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=[PHR]))
    world.clock.advance(500)
    more = a(MfaRequired, await api.otp(client, login.mfa_token, world.otp(alice.secret)))
    world.clock.advance(99)
    a_challenge = await outcome(api.challenge(client, more.mfa_token, types=TYPES))
    world.clock.advance(2)

    assert a_challenge == ""
    assert await reason(api.challenge(client, more.mfa_token, types=TYPES)) == "MFA_TOKEN_EXPIRED"


async def test_who_is_not_enrolled_does_not_step_up_a_refresh_by_enrolling(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(mfa_policy=MfaPolicy.NEVER)
    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access"))

    refused = await reason(api.refresh(client, tokens.refresh_token, acr_values=[MFA]))

    assert refused == "UNMET_AUTHENTICATION_REQUIREMENTS"


async def test_what_was_shown_before_a_refresh_says_nothing_of_a_key(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    tokens = await logged_in(api, world, client, alice, scope="offline_access")
    await change(world, "refresh_families", {"authentication": _shown_with_a_key()})

    login = a(MfaRequired, await api.refresh(client, tokens.refresh_token, max_age=0))
    stepped = a(Tokens, await api.otp(client, login.mfa_token, world.otp(alice.secret)))

    assert (await read(api, stepped.access_token))[1]["amr"] == ["pwd", "otp", "mfa"]


def _shown_with_a_key() -> str:
    return '{"level": 5, "amr": ["pwd", "hwk", "user", "mfa"], "time": 1, "recovery": false}'


async def test_a_second_app_of_the_same_user_may_follow_where_only_a_level_is_asked_for(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await second_app(api, world, client, await mfa_access_token(api, world, client, alice))

    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=[MFA]))
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(alice.secret)))


async def test_a_recovery_code_that_leads_nowhere_is_not_used_up(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=[MFA]))
    await change(world, "authenticators", {"state": "disabled"}, kind="totp")

    refused = await reason(api.recovery(client, login.mfa_token, alice.recovery_code))
    plain = a(MfaRequired, await api.password(client, ALICE, PASSWORD))

    assert refused == "UNMET_AUTHENTICATION_REQUIREMENTS"
    a(Tokens, await api.recovery(client, plain.mfa_token, alice.recovery_code))
