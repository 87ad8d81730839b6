"""Security decision 6: a client that vouches says one factor of the users it was given, and nothing more."""

from collections.abc import Sequence
from typing import Any

import pytest
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.domain.parties.clients import Capability, GrantType
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.errors import InvalidRequest
from cofactor_server.seams import SECOND

from tests.support.flows.api import ClientCredentials, GrpcApi, MfaRequired, Refused, RestApi, Tokens, rest_edge
from tests.support.flows.attacks import names, outcome, reason, refusal
from tests.support.flows.steps import ALICE, MFA_SCOPE, a, enrolled, shop
from tests.support.world import USER_GRANTS, World

NEVER = MfaPolicy.NEVER


async def voucher(world: World, *more: Capability, **given: Any) -> ClientCredentials:
    """Create a client that vouches for the default realm."""
    defaults: dict[str, Any] = {
        "name": "Backend",
        "grant_types": USER_GRANTS | {GrantType.VOUCHED},
        "capabilities": frozenset({Capability.VOUCH, *more}),
        "realms": ("default",),
    }
    return await shop(world, **{**defaults, **given})


async def vouch(
    api: GrpcApi,
    world: World,
    client: ClientCredentials,
    *,
    subject: str = ALICE,
    realm: str = "default",
    methods: Sequence[str] = ("pwd",),
    ago: float = 0,
    **given: Any,
) -> Tokens | MfaRequired:
    return await api.vouched(client, realm, subject, methods, world.clock.now() / SECOND - ago, **given)


async def test_vouching_is_not_served_over_rest(world: World) -> None:
    client = await voucher(world)
    async with rest_edge(world) as api:
        said = await reason(api.issue(client, "urn:cofactor:grant-type:vouched", realm="default", subject=ALICE))

    assert said == "UNSUPPORTED_GRANT_TYPE"
    assert isinstance(api, RestApi)


async def test_a_client_without_the_grant_does_not_vouch(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await world.user()

    assert await reason(vouch(grpc_api, world, client)) == "UNAUTHORIZED_CLIENT"


@pytest.mark.parametrize(
    "registered",
    [
        {"public": True},
        {"capabilities": frozenset()},
        {"grant_types": USER_GRANTS},
        {"realms": ()},
        {"vouch_methods": ("otp",)},
        {"vouch_methods": ("pwd", "mfa")},
        {"vouch_methods": ("hwk",)},
    ],
    ids=["public", "no capability", "no grant", "no realm", "otp", "mfa", "hwk"],
)
async def test_no_client_is_created_that_could_vouch_for_too_much(registered: dict[str, Any], world: World) -> None:
    with pytest.raises(InvalidRequest):
        await voucher(world, **registered)


async def test_a_realm_that_was_not_given_is_refused(grpc_api: GrpcApi, world: World) -> None:
    client = await voucher(world)
    await world.user(realm="staff")

    assert await reason(vouch(grpc_api, world, client, realm="staff")) == "VOUCH_REFUSED"


@pytest.mark.parametrize("methods", [("otp",), ("mfa",), ("pwd", "hwk"), ("pin",), ("pwd", "mfa")], ids=str)
async def test_more_than_the_clients_first_factors_is_not_believed(
    methods: Sequence[str], grpc_api: GrpcApi, world: World
) -> None:
    client = await voucher(world)
    await world.user()

    assert await reason(vouch(grpc_api, world, client, methods=methods)) == "VOUCH_REFUSED"


@pytest.mark.parametrize(("ago", "said"), [(300, ""), (301, "VOUCH_REFUSED"), (-5, ""), (-6, "VOUCH_REFUSED")])
async def test_a_vouch_is_of_now(ago: float, said: str, grpc_api: GrpcApi, world: World) -> None:
    client = await voucher(world)
    await world.user()

    assert await outcome(vouch(grpc_api, world, client, ago=ago)) == said


async def test_an_unknown_user_is_made_only_by_a_client_that_may(grpc_api: GrpcApi, world: World) -> None:
    plain, provisioning = await voucher(world), await voucher(world, Capability.PROVISION)

    assert await reason(vouch(grpc_api, world, plain, subject="new")) == "VOUCH_REFUSED"
    assert await outcome(vouch(grpc_api, world, provisioning, subject="new")) == ""
    assert await outcome(vouch(grpc_api, world, plain, subject="new")) == ""


async def test_a_vouched_login_enrolls_only_where_the_client_may(grpc_api: GrpcApi, world: World) -> None:
    plain, enrolling = await voucher(world), await voucher(world, Capability.ENROLL)
    await world.user()
    refused = a(MfaRequired, await vouch(grpc_api, world, plain))
    allowed = a(MfaRequired, await vouch(grpc_api, world, enrolling))

    assert refused.types == ()
    assert await reason(grpc_api.enroll(refused.mfa_token)) == "ENROLLMENT_BY_TICKET_ONLY"
    assert await outcome(grpc_api.enroll(allowed.mfa_token)) == ""


async def test_no_way_round_through_the_mfa_audience_or_a_refresh(grpc_api: GrpcApi, world: World) -> None:
    client = await voucher(world, mfa_policy=NEVER)
    await world.user()
    audience = world.app.configuration.deployment.mfa_audience
    direct = a(Tokens, await vouch(grpc_api, world, client, audience=audience, scope=MFA_SCOPE))
    family = a(Tokens, await vouch(grpc_api, world, client, scope="offline_access"))
    asked = a(MfaRequired, await grpc_api.refresh(client, family.refresh_token, audience=audience, scope=MFA_SCOPE))

    assert await reason(grpc_api.enroll(direct.access_token)) == "INSUFFICIENT_SCOPE"
    assert await reason(grpc_api.enroll(asked.mfa_token)) == "ENROLLMENT_NEEDS_LOGIN"


async def test_a_vouch_counts_as_one_factor(grpc_api: GrpcApi, world: World) -> None:
    client = await voucher(world, mfa_policy=NEVER, vouch_methods=("pwd", "face"))
    await world.user()

    tokens = a(Tokens, await vouch(grpc_api, world, client, methods=("pwd", "face")))

    said = await grpc_api.introspect(client, tokens.access_token)
    assert said["acr"] == "urn:cofactor:acr:1fa"
    assert said["amr"] == ["pwd", "face"]


async def test_a_vouch_for_an_enrolled_user_still_asks_for_the_factor(grpc_api: GrpcApi, world: World) -> None:
    client = await voucher(world)
    await enrolled(grpc_api, world, client)
    audience = world.app.configuration.deployment.mfa_audience

    asked = a(MfaRequired, await vouch(grpc_api, world, client, audience=audience))

    assert asked.wants == "challenge"


async def test_a_blocked_user_is_not_vouched_in(grpc_api: GrpcApi, world: World) -> None:
    client = await voucher(world)
    await world.user()
    await world.app.operators.set_blocked("default", ALICE, blocked=True)

    assert await reason(vouch(grpc_api, world, client)) == "USER_BLOCKED"


async def test_each_vouch_is_an_event(grpc_api: GrpcApi, world: World) -> None:
    client = await voucher(world)
    await world.user()
    for _ in range(2):
        await vouch(grpc_api, world, client)

    assert (await names(world, "events")).count(EventName.LOGIN_VOUCHED) == 2


async def test_a_vouch_that_is_refused_says_nothing_of_the_user(grpc_api: GrpcApi, world: World) -> None:
    client = await voucher(world)
    await world.user()

    known: Refused = await refusal(vouch(grpc_api, world, client, ago=400))
    unknown = await refusal(vouch(grpc_api, world, client, ago=400, subject="nobody"))

    assert (known.reason, known.text) == (unknown.reason, unknown.text)


async def test_a_refresh_forgets_no_first_factor_and_takes_none_for_two(grpc_api: GrpcApi, world: World) -> None:
    client = await voucher(world, mfa_policy=NEVER, vouch_methods=("face",))
    alice = await enrolled(grpc_api, world, await shop(world))
    family = a(Tokens, await vouch(grpc_api, world, client, methods=("face",), scope="offline_access"))
    audience = world.app.configuration.deployment.mfa_audience
    asked = a(MfaRequired, await grpc_api.refresh(client, family.refresh_token, audience=audience))

    tokens = a(Tokens, await grpc_api.otp(client, asked.mfa_token, world.otp(alice.secret)))

    said = await grpc_api.introspect(client, tokens.access_token)
    assert (said["acr"], said["amr"]) == ("urn:cofactor:acr:mfa", ["face", "otp", "mfa"])
