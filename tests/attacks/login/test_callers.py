"""Security decision 5, end to end: each token opens what its row of the table says, and nothing else."""

from collections.abc import Awaitable, Callable

import pytest
from cofactor_server.domain.parties.clients import GrantType

from tests.support.flows.api import Api, GrpcApi, MfaRequired
from tests.support.flows.attacks import reason
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    Enrolled,
    a,
    enrolled,
    logged_in,
    logged_in_to_mfa,
    mfa_access_token,
    shop,
)
from tests.support.world import PASSWORD, World


async def test_an_mfa_token_lists_but_changes_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    (app, *_) = await api.list(login.mfa_token)

    assert await reason(api.remove(login.mfa_token, app.id)) == "BEARER_INVALID"
    assert await reason(api.rename(login.mfa_token, app.id, "mine")) == "BEARER_INVALID"


async def test_an_mfa_token_does_not_read_one_authenticator(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    (app, *_) = await grpc_api.list(login.mfa_token)

    assert await reason(grpc_api.get(login.mfa_token, app.id)) == "BEARER_INVALID"


@pytest.mark.requirement("S106")
async def test_an_mfa_token_serves_no_other_client(api: Api, world: World) -> None:
    client, other = await shop(world), await shop(world, name="Other")
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    assert await reason(api.otp(other, login.mfa_token, world.otp(alice.secret))) == "MFA_TOKEN_FOREIGN"
    assert await reason(api.challenge(other, login.mfa_token)) == "MFA_TOKEN_FOREIGN"
    assert await reason(api.recovery(other, login.mfa_token, alice.recovery_code)) == "MFA_TOKEN_FOREIGN"
    assert await reason(api.enroll(login.mfa_token, client=other)) == "MFA_TOKEN_FOREIGN"


async def test_a_confidential_client_without_its_secret_redeems_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    bare, guessed = (client[0], None), (client[0], "guess")

    for credentials in (bare, guessed):
        assert await reason(api.otp(credentials, login.mfa_token, world.otp(alice.secret))) == "INVALID_CLIENT"
        assert await reason(api.challenge(credentials, login.mfa_token)) == "INVALID_CLIENT"
        assert await reason(api.password(credentials, ALICE, PASSWORD)) == "INVALID_CLIENT"
        assert await reason(api.introspect(credentials, login.mfa_token)) == "INVALID_CLIENT"


async def test_a_public_client_introspects_nothing(api: Api, world: World) -> None:
    public = await shop(world, public=True)
    alice = await enrolled(api, world, public)

    assert await reason(api.introspect(public, alice.tokens.access_token)) == "CALLER_NOT_ALLOWED"


@pytest.mark.requirement("S107")
async def test_a_token_for_another_audience_manages_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    await world.api(*MFA_SCOPE.split())
    alice = await enrolled(api, world, client, scope=f"openid {MFA_SCOPE}")

    for token in (alice.tokens.access_token, alice.tokens.id_token):
        assert await reason(api.list(token)) == "BEARER_INVALID"
        assert await reason(api.enroll(token)) == "BEARER_INVALID"
        assert await reason(api.remove(token, "totp|dev_0000000000000000")) == "BEARER_INVALID"


@pytest.mark.parametrize("scope", ["read:authenticators", "enroll", "remove:authenticators"])
async def test_an_access_token_does_what_its_scope_says_and_no_more(scope: str, api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice, scope=scope)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "read:authenticators": lambda: api.list(bearer),
        "enroll": lambda: api.enroll(bearer),
        "remove:authenticators": lambda: api.remove(bearer, "totp|dev_0000000000000000"),
    }

    refused = {name: await reason(call()) for name, call in calls.items() if name != scope}

    assert set(refused.values()) == {"INSUFFICIENT_SCOPE"}


async def test_a_clients_tokens_are_inactive_to_others(api: Api, world: World) -> None:
    client, other = await shop(world), await shop(world, name="Other", audiences=("https://other.test/",))
    alice = await enrolled(api, world, client, scope="offline_access")

    for token in (alice.tokens.access_token, alice.tokens.refresh_token):
        assert await api.introspect(other, token) == {"active": False}
        await api.revoke(other, token)
        assert (await api.introspect(client, token))["active"] is True


async def test_a_client_without_the_mfa_grants_redeems_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    poor = await shop(world, name="Poor", grant_types=frozenset({GrantType.PASSWORD}))
    alice = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, poor)

    assert await reason(api.otp(poor, login.mfa_token, world.otp(alice.secret))) == "UNAUTHORIZED_CLIENT"
    assert await reason(api.recovery(poor, login.mfa_token, alice.recovery_code)) == "UNAUTHORIZED_CLIENT"


async def test_a_used_mfa_token_does_nothing_more(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await logged_in(api, world, client, alice)

    assert await reason(api.otp(client, alice.mfa_token, world.otp(alice.secret))) == "MFA_TOKEN_STALE"
    assert await reason(api.recovery(client, alice.mfa_token, alice.recovery_code)) == "MFA_TOKEN_STALE"
    assert await reason(api.challenge(client, alice.mfa_token)) == "MFA_TOKEN_STALE"
    assert await reason(api.list(alice.mfa_token)) == "MFA_TOKEN_STALE"
    assert await reason(api.enroll(alice.mfa_token)) == "MFA_TOKEN_STALE"


async def test_a_revoked_access_token_manages_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    alice: Enrolled = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice)
    app = await api.enroll(bearer)
    await api.revoke(client, bearer)

    assert await reason(api.list(bearer)) == "BEARER_INVALID"
    assert await reason(api.enroll(bearer)) == "BEARER_INVALID"
    assert await reason(api.otp(client, bearer, world.otp(app.secret))) == "MFA_TOKEN_STALE"
    assert await api.introspect(client, bearer) == {"active": False}


async def test_the_password_of_a_user_of_another_realm_is_not_asked(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user("bob@example.test", realm="staff")

    assert await reason(api.password(client, "bob@example.test", PASSWORD, realm="staff")) == "REALM_UNKNOWN"
    assert await reason(api.password(client, "bob@example.test", PASSWORD)) == "INVALID_CREDENTIALS"
    assert a(
        MfaRequired,
        await api.password(await shop(world, realms=("staff",)), "bob@example.test", PASSWORD, realm="staff"),
    ).mfa_token
