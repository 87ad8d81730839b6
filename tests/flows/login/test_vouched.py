"""Logins whose first factor a trusted client has checked; gRPC alone carries them. What is refused: attacks/."""

from typing import Any

import pytest
from cofactor_server.domain.parties.clients import Capability, GrantType
from cofactor_server.domain.parties.users import MfaPolicy

from tests.support.flows.api import ClientCredentials, GrpcApi, MfaRequired, Tokens
from tests.support.flows.steps import MFA_SCOPE, a, read, reason, refusal, shop
from tests.support.world import ISSUER, USER_GRANTS, World

REALM = "employees"
VOUCH = frozenset({Capability.VOUCH, Capability.PROVISION, Capability.ENROLL})


async def portal(world: World, **given: Any) -> ClientCredentials:
    """Create a client that vouches for employees, makes them and lets them enroll."""
    defaults: dict[str, Any] = {
        "grant_types": USER_GRANTS | {GrantType.VOUCHED},
        "capabilities": VOUCH,
        "realms": (REALM,),
    }
    return await shop(world, **{**defaults, **given})


async def vouched(api: GrpcApi, world: World, client: ClientCredentials, **given: Any) -> Tokens | MfaRequired:
    """Vouch for employee 4711, who showed a password just now."""
    defaults: dict[str, Any] = {"methods": ["pwd"], "authenticated_at": world.clock.now() / 1e6}
    return await api.vouched(client, REALM, "4711", **{**defaults, **given})


async def test_a_vouched_user_enrolls_and_shows_the_factor_from_then_on(grpc_api: GrpcApi, world: World) -> None:
    client = await portal(world)
    first = a(MfaRequired, await vouched(grpc_api, world, client))
    app = await grpc_api.enroll(first.mfa_token)
    await grpc_api.otp(client, first.mfa_token, world.otp(app.secret))
    world.clock.advance(30)

    second = a(MfaRequired, await vouched(grpc_api, world, client))
    tokens = a(Tokens, await grpc_api.otp(client, second.mfa_token, world.otp(app.secret)))

    _, claims = await read(grpc_api, tokens.access_token)
    assert (first.wants, second.wants) == ("enroll", "challenge")
    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:mfa", ["pwd", "otp", "mfa"])


@pytest.mark.requirement("S41", "S134")
async def test_a_vouch_alone_is_one_factor_of_the_time_that_was_stated(grpc_api: GrpcApi, world: World) -> None:
    client = await portal(world, mfa_policy=MfaPolicy.NEVER, vouch_methods=("pwd", "pin", "sc"))
    shown = world.clock.now() // 1_000_000 - 100

    tokens = a(
        Tokens, await vouched(grpc_api, world, client, methods=["pwd", "pin", "sc"], authenticated_at=float(shown))
    )

    _, claims = await read(grpc_api, tokens.access_token)
    assert (claims["acr"], claims["amr"]) == ("urn:cofactor:acr:1fa", ["pwd", "pin", "sc"])
    assert (claims["auth_time"], claims["iat"]) == (shown, shown + 100)


async def test_a_user_is_made_once(grpc_api: GrpcApi, world: World) -> None:
    client = await portal(world, mfa_policy=MfaPolicy.NEVER)

    subjects = set()
    for _ in range(3):
        tokens = a(Tokens, await vouched(grpc_api, world, client))
        subjects.add((await read(grpc_api, tokens.access_token))[1]["sub"])

    assert len(subjects) == 1
    assert [user.subject for user, _ in await world.app.operators.users(REALM)] == ["4711"]


async def test_a_label_is_what_apps_show_and_the_last_one_stays(grpc_api: GrpcApi, world: World) -> None:
    client = await portal(world)
    labels = []

    for label in ("jane@example.com", "", "jane.doe@example.com"):
        login = a(MfaRequired, await vouched(grpc_api, world, client, label=label))
        labels.append((await grpc_api.enroll(login.mfa_token)).barcode_uri.partition("Example:")[2].partition("?")[0])

    assert labels == ["jane%40example.com", "jane%40example.com", "jane.doe%40example.com"]


async def test_without_a_label_apps_show_the_subject(grpc_api: GrpcApi, world: World) -> None:
    client = await portal(world)
    login = a(MfaRequired, await vouched(grpc_api, world, client))

    assert "/Example:4711?" in (await grpc_api.enroll(login.mfa_token)).barcode_uri


@pytest.mark.parametrize("capabilities", [VOUCH, VOUCH - {Capability.ENROLL}])
async def test_only_with_the_capability_a_vouched_user_enrolls(
    grpc_api: GrpcApi, world: World, capabilities: frozenset[Capability]
) -> None:
    client = await portal(world, capabilities=capabilities)

    login = a(MfaRequired, await vouched(grpc_api, world, client))

    if Capability.ENROLL in capabilities:
        assert login.types == ("otp",)
        await grpc_api.enroll(login.mfa_token)
    else:
        assert (login.wants, login.types) == ("enroll", ())
        refused = await refusal(grpc_api.enroll(login.mfa_token))
        assert (refused.reason, refused.text) == (
            "ENROLLMENT_BY_TICKET_ONLY",
            "The first authenticator is enrolled with a ticket only. Ask an administrator for one.",
        )


async def test_the_mfa_audience_is_narrowed_where_a_vouched_user_may_not_enroll(
    grpc_api: GrpcApi, world: World
) -> None:
    client = await portal(world, capabilities=VOUCH - {Capability.ENROLL})

    tokens = a(Tokens, await vouched(grpc_api, world, client, scope=MFA_SCOPE, audience=f"{ISSUER}mfa/"))

    assert tokens.scope == "read:authenticators remove:authenticators"
    assert await reason(grpc_api.enroll(tokens.access_token)) == "INSUFFICIENT_SCOPE"


async def test_a_vouched_user_has_no_password(grpc_api: GrpcApi, world: World) -> None:
    client = await portal(world)
    await vouched(grpc_api, world, client)

    for password in ("x", "4711"):
        assert await reason(grpc_api.password(client, "4711", password, realm=REALM)) == "INVALID_CREDENTIALS"


async def test_a_refused_vouch_says_why_to_the_client(grpc_api: GrpcApi, world: World) -> None:
    client = await portal(world)

    refused = await refusal(vouched(grpc_api, world, client, authenticated_at=world.clock.now() / 1e6 - 301))

    assert (refused.reason, refused.text) == (
        "VOUCH_REFUSED",
        "The vouched login is not accepted: the first factor was shown too long ago, or in the future",
    )
