"""Security decision 8: an authenticator that its owner never used is defended like one that was."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cofactor_server.domain.authenticators.kinds import EMAIL, SMS
from cofactor_server.services.authenticators.imports import Seed

from tests.support.flows.api import Api, ClientCredentials, RestApi, Tokens
from tests.support.flows.attacks import (
    DESTINATIONS,
    KINDS,
    add_mailed,
    low_access_token,
    outcome,
    reason,
    rows,
)
from tests.support.flows.guardians import added, now, prompted
from tests.support.flows.operators import TOTP_SECRET, OperatorDesk
from tests.support.flows.steps import ALICE, MFA_SCOPE, a, enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import ISSUER, World

AUDIENCE = f"{ISSUER}mfa/"
MAIL = "alice@mail.example.com"


@pytest.fixture
def given() -> dict[str, Any]:
    """Every kind whose codes can be typed, and devices."""
    return {"kinds": KINDS | {"hotp", "voice", "push"}}


async def app_by_operator(world: World, user_id: str) -> None:
    await OperatorDesk(world, user_id).add_app()


async def phone_by_operator(world: World, user_id: str) -> None:
    await OperatorDesk(world, user_id).add_phone(DESTINATIONS[SMS])


async def imported_token(world: World, user_id: str) -> None:
    await world.app.operators.import_tokens("default", [Seed("line 2", "T-1", ALICE, b"12345678901234567890")])


UNUSED = (app_by_operator, phone_by_operator, imported_token)


async def mailbox(api: Api, world: World, client: ClientCredentials) -> str:
    """Return what password and mailbox are given for the MFA audience."""
    (address,) = [row.id for row in await rows(world, "authenticators", kind=EMAIL)]
    return await low_access_token(api, world, client, ALICE, address)


@pytest.mark.requirement("S34")
@pytest.mark.parametrize("give", UNUSED, ids=lambda give: str(give.__name__))
async def test_a_mailbox_takes_nothing_over_from_a_factor_that_was_never_used(
    give: Callable[[World, str], Awaitable[None]], api: Api, world: World
) -> None:
    client = await shop(world)
    user = await world.user(email=MAIL, email_verified=True)
    await give(world, user.id)
    thiefs = await mailbox(api, world, client)
    stronger = [row for row in await api.list(thiefs) if not row.id.startswith(EMAIL)]
    assert [row.active for row in stronger] == [True] * len(stronger) != []

    assert await reason(api.enroll(thiefs)) == "INSUFFICIENT_AUTHENTICATION"
    assert await reason(api.enroll(thiefs, SMS, destination="+442071838751")) == "INSUFFICIENT_AUTHENTICATION"
    for row in stronger:
        assert await reason(api.remove(thiefs, row.id)) == "INSUFFICIENT_AUTHENTICATION"
    assert [row.id for row in await api.list(thiefs) if not row.id.startswith(EMAIL)] == [row.id for row in stronger]


@pytest.mark.requirement("S34")
async def test_it_holds_for_an_address_that_was_enrolled_too(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await add_mailed(api, world, client, alice, EMAIL)
    bearer = await mfa_access_token(api, world, client, alice)
    (app,) = [row.id for row in await api.list(bearer) if row.type == "otp"]
    (user,) = await rows(world, "users")
    await OperatorDesk(world, user.id).add_app()
    await api.remove(bearer, app)
    thiefs = await mailbox(api, world, client)
    (by_operator,) = [row.id for row in await api.list(thiefs) if row.type == "otp"]

    assert await reason(api.remove(thiefs, by_operator)) == "INSUFFICIENT_AUTHENTICATION"
    assert await reason(api.enroll(thiefs)) == "INSUFFICIENT_AUTHENTICATION"


@pytest.mark.requirement("S34")
async def test_an_approval_takes_nothing_over_from_the_one_time_passwords_of_its_device(
    api: Api, rest_api: RestApi, world: World
) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice)
    (app,) = [row.id for row in await api.list(bearer) if row.type == "otp"]
    phone = await added(rest_api, api, world, client, alice)
    await api.remove(bearer, app)
    mfa_token, challenge, push = await prompted(api, world, client, phone, scope=MFA_SCOPE, audience=AUDIENCE)
    await phone.decide(push, now(world))
    world.clock.advance(5)
    approved = a(Tokens, await api.oob(client, mfa_token, challenge.oob_code)).access_token

    assert await reason(api.enroll(approved)) == "INSUFFICIENT_AUTHENTICATION"
    assert await reason(api.remove(approved, f"push|{phone.enrolled['id']}")) == "INSUFFICIENT_AUTHENTICATION"
    login = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=AUDIENCE)
    owners = a(Tokens, await api.otp(client, login.mfa_token, world.otp(phone.enrolled["totp"]["secret"])))
    assert await outcome(api.enroll(owners.access_token)) == ""


async def test_its_owner_changes_everything_with_the_first_use(api: Api, world: World) -> None:
    client = await shop(world)
    user = await world.user(email=MAIL, email_verified=True)
    app = await OperatorDesk(world, user.id).add_app()
    login = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=AUDIENCE)

    owners = a(Tokens, await api.otp(client, login.mfa_token, world.otp(TOTP_SECRET))).access_token

    assert await outcome(api.enroll(owners)) == ""
    await api.remove(owners, app)


async def test_who_has_a_mailbox_alone_enrolls_with_it(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await add_mailed(api, world, client, alice, EMAIL)
    bearer = await mfa_access_token(api, world, client, alice)
    (app,) = [row.id for row in await api.list(bearer) if row.type == "otp"]
    await api.remove(bearer, app)

    hers = await mailbox(api, world, client)

    assert await outcome(api.enroll(hers)) == ""
