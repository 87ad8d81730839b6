"""Security decision 7: whatever was given out before a change of the account is worth nothing after it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from tests.support.flows.api import Api, ClientCredentials
from tests.support.flows.attacks import add_mailed, challenged, outcome
from tests.support.flows.steps import ALICE, Enrolled, enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import PASSWORD, World

REALM = "default"


async def password_changed(world: World) -> None:
    await world.app.operators.set_password(REALM, ALICE, "another horse")


async def blocked(world: World) -> None:
    await world.app.operators.set_blocked(REALM, ALICE, blocked=True)


async def blocked_and_let_in_again(world: World) -> None:
    await world.app.operators.set_blocked(REALM, ALICE, blocked=True)
    await world.app.operators.set_blocked(REALM, ALICE, blocked=False)


async def deleted(world: World) -> None:
    await world.app.operators.delete_user(REALM, ALICE)


async def deleted_and_made_again(world: World) -> None:
    await world.app.operators.delete_user(REALM, ALICE)
    await world.user()


async def mfa_reset(world: World) -> None:
    await world.app.operators.reset_mfa(REALM, ALICE)


EVENTS = (password_changed, blocked, blocked_and_let_in_again, deleted, deleted_and_made_again, mfa_reset)


@dataclass
class Before:
    """Everything that may be held of an account."""

    client: ClientCredentials
    alice: Enrolled
    mfa_token: str
    oob_code: str
    code: str
    pending: str
    access_token: str
    app: str


async def everything(api: Api, world: World) -> Before:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    sms = await add_mailed(api, world, client, alice)
    access_token = await mfa_access_token(api, world, client, alice)
    begun = await api.enroll(access_token)
    login = await logged_in_to_mfa(api, client)
    sent = await challenged(api, client, login.mfa_token, sms)
    code = world.outbox.sent[-1].code
    return Before(client, alice, login.mfa_token, sent.oob_code, code, begun.secret, access_token, sms)


STALE = "MFA_TOKEN_STALE"


async def uses(api: Api, world: World, held: Before) -> dict[str, str]:
    """Use everything, and return what came of it."""
    client, alice = held.client, held.alice
    return {
        "otp": await outcome(api.otp(client, held.mfa_token, world.otp(alice.secret))),
        "oob": await outcome(api.oob(client, held.mfa_token, held.oob_code, held.code)),
        "recovery": await outcome(api.recovery(client, held.mfa_token, alice.recovery_code)),
        "challenge": await outcome(api.challenge(client, held.mfa_token)),
        "enroll": await outcome(api.enroll(held.mfa_token)),
        "list": await outcome(api.list(held.mfa_token)),
        "confirm by access token": await outcome(api.otp(client, held.access_token, world.otp(held.pending))),
        "list by access token": await outcome(api.list(held.access_token)),
        "enroll by access token": await outcome(api.enroll(held.access_token)),
        "rename by access token": await outcome(api.rename(held.access_token, held.app, "mine")),
        "remove by access token": await outcome(api.remove(held.access_token, held.app)),
        "refresh": await outcome(api.refresh(client, alice.tokens.refresh_token)),
    }


@pytest.mark.requirement("S38", "S126")
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.__name__))
async def test_nothing_given_out_before_is_good_after(
    event: Callable[[World], Awaitable[None]], api: Api, world: World
) -> None:
    held = await everything(api, world)
    await event(world)

    said = await uses(api, world, held)

    refreshed = said.pop("refresh")
    assert set(said.values()) == {STALE}, said
    assert refreshed == ("REFRESH_TOKEN_ORPHANED" if "deleted" in event.__name__ else "REFRESH_TOKEN_INVALID")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.__name__))
async def test_tokens_given_out_before_are_inactive_after(
    event: Callable[[World], Awaitable[None]], api: Api, world: World
) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    await event(world)

    for token in (alice.tokens.access_token, alice.tokens.refresh_token):
        assert await api.introspect(client, token) == {"active": False}


async def test_a_first_enrollment_begun_before_a_password_change_is_not_confirmed_after(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    app = await api.enroll(login.mfa_token)
    await password_changed(world)

    assert await outcome(api.otp(client, login.mfa_token, world.otp(app.secret))) == STALE
    assert await outcome(api.enroll(login.mfa_token)) == STALE


async def test_a_blocked_user_is_told_so_only_with_the_right_password(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    await blocked(world)

    assert await outcome(api.password(client, ALICE, "guess")) == "INVALID_CREDENTIALS"
    assert await outcome(api.password(client, ALICE, PASSWORD)) == "USER_BLOCKED"


async def test_a_deleted_client_redeems_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    bearer = await mfa_access_token(api, world, client, alice)
    login = await logged_in_to_mfa(api, client)
    await world.app.operators.delete_client(client[0])

    assert await outcome(api.otp(client, login.mfa_token, world.otp(alice.secret))) == "INVALID_CLIENT"
    assert await outcome(api.refresh(client, alice.tokens.refresh_token)) == "INVALID_CLIENT"
    assert await outcome(api.enroll(bearer)) == "BEARER_INVALID"
