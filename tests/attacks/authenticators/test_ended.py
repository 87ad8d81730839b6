"""What an authenticator opened ends with it: a thief who had it keeps nothing when the owner takes it away."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cofactor_server.domain.authenticators.kinds import SMS
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.services.policy.rules import NewRule

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, MfaRequired, Tokens
from tests.support.flows.attacks import (
    KINDS,
    add_mailed,
    challenged,
    change,
    fail,
    one_factor_token,
    outcome,
    reason,
    rows,
)
from tests.support.flows.keys import TYPES, another_key
from tests.support.flows.operators import OperatorDesk
from tests.support.flows.phones import phone_shop
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    PERIOD,
    Enrolled,
    a,
    enrolled,
    logged_in,
    logged_in_to_mfa,
    mfa_access_token,
    shop,
)
from tests.support.world import ISSUER, PASSWORD, World
from tests.unit.factors.security_key import SecurityKey

AUDIENCE = f"{ISSUER}mfa/"
INACTIVE = {"active": False}
DEAD = "REFRESH_TOKEN_INVALID"
WHEN_ENROLLED = {"mfa_policy": MfaPolicy.WHEN_ENROLLED, "kinds": KINDS}


@pytest.fixture
def given() -> dict[str, Any]:
    """Both ways to a telephone, keys and devices."""
    return {"kinds": KINDS | {"voice", "webauthn", "push"}}


@dataclass
class Stolen:
    """An account whose telephone a thief has taken over, and what he got with it."""

    api: Api
    world: World
    client: ClientCredentials
    alice: Enrolled
    phone: str
    tokens: Tokens
    hers: Tokens

    @property
    def user_id(self) -> str:
        return self.tokens.refresh_token.partition(".")[0]

    async def by_phone(self, *, way: str = SMS, **target: Any) -> Tokens:
        """Log in with the password and the telephone."""
        login = await logged_in_to_mfa(self.api, self.client, **target)
        sent = await challenged(self.api, self.client, login.mfa_token, self.phone.replace(SMS, way))
        code = self.world.outbox.sent[-1].code
        return a(Tokens, await self.api.oob(self.client, login.mfa_token, sent.oob_code, code))


async def stolen(api: Api, world: World) -> Stolen:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    phone = await add_mailed(api, world, client, alice, SMS)
    hers = await logged_in(api, world, client, alice, scope="openid offline_access")
    stage = Stolen(api, world, client, alice, phone, hers, hers)
    stage.tokens = await stage.by_phone(scope="openid offline_access")
    return stage


async def by_its_owner(stage: Stolen) -> None:
    bearer = await mfa_access_token(stage.api, stage.world, stage.client, stage.alice)
    await stage.api.remove(bearer, stage.phone)


async def by_an_operator(stage: Stolen) -> None:
    await OperatorDesk(stage.world, stage.user_id).remove(stage.phone)


async def by_failures(stage: Stolen) -> None:
    await change(stage.world, "authenticators", {"failures": 99}, id=stage.phone)
    login = await logged_in_to_mfa(stage.api, stage.client)
    sent = await challenged(stage.api, stage.client, login.mfa_token, stage.phone)
    wrong = "111111" if stage.world.outbox.sent[-1].code != "111111" else "222222"
    assert await reason(stage.api.oob(stage.client, login.mfa_token, sent.oob_code, wrong)) == "INVALID_BINDING_CODE"


async def by_replacing_all(stage: Stolen) -> None:
    await OperatorDesk(stage.world, stage.user_id).replace_all()


async def by_a_reset(stage: Stolen) -> None:
    await OperatorDesk(stage.world, stage.user_id).reset()


async def by_signing_out(stage: Stolen) -> None:
    ended = await stage.world.app.operators.sign_out("default", ALICE)
    assert (len(ended.refresh_tokens), len(ended.browsers)) == (2, 0)


ONE, ALL = (by_its_owner, by_an_operator, by_failures), (by_replacing_all, by_a_reset, by_signing_out)


@pytest.mark.requirement("S33", "S110")
@pytest.mark.parametrize("way", [*ONE, *ALL], ids=lambda way: str(way.__name__))
async def test_what_a_telephone_opened_ends_with_it(
    way: Callable[[Stolen], Awaitable[None]], api: Api, world: World
) -> None:
    stage = await stolen(api, world)
    client, thiefs, hers = stage.client, stage.tokens, stage.hers
    assert (await api.introspect(client, thiefs.access_token))["active"]

    await way(stage)

    assert await api.introspect(client, thiefs.access_token) == INACTIVE
    assert await api.introspect(client, thiefs.refresh_token) == INACTIVE
    assert await reason(api.refresh(client, thiefs.refresh_token)) == DEAD
    goes_on = way in ONE
    assert (await api.introspect(client, hers.access_token))["active"] == goes_on
    assert await outcome(api.refresh(client, hers.refresh_token)) == ("" if goes_on else DEAD)


async def test_what_a_call_opened_ends_with_the_text_messages_of_the_same_telephone(api: Api, world: World) -> None:
    stage = await stolen(api, world)
    by_call = await stage.by_phone(way="voice", scope="offline_access")

    await by_its_owner(stage)

    assert await reason(api.refresh(stage.client, by_call.refresh_token)) == DEAD


async def test_a_refresh_does_not_forget_where_it_came_from(api: Api, world: World) -> None:
    stage = await stolen(api, world)
    again = a(Tokens, await api.refresh(stage.client, stage.tokens.refresh_token))

    await by_its_owner(stage)

    assert await api.introspect(stage.client, again.access_token) == INACTIVE
    assert await reason(api.refresh(stage.client, again.refresh_token)) == DEAD


async def test_a_token_for_changing_authenticators_ends_at_once(api: Api, world: World) -> None:
    stage = await stolen(api, world)
    client = stage.client
    bearer = (await stage.by_phone(scope=MFA_SCOPE, audience=AUDIENCE)).access_token
    pending = await api.enroll(bearer)
    (app,) = [row.id for row in await api.list(bearer) if row.type == "otp" and row.active]

    await by_its_owner(stage)

    assert await reason(api.list(bearer)) == "BEARER_INVALID"
    assert await reason(api.enroll(bearer)) == "BEARER_INVALID"
    assert await reason(api.remove(bearer, app)) == "BEARER_INVALID"
    assert await reason(api.rename(bearer, app, "mine")) == "BEARER_INVALID"
    assert await reason(api.otp(client, bearer, world.otp(pending.secret))) == "MFA_TOKEN_STALE"


async def test_a_device_does_not_pair_with_what_a_token_began_that_has_ended(api: Api, world: World) -> None:
    stage = await stolen(api, world)
    bearer = (await stage.by_phone(scope=MFA_SCOPE, audience=AUDIENCE)).access_token
    async with phone_shop(world) as phones:
        device = phones.phone(await api.enroll(bearer, "push"))

        await by_its_owner(stage)

        assert await reason(device.pair()) == "PAIRING_NOT_FOUND"


async def test_a_device_pairs_with_what_a_token_began_that_removed_something(api: Api, world: World) -> None:
    stage = await stolen(api, world)
    bearer = await mfa_access_token(api, world, stage.client, stage.alice)
    async with phone_shop(world) as phones:
        begun = await api.enroll(bearer, "push")
        await api.remove(bearer, stage.phone)

        await phones.phone(begun).pair()

        a(Tokens, await api.oob(stage.client, bearer, begun.oob_code))


async def test_the_token_that_removes_what_it_came_from_goes_on(api: Api, world: World) -> None:
    stage = await stolen(api, world)
    bearer = await mfa_access_token(api, world, stage.client, stage.alice)
    (app,) = [row.id for row in await api.list(bearer) if row.type == "otp"]
    other = await mfa_access_token(api, world, stage.client, stage.alice)

    await api.remove(bearer, app)

    assert [row.id for row in await api.list(bearer) if row.type == "otp"] == []
    begun = await api.enroll(bearer)
    a(Tokens, await api.otp(stage.client, bearer, world.otp(begun.secret)))
    assert (await api.introspect(stage.client, bearer))["active"]
    assert await reason(api.list(other)) == "BEARER_INVALID"


async def test_a_login_that_goes_on_loses_what_was_shown_in_it(api: Api, world: World) -> None:
    stage = await stolen(api, world)
    client, key = stage.client, SecurityKey()
    bearer = await mfa_access_token(api, world, client, stage.alice)
    await another_key(api, client, bearer, key)
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD, acr_values=["urn:cofactor:acr:phr"]))
    held = a(MfaRequired, await api.otp(client, login.mfa_token, world.otp(stage.alice.secret))).mfa_token
    (app,) = [row.id for row in await api.list(bearer) if row.type == "otp"]
    key_bearer = await key_token(api, client, key)

    await api.remove(key_bearer, app)

    assert await reason(api.challenge(client, held, types=TYPES)) == "MFA_TOKEN_STALE"
    assert await reason(api.recovery(client, held, stage.alice.recovery_code)) == "MFA_TOKEN_STALE"


async def key_token(api: Api, client: ClientCredentials, key: SecurityKey) -> str:
    """Return a token for changing authenticators that a key completed."""
    login = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=AUDIENCE)
    made = await api.challenge(client, login.mfa_token, types=TYPES)
    signed = await api.webauthn(client, login.mfa_token, made.oob_code, key.take(made.public_key))
    return a(Tokens, signed).access_token


async def test_what_a_recovery_code_opened_ends_with_new_codes(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client, scope="offline_access")
    thiefs = a(Tokens, await grpc_api.recovery(client, login.mfa_token, alice.recovery_code))
    bearer = await mfa_access_token(grpc_api, world, client, alice)

    await grpc_api.enroll(bearer, "recovery-code")

    assert await reason(grpc_api.refresh(client, thiefs.refresh_token)) == DEAD


# Browsers


async def by_phone_remembered(stage: Stolen, api: GrpcApi) -> str:
    login = await logged_in_to_mfa(api, stage.client)
    sent = await challenged(api, stage.client, login.mfa_token, stage.phone)
    code = stage.world.outbox.sent[-1].code
    tokens = a(Tokens, await api.oob(stage.client, login.mfa_token, sent.oob_code, code, remember=True))
    return tokens.remember_token


async def asked(api: GrpcApi, client: ClientCredentials, token: str, **wanted: Any) -> bool:
    return isinstance(await api.password(client, ALICE, PASSWORD, remember_token=token, **wanted), MfaRequired)


@pytest.mark.requirement("S46")
@pytest.mark.parametrize("way", [*ONE, *ALL], ids=lambda way: str(way.__name__))
async def test_a_browser_is_asked_again_when_what_it_is_remembered_by_is_gone(
    way: Callable[[Stolen], Awaitable[None]], grpc_api: GrpcApi, world: World
) -> None:
    stage = await stolen(grpc_api, world)
    browser = await by_phone_remembered(stage, grpc_api)
    assert not await asked(grpc_api, stage.client, browser)
    skipped = a(
        Tokens,
        await grpc_api.password(stage.client, ALICE, PASSWORD, remember_token=browser, scope="offline_access"),
    )
    if way is by_signing_out:
        ended = await world.app.operators.sign_out("default", ALICE)
        assert (len(ended.refresh_tokens), len(ended.browsers)) == (3, 1)
    else:
        await way(stage)

    assert await reason(grpc_api.refresh(stage.client, skipped.refresh_token)) == DEAD
    assert await grpc_api.introspect(stage.client, skipped.access_token) == INACTIVE
    if way is not by_a_reset:
        assert await asked(grpc_api, stage.client, browser)


async def test_it_has_no_guesses_of_the_owners_either(grpc_api: GrpcApi, world: World) -> None:
    stage = await stolen(grpc_api, world)
    browser = await by_phone_remembered(stage, grpc_api)
    await by_its_owner(stage)
    said = await fail(grpc_api, world, stage.client, stage.alice, 11)
    assert said[-1] == "TOO_MANY_FAILED_CODES"

    login = await grpc_api.password(stage.client, ALICE, PASSWORD, remember_token=browser, max_age=0)

    code = world.otp(stage.alice.secret)
    assert await reason(grpc_api.otp(stage.client, a(MfaRequired, login).mfa_token, code)) == "TOO_MANY_FAILED_CODES"


async def test_a_browser_of_another_authenticator_stays_and_refreshes_unasked(grpc_api: GrpcApi, world: World) -> None:
    stage = await stolen(grpc_api, world)
    login = await logged_in_to_mfa(grpc_api, stage.client)
    code = world.otp(stage.alice.secret)
    browser = a(Tokens, await grpc_api.otp(stage.client, login.mfa_token, code, remember=True)).remember_token
    world.clock.advance(PERIOD)

    await by_its_owner(stage)

    skipped = await grpc_api.password(stage.client, ALICE, PASSWORD, remember_token=browser, scope="offline_access")
    again = a(Tokens, await grpc_api.refresh(stage.client, a(Tokens, skipped).refresh_token))
    assert (await grpc_api.introspect(stage.client, again.access_token))["acr"] == "urn:cofactor:acr:1fa"


async def test_a_browser_of_before_is_asked_once(grpc_api: GrpcApi, world: World) -> None:
    stage = await stolen(grpc_api, world)
    browser = await by_phone_remembered(stage, grpc_api)
    await change(world, "browsers", {"authenticators": "", "epoch": 0})

    assert await asked(grpc_api, stage.client, browser)


# What is said, and signing out


async def test_who_removes_it_is_told_what_ended(grpc_api: GrpcApi, world: World) -> None:
    stage = await stolen(grpc_api, world)
    await by_phone_remembered(stage, grpc_api)
    bearer = await mfa_access_token(grpc_api, world, stage.client, stage.alice)

    assert await grpc_api.end(bearer, stage.phone, sign_out=False) == (1, 1)

    (event,) = [row for row in await rows(world, "events") if row.name == "authenticator.removed"]
    assert json.loads(event.details) == {"ended_refresh_tokens": "1", "ended_browsers": "1"}


async def test_a_removal_may_sign_out_everywhere(grpc_api: GrpcApi, world: World) -> None:
    stage = await stolen(grpc_api, world)
    client, begun = stage.client, await logged_in_to_mfa(grpc_api, stage.client)
    await by_phone_remembered(stage, grpc_api)
    bearer = await mfa_access_token(grpc_api, world, client, stage.alice)

    assert await grpc_api.end(bearer, stage.phone, sign_out=True) == (2, 1)

    for token in (stage.tokens.access_token, stage.hers.access_token, stage.hers.refresh_token, bearer):
        assert await grpc_api.introspect(client, token) == INACTIVE
    assert await reason(grpc_api.refresh(client, stage.hers.refresh_token)) == DEAD
    assert await reason(grpc_api.list(bearer)) == "MFA_TOKEN_STALE"
    code = world.otp(stage.alice.secret)
    assert await reason(grpc_api.otp(client, begun.mfa_token, code)) == "MFA_TOKEN_STALE"
    a(Tokens, await grpc_api.otp(client, (await logged_in_to_mfa(grpc_api, client)).mfa_token, code))


async def test_an_operators_removal_says_what_ended(api: Api, world: World) -> None:
    stage = await stolen(api, world)

    await by_an_operator(stage)
    await by_a_reset(stage)

    removed, reset = [
        json.loads(row.details)
        for row in await rows(world, "events")
        if row.name in ("authenticator.removed", "user.mfa_reset")
    ]
    assert (removed["ended_refresh_tokens"], reset["ended_refresh_tokens"]) == ("1", "1")


# What a password alone opened


@pytest.mark.parametrize("given", [WHEN_ENROLLED])
async def test_what_a_password_opened_before_the_first_enrollment_takes_a_factor_after_it(
    given: dict[str, Any], api: Api, world: World
) -> None:
    client = await shop(world)
    await world.user()
    thiefs = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access"))
    hers = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access"))
    before = a(Tokens, await api.refresh(client, hers.refresh_token))
    bearer = await one_factor_token(api, world, client)
    app = await api.enroll(bearer)
    confirmed = a(Tokens, await api.otp(client, bearer, world.otp(app.secret))).access_token
    world.clock.advance(PERIOD)

    assert "otp" in [row.type for row in await api.list(confirmed) if row.active]  # the enrolling session goes on
    login = a(MfaRequired, await api.refresh(client, thiefs.refresh_token))
    assert (login.wants, await reason(api.enroll(login.mfa_token))) == ("challenge", "ALREADY_ENROLLED")
    login = a(MfaRequired, await api.refresh(client, before.refresh_token))
    raised = a(Tokens, await api.otp(client, login.mfa_token, world.otp(app.secret)))
    assert (await api.introspect(client, raised.access_token))["acr"] == "urn:cofactor:acr:mfa"
    again = a(Tokens, await api.refresh(client, raised.refresh_token))
    assert again.refresh_token


@pytest.mark.parametrize("given", [{"mfa_policy": MfaPolicy.NEVER, "kinds": KINDS}])
async def test_where_policy_asks_for_more_by_now_a_refresh_asks_too(
    given: dict[str, Any], api: Api, world: World
) -> None:
    client = await shop(world)
    await world.user()
    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access"))
    rule = await world.app.policies.add(NewRule(MfaPolicy.ALWAYS, client_id=client[0]))

    login = a(MfaRequired, await api.refresh(client, tokens.refresh_token))

    assert (login.wants, await reason(api.enroll(login.mfa_token))) == ("enroll", "ENROLLMENT_NEEDS_LOGIN")
    await world.app.policies.remove(rule.id)
    assert await outcome(api.refresh(client, tokens.refresh_token)) == ""  # nothing was used up


@pytest.mark.parametrize("given", [{"mfa_policy": MfaPolicy.NEVER, "kinds": KINDS}])
async def test_where_policy_never_asks_a_refresh_does_not_either(given: dict[str, Any], api: Api, world: World) -> None:
    client, strict = await shop(world), await shop(world, mfa_policy=MfaPolicy.ALWAYS)
    await world.user()
    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access"))

    await enrolled(api, world, strict, create=False)

    assert await outcome(api.refresh(client, tokens.refresh_token)) == ""


async def test_a_refresh_token_of_before_takes_a_factor_once(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    (family,) = await rows(world, "refresh_families")
    known = {"authenticators", "spared"}
    before = {name: value for name, value in json.loads(family.authentication).items() if name not in known}
    await change(world, "refresh_families", {"authentication": json.dumps(before)})

    login = a(MfaRequired, await api.refresh(client, alice.tokens.refresh_token))

    backed = a(Tokens, await api.otp(client, login.mfa_token, world.otp(alice.secret)))
    assert await outcome(api.refresh(client, backed.refresh_token)) == ""
