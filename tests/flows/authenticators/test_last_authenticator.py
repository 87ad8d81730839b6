"""The last authenticator: kept where an operator has it kept, and an event and a notice of its own where it is not."""

import asyncio
import json
from typing import Any

import pytest
from cofactor.v1 import policies_pb2
from cofactor_server.domain.foundation.events import EventName, NoticeName
from cofactor_server.domain.parties.clients import Capability
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.errors import InvalidRequest
from cofactor_server.services.operators.users_and_clients import NewUser
from cofactor_server.services.policy.rules import NewRule

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, Refused, Tokens, call
from tests.support.flows.attacks import add_mailed, change, exhaust, names
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    Enrolled,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    reason,
    refusal,
    second_app,
    shop,
)
from tests.support.world import ISSUER, PASSWORD, World

KINDS = frozenset({"totp", "recovery-code", "sms", "voice"})
TEXT = "The last authenticator is kept. Enroll another one first, then remove this one."
PROFILE = "alice@profile.example.com"
KEPT = {"kinds": KINDS, "keep_last_authenticator": True}


@pytest.fixture
def given() -> dict[str, Any]:
    return KEPT


async def app_of(api: Api, bearer: str) -> str:
    """Return the id of the one authenticator app."""
    (row,) = [row for row in await api.list(bearer) if row.type == "otp"]
    return row.id


async def standing(api: Api, world: World, **given: Any) -> tuple[ClientCredentials, Enrolled, str]:
    """Return a client, a user with one authenticator app, and a token that manages authenticators."""
    client = await shop(world, **given)
    alice = await enrolled(api, world, client)
    return client, alice, await mfa_access_token(api, world, client, alice)


@pytest.mark.parametrize(
    "given", [KEPT, {"kinds": frozenset({"totp", "recovery-code"}), "strict": True}], ids=["setting", "strict"]
)
async def test_the_last_one_is_kept_and_nothing_has_changed(api: Api, world: World) -> None:
    client, alice, bearer = await standing(api, world)
    before = await api.list(bearer)

    refused = await refusal(api.remove(bearer, await app_of(api, bearer)))

    assert (refused.reason, refused.text) == ("LAST_AUTHENTICATOR", TEXT)
    assert await api.list(bearer) == before
    assert EventName.LAST_AUTHENTICATOR_REMOVED not in await names(world, "events")
    login = await logged_in_to_mfa(api, client)
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(alice.secret)))


async def test_one_is_replaced_by_enrolling_first_and_removing_then(api: Api, world: World) -> None:
    client, _, bearer = await standing(api, world)
    old = await app_of(api, bearer)

    await second_app(api, world, client, bearer)
    await api.remove(bearer, old)

    new = await app_of(api, bearer)
    assert new != old
    assert await reason(api.remove(bearer, new)) == "LAST_AUTHENTICATOR"
    assert EventName.AUTHENTICATOR_REMOVED in await names(world, "events")


async def test_a_recovery_code_still_replaces_what_was_lost(api: Api, world: World) -> None:
    client, alice, _ = await standing(api, world)
    login = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=f"{ISSUER}mfa/")
    bearer = a(Tokens, await api.recovery(client, login.mfa_token, alice.recovery_code)).access_token
    lost = await app_of(api, bearer)

    assert await reason(api.remove(bearer, lost)) == "LAST_AUTHENTICATOR"
    await second_app(api, world, client, bearer)
    await api.remove(bearer, lost)

    assert await app_of(api, bearer) != lost


async def test_what_does_not_count_as_enrolled_may_go(api: Api, world: World) -> None:
    _, _, bearer = await standing(api, world)
    await api.enroll(bearer)
    pending = next(row.id for row in await api.list(bearer) if row.type == "otp" and not row.active)
    code = next(row.id for row in await api.list(bearer) if row.type == "recovery-code")

    await api.remove(bearer, pending)
    await api.remove(bearer, code)

    left = await api.list(bearer)
    assert [row.type for row in left] == ["otp"]
    assert await reason(api.remove(bearer, left[0].id)) == "LAST_AUTHENTICATOR"


async def test_a_telephone_in_its_two_ways_is_one(api: Api, world: World) -> None:
    client, alice, bearer = await standing(api, world)
    await add_mailed(api, world, client, alice)
    bearer = await mfa_access_token(api, world, client, alice)
    await api.remove(bearer, await app_of(api, bearer))

    phones = [row.id for row in await api.list(bearer) if row.active and row.type == "phone"]

    assert len(phones) == 2
    assert [await reason(api.remove(bearer, phone)) for phone in phones] == ["LAST_AUTHENTICATOR"] * 2


async def test_one_that_failures_disabled_counts(api: Api, world: World) -> None:
    client, alice, _ = await standing(api, world)
    await exhaust(api, world, client, alice)
    login = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=f"{ISSUER}mfa/")
    bearer = a(Tokens, await api.recovery(client, login.mfa_token, alice.recovery_code)).access_token

    assert await reason(api.remove(bearer, await app_of(api, bearer))) == "LAST_AUTHENTICATOR"


async def test_of_two_that_are_removed_at_once_one_stays(api: Api, world: World) -> None:
    client, _, bearer = await standing(api, world)
    await second_app(api, world, client, bearer)
    both = [row.id for row in await api.list(bearer) if row.type == "otp"]

    answers = await asyncio.gather(*(api.remove(bearer, one) for one in both), return_exceptions=True)

    assert [a(Refused, e).reason for e in answers if e is not None] == ["LAST_AUTHENTICATOR"]
    assert await app_of(api, bearer) in both


@pytest.mark.parametrize("given", [{"kinds": KINDS}])
async def test_where_none_is_kept_the_last_removal_is_an_event_and_a_notice_of_its_own(api: Api, world: World) -> None:
    await world.app.operators.create_user(
        NewUser("default", ALICE, PASSWORD, ALICE, email=PROFILE, email_verified=True)
    )
    client = await shop(world)
    alice = await enrolled(api, world, client, create=False)
    bearer = await mfa_access_token(api, world, client, alice)
    await world.app.notices.send_due()
    world.outbox.sent.clear()

    await api.remove(bearer, await app_of(api, bearer))

    events = await names(world, "events")
    assert events.count(EventName.LAST_AUTHENTICATOR_REMOVED) == 1
    assert EventName.AUTHENTICATOR_REMOVED not in events
    await world.app.notices.send_due()
    assert [(m.to, m.notice) for m in world.outbox.sent] == [(PROFILE, NoticeName.LAST_AUTHENTICATOR_REMOVED)]
    # What follows, and docs/security.md says: the password alone enrolls the next one.
    assert (await logged_in_to_mfa(api, client)).types[:2] == ("otp", "phone")


@pytest.mark.parametrize("given", [{"kinds": KINDS}])
@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ({}, True),
        ({"realm": "default", "subject": ALICE}, True),
        ({"realm": "default", "subject": "bob@example.test"}, False),
    ],
    ids=["everybody", "alice", "bob"],
)
async def test_a_rule_keeps_one(rule: dict[str, Any], kept: bool, api: Api, world: World) -> None:
    await world.user("bob@example.test")
    _, _, bearer = await standing(api, world)
    await world.app.policies.add(NewRule(MfaPolicy.ALWAYS, keep_one=True, **rule))

    removing = api.remove(bearer, await app_of(api, bearer))

    if kept:
        assert await reason(removing) == "LAST_AUTHENTICATOR"
    else:
        await removing
        assert EventName.LAST_AUTHENTICATOR_REMOVED in await names(world, "events")


@pytest.mark.parametrize("given", [{"kinds": KINDS}])
async def test_setting_the_standing_policy_leaves_a_rule_that_keeps_one(api: Api, world: World) -> None:
    _, _, bearer = await standing(api, world)
    await world.app.policies.add(NewRule(MfaPolicy.ALWAYS, keep_one=True))

    await world.app.policies.set_standing([])

    assert await reason(api.remove(bearer, await app_of(api, bearer))) == "LAST_AUTHENTICATOR"


@pytest.mark.parametrize("given", [{"kinds": KINDS}])
@pytest.mark.parametrize("engine", ["sqlite"])
async def test_rules_of_the_version_before_are_read_as_they_were(world: World) -> None:
    rule = await world.app.policies.add(NewRule(MfaPolicy.ALWAYS))
    said = {"ask": "always", "client_id": "", "user_id": "", "audience": "", "scope": ""}
    attributes = json.dumps({**said, "level": 1, "two_kinds": False, "max_age": None})

    await change(world, "policies", {"attributes": attributes}, id=rule.id)

    assert [(r.id, r.keep_one) for r in await world.app.policies.every()] == [(rule.id, False)]


@pytest.mark.parametrize("engine", ["sqlite"])
@pytest.mark.parametrize(
    "rule",
    [
        {"ask": MfaPolicy.NEVER, "realm": "default", "subject": ALICE},
        {"ask": MfaPolicy.ALWAYS, "client_id": "cli_1"},
        {"ask": MfaPolicy.ALWAYS, "audience": "https://api.example.test/"},
        {"ask": MfaPolicy.ALWAYS, "scope": "pay"},
    ],
)
async def test_a_rule_that_keeps_one_is_for_users_and_asks(rule: dict[str, Any], world: World) -> None:
    await world.user()
    with pytest.raises(InvalidRequest):
        await world.app.policies.add(NewRule(keep_one=True, **rule))


@pytest.mark.parametrize(("given", "kept"), [(KEPT, True), ({"kinds": KINDS}, False)], ids=["kept", "not kept"])
async def test_support_is_told_whether_one_is_kept(kept: bool, grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world, capabilities=frozenset({Capability.USERS_MANAGE}))
    await world.user()

    request = policies_pb2.ExplainDecisionRequest(subject=ALICE)
    found = await call(grpc_api.policies.ExplainDecision(request, metadata=grpc_api.by_client(client)))

    assert found.keeps_last_authenticator is kept
