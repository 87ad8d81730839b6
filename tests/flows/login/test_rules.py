"""Rules of an operator, by client, user, audience and scope, and two kinds of factor where they ask for two."""

from typing import Any

import pytest
from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.errors import InvalidRequest
from cofactor_server.seams import SECOND
from cofactor_server.services.policy.rules import NewRule
from cofactor_server.services.transactions.refusals import Missing

from tests.support.flows.api import Api, ClientCredentials, MfaRequired, Tokens
from tests.support.flows.keys import KINDS, TYPES, another_key
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    ORDERS,
    PERIOD,
    Enrolled,
    a,
    enrolled,
    logged_in,
    mfa_access_token,
    read,
    reason,
    shop,
)
from tests.support.world import API, ISSUER, PASSWORD, World
from tests.unit.factors.security_key import SecurityKey

ALWAYS, NEVER, WHEN_ENROLLED = MfaPolicy.ALWAYS, MfaPolicy.NEVER, MfaPolicy.WHEN_ENROLLED


@pytest.fixture
def given() -> dict[str, Any]:
    """Keys are on, and policy asks nobody: what asks is a rule."""
    return {"kinds": KINDS, "mfa_policy": NEVER}


async def rule(world: World, ask: MfaPolicy = ALWAYS, **given: Any) -> None:
    await world.app.policies.add(NewRule(ask, **given))


async def asked(api: Api, client: ClientCredentials, **target: Any) -> bool:
    return isinstance(await api.password(client, ALICE, PASSWORD, **target), MfaRequired)


@pytest.mark.usefixtures("scopes")
async def test_each_condition_of_a_rule_has_to_apply(api: Api, world: World) -> None:
    client = await shop(world, audiences=(API, ORDERS))
    other = await shop(world, audiences=(API, ORDERS))
    await world.user()
    await rule(world, client_id=client[0], realm="default", subject=ALICE, audience=ORDERS, scope="pay")

    assert await asked(api, client, audience=ORDERS, scope="openid pay")
    assert not await asked(api, client, audience=ORDERS, scope="openid")
    assert not await asked(api, client, audience=API, scope="pay")
    assert not await asked(api, other, audience=ORDERS, scope="pay")


async def test_the_strongest_of_what_applies_wins(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user(mfa_policy=NEVER)
    await rule(world, WHEN_ENROLLED, client_id=client[0])
    assert not await asked(api, client)

    await rule(world, audience=API)

    assert await asked(api, client)


@pytest.mark.parametrize("given", [{"mfa_policy": ALWAYS}])
@pytest.mark.usefixtures("scopes")
async def test_an_audience_may_be_left_out_and_a_scope_takes_nothing_away(
    given: dict[str, Any], api: Api, world: World
) -> None:
    client = await shop(world, audiences=(API, ORDERS))
    await world.user()
    await rule(world, NEVER, audience=API)
    await rule(world, WHEN_ENROLLED, scope="read:cart")

    assert not await asked(api, client, audience=API)
    assert await asked(api, client, audience=ORDERS, scope="read:cart")


async def test_a_rule_that_is_removed_asks_no_more(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    await rule(world)
    (added,) = await world.app.policies.every()
    assert await asked(api, client)

    await world.app.policies.remove(added.id)

    assert not await asked(api, client)


@pytest.mark.parametrize(
    "contradiction",
    [
        {"ask": NEVER, "scope": "a", "audience": API},
        {"ask": NEVER},
        {"ask": NEVER, "audience": API, "level": Level.MFA},
        {"ask": ALWAYS, "scope": "a b"},
        {"ask": ALWAYS, "max_age": 0},
    ],
)
async def test_a_rule_that_contradicts_itself_is_refused(contradiction: dict[str, Any], world: World) -> None:
    with pytest.raises(InvalidRequest):
        await world.app.policies.add(NewRule(**contradiction))


async def test_a_rule_for_nobody_is_refused(world: World) -> None:
    for new in (NewRule(ALWAYS, client_id="cli_x"), NewRule(ALWAYS, realm="default", subject=ALICE)):
        with pytest.raises(Missing):
            await world.app.policies.add(new)


async def test_a_rule_may_demand_a_level(api: Api, world: World) -> None:
    client, user = await holder(api, world)
    await rule(world, WHEN_ENROLLED, audience=API, level=Level.PHISHING_RESISTANT)

    assert await reason(api.password(client, ALICE, PASSWORD)) == "UNMET_AUTHENTICATION_REQUIREMENTS"
    key = await with_another_key(api, world, client, user)
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))
    made = await api.challenge(client, login.mfa_token, types=TYPES)
    tokens = a(Tokens, await api.webauthn(client, login.mfa_token, made.oob_code, key.take(made.public_key)))

    assert login.types == ("webauthn",)
    assert (await read(api, tokens.access_token))[1]["acr"] == "urn:cofactor:acr:phrh"


@pytest.mark.requirement("S44", "S203")
async def test_a_refresh_is_asked_for_what_a_rule_says_of_refreshes(api: Api, world: World) -> None:
    client, user = await holder(api, world, scope="offline_access")
    await rule(world, WHEN_ENROLLED, max_age=3_600 * SECOND)
    second = a(Tokens, await api.refresh(client, user.tokens.refresh_token))
    world.clock.advance(3_600)

    login = a(MfaRequired, await api.refresh(client, second.refresh_token))
    third = a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))

    a(Tokens, await api.refresh(client, third.refresh_token))


@pytest.mark.requirement("S203")
async def test_a_login_that_showed_a_factor_is_asked_again_by_a_level_and_not_by_the_policy(
    api: Api, world: World
) -> None:
    client, user = await holder(api, world)
    shown = await logged_in(api, world, client, user, scope="offline_access")

    await rule(world)
    unasked = a(Tokens, await api.refresh(client, shown.refresh_token))
    await rule(world, level=Level.PHISHING_RESISTANT)

    assert await reason(api.refresh(client, unasked.refresh_token)) == "UNMET_AUTHENTICATION_REQUIREMENTS"


@pytest.mark.requirement("S41", "S191")
async def test_two_kinds_are_two_possessions_in_either_order(api: Api, world: World) -> None:
    client, user = await holder(api, world)
    key = await with_another_key(api, world, client, user)
    await rule(world, two_kinds=True)

    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))
    more = a(MfaRequired, await api.otp(client, login.mfa_token, world.otp(user.secret)))
    made = await api.challenge(client, more.mfa_token, types=TYPES)
    app_first = a(Tokens, await api.webauthn(client, more.mfa_token, made.oob_code, key.take(made.public_key)))
    world.clock.advance(PERIOD)

    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))
    made = await api.challenge(client, login.mfa_token, types=TYPES)
    more_of_app = await api.webauthn(client, login.mfa_token, made.oob_code, key.take(made.public_key))
    key_first = a(Tokens, await api.otp(client, a(MfaRequired, more_of_app).mfa_token, world.otp(user.secret)))

    for tokens in (app_first, key_first):
        claims = (await read(api, tokens.access_token))[1]
        assert claims["acr"] == "urn:cofactor:acr:phrh"
        assert {"pwd", "otp", "hwk", "mfa"} <= set(claims["amr"])


@pytest.mark.requirement("S41", "S191")
async def test_a_refresh_token_of_one_kind_is_no_way_round_a_later_rule_of_two(api: Api, world: World) -> None:
    client, user = await holder(api, world, scope="offline_access")
    key = await with_another_key(api, world, client, user)
    await rule(world, two_kinds=True)

    login = a(MfaRequired, await api.refresh(client, user.tokens.refresh_token))
    more = a(MfaRequired, await api.otp(client, login.mfa_token, world.otp(user.secret)))
    made = await api.challenge(client, more.mfa_token, types=TYPES)
    tokens = a(Tokens, await api.webauthn(client, more.mfa_token, made.oob_code, key.take(made.public_key)))

    again = a(Tokens, await api.refresh(client, tokens.refresh_token))  # which has shown two
    assert (await read(api, again.access_token))[1]["acr"] == "urn:cofactor:acr:phrh"


async def test_two_factors_that_a_level_made_necessary_are_two_kinds_for_a_later_rule(api: Api, world: World) -> None:
    client, user = await holder(api, world)
    key = await with_another_key(api, world, client, user)
    phr = "urn:cofactor:acr:phr"
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, scope="offline_access", acr_values=[phr]))
    more = a(MfaRequired, await api.otp(client, login.mfa_token, world.otp(user.secret)))
    made = await api.challenge(client, more.mfa_token, types=TYPES)
    tokens = a(Tokens, await api.webauthn(client, more.mfa_token, made.oob_code, key.take(made.public_key)))
    await rule(world, two_kinds=True)

    a(Tokens, await api.refresh(client, tokens.refresh_token))


@pytest.mark.requirement("S191")
async def test_who_has_one_kind_alone_refreshes_no_more_once_two_are_asked_for(api: Api, world: World) -> None:
    client, user = await holder(api, world, scope="offline_access")
    await with_another_key(api, world, client, user, synced=True)
    await rule(world, two_kinds=True)

    login = a(MfaRequired, await api.refresh(client, user.tokens.refresh_token))
    refused = await reason(api.otp(client, login.mfa_token, world.otp(user.secret)))

    assert refused == "UNMET_AUTHENTICATION_REQUIREMENTS"


@pytest.mark.requirement("S191")
async def test_an_app_and_a_passkey_that_synchronizes_are_of_one_kind(api: Api, world: World) -> None:
    client, user = await holder(api, world)
    await with_another_key(api, world, client, user, synced=True)
    await rule(world, two_kinds=True)

    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))  # a recovery code could begin a pair
    refused = await reason(api.otp(client, login.mfa_token, world.otp(user.secret)))

    assert refused == "UNMET_AUTHENTICATION_REQUIREMENTS"


async def test_of_an_app_and_a_recovery_code_only_the_code_can_come_first(api: Api, world: World) -> None:
    client, user = await holder(api, world)
    await rule(world, two_kinds=True)

    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))
    more = a(MfaRequired, await api.recovery(client, login.mfa_token, user.recovery_code))
    a(Tokens, await api.otp(client, more.mfa_token, world.otp(user.secret)))

    assert (login.types, more.types) == (("recovery-code",), ("otp",))


async def test_who_lacks_the_second_kind_enrolls_it_with_a_token_for_that(api: Api, world: World) -> None:
    await rule(world, two_kinds=True)
    client = await shop(world)
    await world.user()
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))
    app = await api.enroll(login.mfa_token)

    refused = await reason(api.otp(client, login.mfa_token, world.otp(app.secret)))
    world.clock.advance(PERIOD)
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, scope=MFA_SCOPE, audience=f"{ISSUER}mfa/"))
    manager = a(Tokens, await api.otp(client, login.mfa_token, world.otp(app.secret))).access_token
    await another_key(api, client, manager, SecurityKey())

    assert refused == "UNMET_AUTHENTICATION_REQUIREMENTS"
    assert "webauthn" in a(MfaRequired, await api.password(client, ALICE, PASSWORD)).types


async def holder(api: Api, world: World, *, scope: str = "") -> tuple[ClientCredentials, Enrolled]:
    """Return a client, and a user with an app."""
    asking = await shop(world, mfa_policy=ALWAYS)
    user = await enrolled(api, world, asking, scope=scope)
    return asking, user


async def with_another_key(
    api: Api, world: World, client: ClientCredentials, user: Enrolled, *, synced: bool = False
) -> SecurityKey:
    """Give an enrolled user a key."""
    key = SecurityKey(synced=synced)
    await another_key(api, client, await mfa_access_token(api, world, client, user), key)
    return key
