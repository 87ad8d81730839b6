"""What every attack needs: refusals as values, wrong codes, a look into the tables."""

from collections.abc import Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from cofactor_server.domain.authenticators.kinds import EMAIL, SMS
from cofactor_server.store import tables
from sqlalchemy import select, update

from tests.support.flows.api import Api, Challenge, ClientCredentials, Refused, Tokens
from tests.support.flows.steps import ALICE, MFA_SCOPE, Enrolled, a, enrolled, logged_in_to_mfa, mfa_access_token
from tests.support.world import PASSWORD, World, world_on

KINDS = frozenset({"totp", "recovery-code", SMS, EMAIL})
MALLORY = "mallory@example.test"
GARBAGE = "AQlrYUpqVGJXYW8AAFEt"
HOUR = 3600
DAY = 24 * HOUR
DESTINATIONS = {SMS: "+442071838750", EMAIL: "alice@mail.example.com"}


def open_world(database_url: str, **given: Any) -> AbstractAsyncContextManager[World]:
    """Open a deployment that has apps, text messages, mail and recovery codes; `given` goes to `world_on`."""
    return world_on(database_url, **{"kinds": KINDS, **given})


async def refusal(call: Awaitable[object]) -> Refused:
    """Return how a call is refused."""
    with pytest.raises(Refused) as caught:
        await call
    return caught.value


async def reason(call: Awaitable[object]) -> str:
    """Return why a call is refused."""
    return (await refusal(call)).reason


async def outcome(call: Awaitable[object]) -> str:
    """Return why a call is refused; empty if it is not."""
    try:
        await call
    except Refused as refused:
        return refused.reason
    return ""


def wrong(world: World, *secrets: str) -> str:
    """Return a code that is right nowhere near now, so that no hint is given either."""
    right = {world.otp(secret, steps=steps) for secret in secrets for steps in range(-12, 13)}
    return next(code for number in range(100) if (code := f"{number:06d}") not in right)


async def fail(
    api: Api, world: World, client: ClientCredentials, user: Enrolled, times: int, *, mfa_token: str = ""
) -> list[str]:
    """Present wrong codes in one login, and return the reasons."""
    mfa_token = mfa_token or (await logged_in_to_mfa(api, client, user.subject)).mfa_token
    code = wrong(world, user.secret)
    return [await reason(api.otp(client, mfa_token, code)) for _ in range(times)]


async def exhaust(api: Api, world: World, client: ClientCredentials, user: Enrolled) -> None:
    """Fail a hundred times: strangers may ten times in eight hours, and thirty times in a day."""
    for _ in range(10):
        world.clock.advance(8 * HOUR)
        assert await fail(api, world, client, user, 10) == ["INVALID_OTP"] * 10


async def add_mailed(api: Api, world: World, client: ClientCredentials, user: Enrolled, kind: str = SMS) -> str:
    """Give an enrolled user an authenticator whose code is sent; return its id."""
    bearer = await mfa_access_token(api, world, client, user)
    begun = await api.enroll(bearer, kind, destination=DESTINATIONS[kind])
    a(Tokens, await api.oob(client, bearer, begun.oob_code, world.outbox.sent[-1].code))
    found = [row for row in await api.list(bearer) if row.active and row.id.startswith(kind)]
    return found[0].id


async def challenged(api: Api, client: ClientCredentials, mfa_token: str, authenticator_id: str) -> Challenge:
    """Have a code sent."""
    return await api.challenge(client, mfa_token, types=["oob"], authenticator_id=authenticator_id)


async def low_access_token(api: Api, world: World, client: ClientCredentials, subject: str, email_id: str) -> str:
    """Return a token for the MFA audience that a code by mail completed: `mfa-low`."""
    audience = world.app.configuration.deployment.mfa_audience
    login = await logged_in_to_mfa(api, client, subject, scope=MFA_SCOPE, audience=audience)
    sent = await challenged(api, client, login.mfa_token, email_id)
    code = world.outbox.sent[-1].code
    return a(Tokens, await api.oob(client, login.mfa_token, sent.oob_code, code)).access_token


async def one_factor_token(api: Api, world: World, client: ClientCredentials, subject: str = ALICE) -> str:
    """Return a token for the MFA audience of a user who is not enrolled."""
    audience = world.app.configuration.deployment.mfa_audience
    granted = await api.password(client, subject, PASSWORD, scope=MFA_SCOPE, audience=audience)
    return a(Tokens, granted).access_token


async def enrolled_pair(api: Api, world: World, client: ClientCredentials) -> tuple[Enrolled, Enrolled]:
    """Return Alice and Mallory, both with an authenticator app."""
    return await enrolled(api, world, client), await enrolled(api, world, client, MALLORY)


async def rows(world: World, table: str, **where: object) -> Sequence[Any]:
    """Return rows of a table."""
    found = getattr(tables, table)
    query = select(found).where(*(found.c[name] == value for name, value in where.items()))
    result: Sequence[Any] = await world.app.database.read(lambda connection: connection.execute(query).all())
    return result


async def change(world: World, table: str, values: dict[str, object], **where: object) -> None:
    """Change rows behind the application's back."""
    found = getattr(tables, table)
    statement = update(found).where(*(found.c[name] == value for name, value in where.items())).values(**values)
    await world.app.database.transact(lambda connection: connection.execute(statement))


async def names(world: World, table: str, subject: str = ALICE) -> list[str]:
    """Return the names of a user's events or notices."""
    (user,) = await rows(world, "users", subject=subject)
    return [row.name for row in await rows(world, table, user_id=user.id)]
