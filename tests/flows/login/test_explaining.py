"""Decisions explained: what is told is what happens, and telling changes nothing. Over gRPC, which alone carries it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from cofactor.v1 import policies_pb2 as pb
from cofactor.v1 import tokens_pb2
from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.logins.explanations import DecisionQuestion
from cofactor_server.domain.parties.clients import Capability
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.services.policy.rules import NewRule
from cofactor_server.store.tables import events, metadata
from sqlalchemy import delete, select

from tests.support.flows.api import ClientCredentials, GrpcApi, Refused, Tokens, call
from tests.support.flows.attacks import DAY, exhaust, fail, reason, wrong
from tests.support.flows.hooks import AS_RULED, SKIP, HookServer, Says, deny, hook_server, require
from tests.support.flows.steps import ALICE, MFA_SCOPE, enrolled, logged_in_to_mfa, shop
from tests.support.world import API, ISSUER, PASSWORD, USER_GRANTS, World

HOME, ELSEWHERE = "203.0.113.7", "198.51.100.9"
PHR = "urn:cofactor:acr:phr"
OUTCOMES = {
    pb.DECISION_OUTCOME_TOKENS: "Tokens",
    pb.DECISION_OUTCOME_MFA_REQUIRED: "MfaRequired",
    pb.DECISION_OUTCOME_ENROLLMENT_REQUIRED: "MfaRequired",
    pb.DECISION_OUTCOME_BLOCKED: "USER_BLOCKED",
    pb.DECISION_OUTCOME_DENIED: "LOGIN_DENIED",
    pb.DECISION_OUTCOME_UNREACHABLE: "UNMET_AUTHENTICATION_REQUIREMENTS",
}


@pytest.fixture
async def hook() -> AsyncIterator[HookServer]:
    async with hook_server() as server:
        yield server


@pytest.fixture
def given(request: pytest.FixtureRequest) -> dict[str, Any]:
    """With a hook where a test asks for one."""
    if "hook" not in request.fixturenames:
        return {}
    hook: HookServer = request.getfixturevalue("hook")
    return {"hook": replace(hook.target, seconds=10)}


async def support(world: World, **given: Any) -> ClientCredentials:
    """Create a client that may name users, and forwards where they are."""
    capabilities = frozenset({Capability.USERS_MANAGE, Capability.FORWARD_SOURCE})
    return await shop(world, name="Support", **{"capabilities": capabilities, "grant_types": USER_GRANTS, **given})


async def explain(
    api: GrpcApi, client: ClientCredentials, subject: str = ALICE, *, target: Any = None, **asked: Any
) -> pb.ExplainDecisionResponse:
    request = pb.ExplainDecisionRequest(
        subject=subject, target=tokens_pb2.TokenTarget(**target) if target else None, **asked
    )
    asking = api.policies.ExplainDecision(request, metadata=api.by_client(client))
    answer: pb.ExplainDecisionResponse = await call(asking)
    return answer


async def follows(api: GrpcApi, client: ClientCredentials, **target: Any) -> str:
    """Log in, and return what came of it."""
    try:
        return type(await api.password(client, ALICE, PASSWORD, **target)).__name__
    except Refused as refused:
        return refused.reason


def budget(of: Any, name: str) -> pb.BudgetStanding:
    found: list[pb.BudgetStanding] = [one for one in of.budgets if one.name == name]
    assert len(found) == 1
    return found[0]


async def everything(world: World) -> dict[str, list[Any]]:
    """Return every row there is."""
    tables = metadata.sorted_tables
    return await world.app.database.read(
        lambda connection: {table.name: sorted(map(repr, connection.execute(select(table)))) for table in tables}
    )


@pytest.mark.parametrize("given", [{"mfa_policy": MfaPolicy.WHEN_ENROLLED}])
async def test_what_is_told_is_what_follows(given: dict[str, Any], grpc_api: GrpcApi, world: World) -> None:
    client = await support(world)
    policies, operators = world.app.policies, world.app.operators
    told, came = [], []

    async def both(**target: Any) -> None:
        told.append(OUTCOMES[(await explain(grpc_api, client, target=target)).outcome])
        came.append(await follows(grpc_api, client, **target))

    await world.user()
    await both()
    await policies.add(NewRule(MfaPolicy.ALWAYS, audience=API))
    await both()
    await both(acr_values=[PHR])
    user = await enrolled(grpc_api, world, client, create=False)
    await both()
    await both(acr_values=[PHR])
    await both(audience=f"{ISSUER}mfa/", scope=MFA_SCOPE)
    await both(audience=f"{ISSUER}mfa/", scope=MFA_SCOPE, acr_values=["urn:cofactor:acr:mfa"])
    await exhaust(grpc_api, world, client, user)
    await both()
    await operators.set_blocked("default", ALICE, blocked=True)
    await both()

    assert told == came
    assert told == [
        "Tokens",
        "MfaRequired",
        "UNMET_AUTHENTICATION_REQUIREMENTS",
        "MfaRequired",
        "UNMET_AUTHENTICATION_REQUIREMENTS",
        "MfaRequired",
        "MfaRequired",
        "MfaRequired",
        "USER_BLOCKED",
    ]


@pytest.mark.usefixtures("scopes")
async def test_it_is_told_which_rule_asks_for_what(grpc_api: GrpcApi, world: World) -> None:
    client = await support(world)
    await enrolled(grpc_api, world, client)
    await world.app.policies.add(NewRule(MfaPolicy.ALWAYS, scope="pay", level=Level.MFA, two_kinds=True))
    (rule,) = await world.app.policies.every()

    plain = await explain(grpc_api, client)
    paying = await explain(grpc_api, client, target={"scope": "pay"})

    assert ([*plain.decided_by], plain.policy) == (["deployment"], pb.DECISION_POLICY_ALWAYS)
    assert (plain.enrolled, plain.may_be_remembered, [*plain.kinds]) == (True, True, ["totp", "recovery-code"])
    assert [*paying.decided_by] == ["deployment", rule.id]
    assert (paying.acr, paying.two_kinds, [*paying.wanted_by]) == ("urn:cofactor:acr:mfa", True, [rule.id])
    assert not paying.may_be_remembered


@pytest.mark.requirement("S1", "S2")
async def test_it_is_told_where_counters_stand_and_until_when(grpc_api: GrpcApi, world: World) -> None:
    client = await support(world)
    grpc_api.source = HOME
    user = await enrolled(grpc_api, world, client)
    grpc_api.source = ELSEWHERE
    login = await logged_in_to_mfa(grpc_api, client)
    refused = [await reason(grpc_api.otp(client, login.mfa_token, wrong(world, user.secret))) for _ in range(11)]
    assert refused[9:] == ["INVALID_OTP", "TOO_MANY_FAILED_CODES"]
    now = world.clock.now() // 1_000_000

    stranger = await explain(grpc_api, client, source_address=ELSEWHERE)
    owner = await explain(grpc_api, client, source_address=HOME)

    (app,) = [one for one in stranger.authenticators if one.kind == "totp"]
    assert (app.consecutive_failures, app.disabled_at_failures, app.offered) == (10, 100, True)
    assert (budget(app, "failed-codes-of-strangers").remaining, app.unlock_time.seconds) == (0, now + 360)
    assert budget(app, "failed-codes-of-strangers-in-a-day").remaining == 20
    assert budget(app, "failed-codes-of-known-sources").remaining == 10
    assert budget(stranger, "failed-codes-of-source").remaining == 90
    (same,) = [one for one in owner.authenticators if one.kind == "totp"]
    assert owner.source_known
    assert not same.HasField("unlock_time")
    world.clock.advance(361)
    later = await explain(grpc_api, client, source_address=ELSEWHERE)
    assert not next(one for one in later.authenticators if one.kind == "totp").HasField("unlock_time")
    assert await reason(grpc_api.otp(client, login.mfa_token, wrong(world, user.secret))) == "INVALID_OTP"


async def test_thirty_failures_of_strangers_in_a_day_lock_until_the_first_is_a_day_old(
    grpc_api: GrpcApi, world: World
) -> None:
    client = await support(world)
    user = await enrolled(grpc_api, world, client)
    for _ in range(3):
        assert await fail(grpc_api, world, client, user, 10) == ["INVALID_OTP"] * 10
        world.clock.advance(3_600)
    began = world.clock.now() // 1_000_000 - 3 * 3_600

    told = await explain(grpc_api, client)

    (app,) = [one for one in told.authenticators if one.kind == "totp"]
    assert budget(app, "failed-codes-of-strangers").remaining == 10
    assert budget(app, "failed-codes-of-strangers-in-a-day").remaining == 0
    assert app.unlock_time.seconds == began + DAY


async def test_it_is_told_until_when_a_name_is_throttled(grpc_api: GrpcApi, world: World) -> None:
    client = await support(world)
    await world.user()
    for _ in range(10):
        assert await reason(grpc_api.password(client, ALICE, "wrong")) == "INVALID_CREDENTIALS"
    assert await follows(grpc_api, client) == "TOO_MANY_ATTEMPTS"

    told = await explain(grpc_api, client)

    assert told.unlock_time.seconds == world.clock.now() // 1_000_000 + 360
    assert budget(told, "login-attempts-of-strangers").remaining == 0
    assert budget(told, "login-attempts-of-known-sources").remaining == 10
    assert not (await explain(grpc_api, client, vouched=True)).HasField("unlock_time")


async def test_messages_are_counted_before_anybody_is_locked_out(grpc_api: GrpcApi, world: World) -> None:
    client = await support(world)
    await world.user()
    told = await explain(grpc_api, client)
    left = {one.name: one.remaining for one in told.budgets}
    assert {name: left[name] for name in left if "message" in name or "mail" in name or "prompt" in name} == {
        "phone-messages-of-strangers": 10,
        "phone-messages-of-known-sources": 10,
        "mails-of-strangers": 20,
        "mails-of-known-sources": 20,
        "prompts-of-strangers": 5,
        "prompts-of-known-sources": 5,
        "prompts-in-vain": 10,
        "messages-of-client": 1_000,
    }


async def test_a_thousand_explanations_change_no_row_and_send_nothing(
    grpc_api: GrpcApi, world: World, engine: str
) -> None:
    client = await support(world)
    user = await enrolled(grpc_api, world, client)
    await fail(grpc_api, world, client, user, 3)
    before, sent = await everything(world), len(world.outbox.sent)

    told = await explain(grpc_api, client, source_address=HOME)
    asked = DecisionQuestion(ALICE, client_id=client[0], source=HOME)
    for _ in range(20 if engine == "sqlite" else 1):
        await asyncio.gather(*(world.app.explaining.explain(Caller(), asked) for _ in range(50)))

    assert await explain(grpc_api, client, source_address=HOME) == told
    assert await everything(world) == before
    assert len(world.outbox.sent) == sent


async def test_no_budget_source_or_decision_depends_on_events_that_are_pruned(grpc_api: GrpcApi, world: World) -> None:
    client = await support(world)
    grpc_api.source = HOME
    user = await enrolled(grpc_api, world, client)
    await fail(grpc_api, world, client, user, 3)
    grpc_api.source = ELSEWHERE
    await fail(grpc_api, world, client, user, 10)
    assert await reason(grpc_api.password(client, ALICE, "wrong")) == "INVALID_CREDENTIALS"
    told = [await explain(grpc_api, client, source_address=source) for source in (HOME, ELSEWHERE)]

    await world.app.database.transact(lambda connection: connection.execute(delete(events)))

    assert [await explain(grpc_api, client, source_address=source) for source in (HOME, ELSEWHERE)] == told
    assert await fail(grpc_api, world, client, user, 1) == ["TOO_MANY_FAILED_CODES"]
    grpc_api.source = HOME
    world.clock.advance(30)
    login = await logged_in_to_mfa(grpc_api, client)
    assert isinstance(await grpc_api.otp(client, login.mfa_token, world.otp(user.secret)), Tokens)


async def test_only_clients_that_manage_users_of_the_realm_are_told(grpc_api: GrpcApi, world: World) -> None:
    plain, helper = await shop(world), await support(world)
    of_staff = await support(world, realms=("staff",))
    await world.user()

    assert await reason(explain(grpc_api, plain)) == "CALLER_NOT_ALLOWED"
    assert await reason(explain(grpc_api, of_staff)) == "REALM_UNKNOWN"
    assert await reason(explain(grpc_api, helper, realm="staff")) == "REALM_UNKNOWN"
    assert await reason(explain(grpc_api, helper, client_id=of_staff[0])) == "REALM_UNKNOWN"
    assert await reason(explain(grpc_api, helper, "nobody")) == "NOT_FOUND"
    assert await reason(explain(grpc_api, helper, client_id="cli_nobody")) == "NOT_FOUND"
    assert await reason(explain(grpc_api, helper, source_address="nowhere")) == "INVALID_REQUEST"
    assert (await explain(grpc_api, helper, client_id=plain[0])).outcome == pb.DECISION_OUTCOME_ENROLLMENT_REQUIRED


WORDS: dict[str, tuple[Says, Any, str]] = {
    "as ruled": (AS_RULED, pb.HOOK_WORD_AS_RULED, "MfaRequired"),
    "more": (require(PHR), pb.HOOK_WORD_REQUIRES_MFA, "UNMET_AUTHENTICATION_REQUIREMENTS"),
    "no login": (deny("so"), pb.HOOK_WORD_DENIES, "LOGIN_DENIED"),
    "less": (SKIP, pb.HOOK_WORD_MAY_NOT_SKIP_MFA, "MfaRequired"),
    "garbage": (b"\xff", pb.HOOK_WORD_NO_ANSWER, "MfaRequired"),
}


async def test_the_hook_is_asked_where_that_is_wanted_and_knows_that_nobody_logs_in(
    grpc_api: GrpcApi, world: World, hook: HookServer
) -> None:
    client = await support(world)
    await enrolled(grpc_api, world, client)
    hook.asked.clear()
    assert (await explain(grpc_api, client)).hook == pb.HOOK_WORD_NOT_ASKED
    assert hook.asked == []
    before = await everything(world)

    for says, word, outcome in WORDS.values():
        hook.says = says
        told = await explain(grpc_api, client, ask_hook=True)
        assert (told.hook, OUTCOMES[told.outcome]) == (word, outcome)

    assert await everything(world) == before
    assert {(asked.dry_run, asked.login_id) for asked in hook.asked} == {(True, "")}
    for says, _, outcome in WORDS.values():
        hook.says = says
        assert await follows(grpc_api, client) == outcome
