from collections.abc import Awaitable, Callable

import pytest
from cofactor_server.domain.parties.clients import GrantType

from tests.support.flows.api import AUTH0, Api, ClientCredentials, Tokens
from tests.support.flows.steps import ALICE, a, enrolled, logged_in, logged_in_to_mfa, reason, refusal, shop
from tests.support.world import PASSWORD, USER_GRANTS, World


@pytest.mark.requirement("S111")
async def test_a_client_proves_who_it_is(api: Api, world: World) -> None:
    confidential, public = await shop(world), await shop(world, public=True)
    await world.user()
    impostors: list[ClientCredentials] = [
        (confidential[0], "wrong"),
        (confidential[0], None),
        (confidential[0], f"{confidential[1]}x"),
        (confidential[0], await _secret_of_another(world)),
        ("cli_unknown", "wrong"),
        ("cli_unknown", None),
        (public[0], "a secret where there is none"),
    ]

    refusals = [await refusal(api.password(impostor, ALICE, PASSWORD)) for impostor in impostors]

    assert {(r.reason, r.text) for r in refusals} == {("INVALID_CLIENT", "Client authentication failed.")}


async def _secret_of_another(world: World) -> str | None:
    return (await shop(world))[1]


async def test_a_public_client_names_itself_and_walks_the_whole_way(api: Api, world: World) -> None:
    client = await shop(world, public=True)

    user = await enrolled(api, world, client, scope="offline_access")
    tokens = await logged_in(api, world, client, user, scope="offline_access")
    refreshed = a(Tokens, await api.refresh(client, tokens.refresh_token))
    await api.revoke(client, refreshed.refresh_token)

    assert client[1] is None
    assert await reason(api.refresh(client, refreshed.refresh_token)) == "REFRESH_TOKEN_INVALID"


_Call = Callable[[Api, ClientCredentials], Awaitable[object]]


@pytest.mark.requirement("S109", "S148")
@pytest.mark.parametrize(
    ("grant_type", "call"),
    [
        ("password", lambda api, client: api.password(client, ALICE, PASSWORD)),
        (f"{AUTH0}password-realm", lambda api, client: api.password(client, ALICE, PASSWORD, realm="default")),
        ("refresh_token", lambda api, client: api.refresh(client, "usr.family.1.mac")),
        (f"{AUTH0}mfa-otp", lambda api, client: api.otp(client, "token", "123456")),
        (f"{AUTH0}mfa-oob", lambda api, client: api.oob(client, "token", "code", "123456")),
        (f"{AUTH0}mfa-recovery-code", lambda api, client: api.recovery(client, "token", "code")),
    ],
)
async def test_a_client_uses_no_grant_that_it_was_not_given(
    api: Api, world: World, grant_type: str, call: _Call
) -> None:
    client = await shop(world, grant_types=frozenset())
    await world.user()

    refused = await refusal(call(api, client))

    assert refused.reason == "UNAUTHORIZED_CLIENT"
    assert refused.text == f"Grant type '{grant_type}' not allowed for the client."


async def test_the_mfa_grants_are_given_together(api: Api, world: World) -> None:
    client = await shop(world, grant_types=frozenset({GrantType.PASSWORD, GrantType.MFA_OOB}))

    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    a(Tokens, await api.recovery(client, login.mfa_token, user.recovery_code))


async def test_an_mfa_token_of_another_client_is_refused_everywhere(api: Api, world: World) -> None:
    client, other = await shop(world), await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    refusals = [
        await refusal(api.otp(other, login.mfa_token, world.otp(user.secret))),
        await refusal(api.oob(other, login.mfa_token, "code", "123456")),
        await refusal(api.recovery(other, login.mfa_token, user.recovery_code)),
        await refusal(api.challenge(other, login.mfa_token)),
    ]

    assert {(r.reason, r.text) for r in refusals} == {("MFA_TOKEN_FOREIGN", "mfa_token not issued to this client")}
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))


async def test_a_deleted_client_is_forgotten_within_seconds(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    await world.app.operators.delete_client(client[0])

    at_once = await reason(api.otp(client, login.mfa_token, world.otp(user.secret)))
    world.clock.advance(5)
    later = await reason(api.password(client, ALICE, PASSWORD))

    assert (at_once, later) == ("INVALID_CLIENT", "INVALID_CLIENT")


async def test_a_client_without_the_refresh_grant_never_holds_a_refresh_token(api: Api, world: World) -> None:
    client = await shop(world, grant_types=USER_GRANTS - {GrantType.REFRESH_TOKEN})

    user = await enrolled(api, world, client, scope="offline_access")

    assert (user.tokens.refresh_token, user.tokens.scope) == ("", "")
