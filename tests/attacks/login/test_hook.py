"""Security decision 13: the operator's hook asks for more, for less only where it may, and silence is a demand."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from cofactor.hooks.v1 import decisions_pb2 as pb
from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.parties.clients import Capability, GrantType
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.hooks.target import SECONDS
from cofactor_server.seams import SECOND
from cofactor_server.services.policy.rules import NewRule

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, MfaRequired, Tokens
from tests.support.flows.attacks import MALLORY, add_mailed, names, reason, rows
from tests.support.flows.hooks import AS_RULED, SKIP, HookServer, Says, deny, hook_server, require
from tests.support.flows.steps import ALICE, MFA_SCOPE, PERIOD, a, enrolled, read, shop
from tests.support.world import API, ISSUER, PASSWORD, USER_GRANTS, World

MAY_SKIP = {"capabilities": frozenset({Capability.HOOK_MAY_SKIP})}
NEVER, ALWAYS = MfaPolicy.NEVER, MfaPolicy.ALWAYS
SILENCES: dict[str, Says] = {
    "an error": grpc.StatusCode.INTERNAL,
    "a refusal": grpc.StatusCode.PERMISSION_DENIED,
    "garbage": b"\xff\xff\xff",
    "a decision of tomorrow": b"\x7a\x02\x08\x01",
    "no decision": b"",
    "a level of tomorrow": require("urn:cofactor:acr:tomorrow"),
    "more than is read": deny("x" * 20_000),
    "too many kinds": require(kinds=[f"kind-{number}" for number in range(17)]),
}


@pytest.fixture
async def hook() -> AsyncIterator[HookServer]:
    async with hook_server() as server:
        yield server


@pytest.fixture
def policy() -> MfaPolicy:
    """Asks nobody, unless a test says otherwise."""
    return NEVER


@pytest.fixture
def given(hook: HookServer, policy: MfaPolicy, request: pytest.FixtureRequest) -> dict[str, Any]:
    """It has all the time that a busy machine may need, unless a test is about that."""
    asked = {"seconds": 10, "strict": False, **getattr(request, "param", {})}
    return {"hook": replace(hook.target, seconds=asked.pop("seconds")), "mfa_policy": policy, **asked}


def counted(world: World, outcome: str) -> float:
    return world.app.metrics.get_sample_value("cofactor_hook_calls_total", {"outcome": outcome}) or 0


async def asked(api: Api, client: ClientCredentials, **target: Any) -> bool:
    return isinstance(await api.password(client, ALICE, PASSWORD, **target), MfaRequired)


@pytest.mark.usefixtures("scopes")
async def test_it_is_told_who_logs_in_to_what_and_what_policy_says(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    user = await world.user()
    await world.app.policies.add(NewRule(ALWAYS, scope="pay", level=Level.MFA))
    (rule,) = await world.app.policies.every()

    await api.password(client, ALICE, PASSWORD, scope="openid pay")

    (told,) = hook.asked
    assert (told.issuer, told.client_id, told.audience, [*told.scopes]) == (ISSUER, client[0], API, ["openid", "pay"])
    subject = told.subject
    assert (subject.user_id, subject.realm, subject.name, subject.enrolled) == (user.id, "default", ALICE, False)
    assert (told.grant_type, [*told.methods], told.dry_run, told.source_known) == ("password", ["pwd"], False, False)
    assert told.ruling == pb.Ruling(requires_mfa=True, decided_by=[rule.id], acr="urn:cofactor:acr:mfa")
    assert told.login_id
    assert PASSWORD not in str(told)


async def test_it_hears_of_vouched_logins_and_of_places_that_the_user_knows(
    grpc_api: GrpcApi, world: World, hook: HookServer
) -> None:
    capabilities = frozenset({Capability.VOUCH, Capability.ENROLL, Capability.FORWARD_SOURCE})
    grants = USER_GRANTS | {GrantType.VOUCHED}
    client = await shop(world, capabilities=capabilities, grant_types=grants, realms=("default",))
    grpc_api.source, hook.says = "203.0.113.7", require()
    await enrolled(grpc_api, world, client)

    vouch = ("default", ALICE, ["pwd"], world.clock.now() / SECOND)
    said = [await grpc_api.vouched(client, *vouch)]
    grpc_api.source = "2001:db8::1"
    said.append(await grpc_api.vouched(client, *vouch))
    hook.says = deny()
    refused = await reason(grpc_api.vouched(client, *vouch))

    assert [type(outcome) for outcome in said] == [MfaRequired, MfaRequired]
    assert refused == "LOGIN_DENIED"
    assert [(told.grant_type, told.source_address, told.source_known) for told in hook.asked[1:]] == [
        (GrantType.VOUCHED, "203.0.113.7", True),
        (GrantType.VOUCHED, "2001:db8::/64", False),
        (GrantType.VOUCHED, "2001:db8::/64", False),
    ]
    assert [*hook.asked[1].subject.kinds] == ["totp", "recovery-code"]


async def test_a_wrong_password_asks_nobody(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    await world.user()
    assert await reason(api.password(client, ALICE, "wrong")) == "INVALID_CREDENTIALS"
    assert await reason(api.password(client, MALLORY, "wrong")) == "INVALID_CREDENTIALS"
    assert hook.asked == []


async def test_policys_word_stands_where_it_has_nothing_to_say(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    await world.user()
    assert not await asked(api, client)
    await world.app.policies.add(NewRule(ALWAYS))
    assert await asked(api, client)
    assert counted(world, "as_ruled") == 2


async def test_it_asks_for_a_factor_where_policy_does_not(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    hook.says = require()

    user = await enrolled(api, world, client)
    _, claims = await read(api, user.tokens.access_token)

    assert claims["acr"] == "urn:cofactor:acr:mfa"
    assert len(hook.asked) == 1  # what it said is kept in the mfa_token


@pytest.mark.requirement("S133")
async def test_a_level_that_it_wants_is_reached_or_nothing_is_issued(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    hook.says = require()
    user = await enrolled(api, world, client)

    hook.says = require("urn:cofactor:acr:phr")
    assert await reason(api.password(client, ALICE, PASSWORD)) == "UNMET_AUTHENTICATION_REQUIREMENTS"
    hook.says = require("urn:cofactor:acr:phr", "urn:cofactor:acr:mfa", "urn:else")
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))
    hook.says = deny()  # too late

    more = a(MfaRequired, await api.recovery(client, login.mfa_token, user.recovery_code))
    a(Tokens, await api.otp(client, more.mfa_token, world.otp(user.secret)))
    assert len(hook.asked) == 3


async def test_two_kinds_that_it_wants_are_two_kinds(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    hook.says = require()
    user = await enrolled(api, world, client)
    hook.says = require(two_kinds=True)
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))
    hook.says = AS_RULED

    more = a(MfaRequired, await api.recovery(client, login.mfa_token, user.recovery_code))
    a(Tokens, await api.otp(client, more.mfa_token, world.otp(user.secret)))


async def test_kinds_that_it_names_are_shown_and_no_others(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    hook.says = require()
    user = await enrolled(api, world, client)
    await add_mailed(api, world, client, user)
    hook.says = require(kinds=["sms"])
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))
    hook.says = AS_RULED

    code = world.otp(user.secret)
    assert await reason(api.otp(client, login.mfa_token, code)) == "ANOTHER_KIND_REQUIRED"
    assert await reason(api.recovery(client, login.mfa_token, user.recovery_code)) == "ANOTHER_KIND_REQUIRED"
    assert await reason(api.challenge(client, login.mfa_token, types=["otp"])) == "CHALLENGE_TYPE_UNSUPPORTED"
    sent = await api.challenge(client, login.mfa_token, types=["oob"])
    a(Tokens, await api.oob(client, login.mfa_token, sent.oob_code, world.outbox.sent[-1].code))


async def test_a_user_without_the_kinds_that_it_names_gets_nothing(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    hook.says = require()
    await enrolled(api, world, client)
    await world.user(MALLORY)
    hook.says = require(kinds=["webauthn", "carrier-pigeon"])

    assert await reason(api.password(client, ALICE, PASSWORD)) == "UNMET_AUTHENTICATION_REQUIREMENTS"
    assert await reason(api.password(client, MALLORY, PASSWORD)) == "UNMET_AUTHENTICATION_REQUIREMENTS"


async def test_another_kind_can_not_be_enrolled_instead(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    await world.user()
    hook.says = require(kinds=["sms"])
    login = a(MfaRequired, await api.password(client, ALICE, PASSWORD))

    app = await api.enroll(login.mfa_token)

    assert await reason(api.otp(client, login.mfa_token, world.otp(app.secret))) == "ANOTHER_KIND_REQUIRED"
    assert {row.state for row in await rows(world, "authenticators")} == {"pending"}


async def test_whom_it_denies_gets_nothing_and_is_not_told_why(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    await world.user()
    hook.says = deny("left the company\non Friday")

    assert await reason(api.password(client, ALICE, PASSWORD)) == "LOGIN_DENIED"

    (event,) = [row for row in await rows(world, "events") if row.name == "hook.denied"]
    assert "left the company on Friday" in event.details
    assert event.login_id == hook.asked[0].login_id


@pytest.mark.parametrize("policy", [ALWAYS])
async def test_it_can_take_nothing_away_from_clients_without_the_capability(
    policy: MfaPolicy, api: Api, world: World, hook: HookServer
) -> None:
    client = await shop(world)
    await world.user()
    hook.says = SKIP
    assert await asked(api, client)


@pytest.mark.parametrize("policy", [ALWAYS])
async def test_it_spares_users_of_a_trusted_client_and_their_tokens_say_one_factor(
    policy: MfaPolicy, api: Api, world: World, hook: HookServer
) -> None:
    client = await shop(world, **MAY_SKIP)
    await enrolled(api, world, client)
    hook.says = SKIP

    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD))

    _, claims = await read(api, tokens.access_token)
    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:1fa", ["pwd"])
    assert (await names(world, "events"))[-1] == "hook.skipped"


@pytest.mark.parametrize("policy", [ALWAYS])
async def test_what_it_spared_is_refreshed_unasked_until_its_user_wants_more(
    policy: MfaPolicy, api: Api, world: World, hook: HookServer
) -> None:
    client = await shop(world, **MAY_SKIP)
    await enrolled(api, world, client)
    hook.says = SKIP

    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access"))

    again = a(Tokens, await api.refresh(client, tokens.refresh_token))
    assert isinstance(await api.refresh(client, again.refresh_token, acr_values=["urn:cofactor:acr:mfa"]), MfaRequired)


@pytest.mark.parametrize("policy", [ALWAYS])
@pytest.mark.usefixtures("scopes")
async def test_it_spares_no_factor_that_somebody_wants(
    policy: MfaPolicy, grpc_api: GrpcApi, world: World, hook: HookServer
) -> None:
    client = await shop(world, **MAY_SKIP)
    await enrolled(grpc_api, world, client)
    await world.app.policies.add(NewRule(ALWAYS, scope="pay", level=Level.MFA))
    hook.says = SKIP

    assert await asked(grpc_api, client, acr_values=["urn:cofactor:acr:mfa"])
    assert await asked(grpc_api, client, acr_values=["urn:cofactor:acr:1fa"])
    assert await asked(grpc_api, client, max_age=3_600)
    assert await asked(grpc_api, client, scope="pay")
    assert await asked(grpc_api, client, audience=f"{ISSUER}mfa/", scope=MFA_SCOPE)
    assert not await asked(grpc_api, client)


@pytest.mark.parametrize("given", [{"strict": True}], indirect=True)
async def test_it_spares_nobody_in_the_strict_profile(grpc_api: GrpcApi, world: World, hook: HookServer) -> None:
    client = await shop(world, **MAY_SKIP)
    await world.user(mfa_policy=ALWAYS)
    hook.says = SKIP
    assert await asked(grpc_api, client)


async def test_what_is_no_answer_asks_for_a_factor(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world, **MAY_SKIP)
    await world.user()
    let_through = []
    for silence, says in SILENCES.items():
        hook.says = says
        if not await asked(api, client):
            let_through.append(silence)

    assert let_through == []
    failed = [row.client_id for row in await rows(world, "events") if row.name == "hook.failed"]
    assert failed == [client[0]] * len(SILENCES)
    assert counted(world, "failed") + counted(world, "unknown_answer") == len(SILENCES)


@pytest.mark.parametrize("given", [{"seconds": SECONDS}], indirect=True)
async def test_a_hook_that_is_late_asks_for_a_factor_after_300_milliseconds(
    api: Api, world: World, hook: HookServer
) -> None:
    client = await shop(world, **MAY_SKIP)
    await world.user()
    hook.says = "nothing"
    began = time.monotonic()

    assert await asked(api, client)

    assert SECONDS <= time.monotonic() - began < SECONDS + 5
    assert counted(world, "late") == 1
    assert "hook.failed" in await names(world, "events")


async def test_a_hook_that_is_down_asks_for_a_factor_and_comes_back(
    grpc_api: GrpcApi, world: World, hook: HookServer
) -> None:
    client = await shop(world)
    await world.user()
    assert not await asked(grpc_api, client)
    await hook.stop()
    assert await asked(grpc_api, client)
    assert counted(world, "away") == 1


async def test_a_remembered_browser_spares_nothing_that_it_asks_for(
    grpc_api: GrpcApi, world: World, hook: HookServer
) -> None:
    client = await shop(world)
    await world.app.policies.add(NewRule(ALWAYS, client_id=client[0]))
    user = await enrolled(grpc_api, world, client)
    login = a(MfaRequired, await grpc_api.password(client, ALICE, PASSWORD))
    tokens = a(Tokens, await grpc_api.otp(client, login.mfa_token, world.otp(user.secret), remember=True))
    world.clock.advance(PERIOD)
    browser = tokens.remember_token
    assert not await asked(grpc_api, client, remember_token=browser)

    for says in (require(), b""):
        hook.says = says
        assert await asked(grpc_api, client, remember_token=browser)
    hook.says = AS_RULED
    assert not await asked(grpc_api, client, remember_token=browser)


@pytest.mark.parametrize("change", ["block", "password", "reset"])
async def test_what_changes_while_it_thinks_counts(change: str, api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    await world.user()
    operators = world.app.operators

    async def happens() -> None:
        match change:
            case "block":
                await operators.set_blocked("default", ALICE, blocked=True)
            case "password":
                await operators.set_password("default", ALICE, "another battery")
            case "reset":
                await operators.reset_mfa("default", ALICE)

    hook.at_ask = happens
    expected = "USER_BLOCKED" if change == "block" else "INVALID_CREDENTIALS"
    assert await reason(api.password(client, ALICE, PASSWORD)) == expected


async def test_a_refresh_asks_nobody(api: Api, world: World, hook: HookServer) -> None:
    client = await shop(world)
    await world.user()
    tokens = a(Tokens, await api.password(client, ALICE, PASSWORD, scope="offline_access"))
    hook.says = deny()
    a(Tokens, await api.refresh(client, tokens.refresh_token))
    assert len(hook.asked) == 1
