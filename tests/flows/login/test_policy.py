from itertools import product
from typing import Any

import pytest
from cofactor_server.domain.parties.users import MfaPolicy

from tests.support.flows.api import Api, MfaRequired, Tokens
from tests.support.flows.steps import MFA_SCOPE, a, logged_in_to_mfa, shop
from tests.support.world import ISSUER, PASSWORD, World

OVERRIDES = (None, MfaPolicy.NEVER, MfaPolicy.ALWAYS, MfaPolicy.WHEN_ENROLLED)


@pytest.mark.parametrize("given", [{"mfa_policy": policy} for policy in MfaPolicy], ids=[str(p) for p in MfaPolicy])
async def test_the_users_policy_beats_the_clients_and_that_the_deployments(
    api: Api, world: World, given: dict[str, Any]
) -> None:
    manager = await shop(world)
    clients = {override: await shop(world, mfa_policy=override) for override in OVERRIDES}
    people = {}
    for override, is_enrolled in product(OVERRIDES, (False, True)):
        name = f"{override}-{is_enrolled}@example.test"
        people[override, is_enrolled] = name
        await world.user(name, mfa_policy=override)
        if is_enrolled:
            await enroll_unasked(api, world, manager, name)

    decided = {
        (by_user, by_client, is_enrolled): await asked(api, clients[by_client], people[by_user, is_enrolled])
        for by_user, by_client, is_enrolled in product(OVERRIDES, OVERRIDES, (False, True))
    }

    assert decided == {
        (by_user, by_client, is_enrolled): expected(by_user or by_client or given["mfa_policy"], is_enrolled)
        for by_user, by_client, is_enrolled in decided
    }


def expected(policy: MfaPolicy, is_enrolled: bool) -> str:
    table = {
        (MfaPolicy.NEVER, False): "nothing",
        (MfaPolicy.NEVER, True): "nothing",
        (MfaPolicy.ALWAYS, False): "enroll",
        (MfaPolicy.ALWAYS, True): "challenge",
        (MfaPolicy.WHEN_ENROLLED, False): "nothing",
        (MfaPolicy.WHEN_ENROLLED, True): "challenge",
    }
    return table[policy, is_enrolled]


async def asked(api: Api, client: tuple[str, str | None], name: str) -> str:
    outcome = await api.password(client, name, PASSWORD)
    return outcome.wants if isinstance(outcome, MfaRequired) else "nothing"


async def enroll_unasked(api: Api, world: World, client: tuple[str, str | None], name: str) -> None:
    """Enroll with a token for the MFA audience, which every policy gives to who is not enrolled."""
    tokens = await api.password(client, name, PASSWORD, scope=MFA_SCOPE, audience=f"{ISSUER}mfa/")
    bearer = a(Tokens, tokens).access_token
    app = await api.enroll(bearer)
    await api.otp(client, bearer, world.otp(app.secret))


@pytest.mark.parametrize("given", [{"kinds": frozenset({"totp"})}], ids=["no recovery codes"])
async def test_recovery_codes_are_given_where_they_are_on(api: Api, world: World, given: dict[str, Any]) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)

    app = await api.enroll(login.mfa_token)

    assert app.recovery_codes == ()
    assert [row.type for row in await api.list(login.mfa_token)] == ["otp"]


@pytest.mark.parametrize("given", [{"kinds": frozenset({"recovery-code"})}], ids=["no apps"])
async def test_a_deployment_without_factors_offers_none(api: Api, world: World, given: dict[str, Any]) -> None:
    client = await shop(world)
    await world.user()

    login = await logged_in_to_mfa(api, client)

    assert (login.wants, login.types) == ("enroll", ())
