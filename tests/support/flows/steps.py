"""What tests of flows do on their way to what they are about."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.support.flows.api import Api, ClientCredentials, Enrollment, MfaRequired, Refused, Tokens
from tests.support.world import PASSWORD, World

ALICE = "alice@example.test"
ORDERS = "https://orders.example.test/"
"""The audience of a second API."""
MFA_SCOPE = "enroll read:authenticators remove:authenticators"
PERIOD = 30
"""Of an authenticator app, in seconds."""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Enrolled:
    """A user who has an authenticator app, and has just logged in with it for the first time."""

    subject: str
    secret: str = field(repr=False)
    recovery_code: str = field(repr=False)
    """Empty where recovery codes are off."""
    tokens: Tokens
    """Of the login that confirmed the app."""
    mfa_token: str = field(repr=False)
    """Of the same login: used up."""


def a(kind: type[_Value], value: object) -> _Value:
    """Return a value that has to be of a kind."""
    assert isinstance(value, kind), f"{value!r} is no {kind.__name__}"
    return value


async def refusal(call: Awaitable[object]) -> Refused:
    """Return how a call is refused."""
    with pytest.raises(Refused) as caught:
        await call
    return caught.value


async def reason(call: Awaitable[object]) -> str:
    """Return why a call is refused."""
    return (await refusal(call)).reason


async def read(api: Api, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Verify a token with the published keys, and return its header and claims."""
    keys = KeySet.import_key_set({"keys": [{**key} for key in await api.keys()]})
    decoded = jwt.decode(token, keys, algorithms=["RS256", "ES256"])
    return decoded.header, decoded.claims


async def shop(world: World, **given: object) -> ClientCredentials:
    """Create a client, and return its credentials."""
    client, secret = await world.client(**given)
    return client.id, secret or None


async def logged_in_to_mfa(
    api: Api, client: ClientCredentials, subject: str = ALICE, *, scope: str = "", audience: str = ""
) -> MfaRequired:
    """Log in with the password; a second factor is awaited."""
    return a(MfaRequired, await api.password(client, subject, PASSWORD, scope=scope, audience=audience))


async def enrolled(
    api: Api,
    world: World,
    client: ClientCredentials,
    subject: str = ALICE,
    *,
    scope: str = "",
    audience: str = "",
    create: bool = True,
) -> Enrolled:
    """Create a user who enrolls an authenticator app at the first login.

    The clock is moved by a step afterwards, so that the next code is a fresh one.
    """
    if create:
        await world.user(subject)
    login = await logged_in_to_mfa(api, client, subject, scope=scope, audience=audience)
    app = await api.enroll(login.mfa_token)
    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(app.secret)))
    world.clock.advance(PERIOD)
    return Enrolled(subject, app.secret, next(iter(app.recovery_codes), ""), tokens, login.mfa_token)


async def logged_in(
    api: Api,
    world: World,
    client: ClientCredentials,
    user: Enrolled,
    *,
    scope: str = "",
    audience: str = "",
) -> Tokens:
    """Log an enrolled user in with password and app; the clock is moved by a step afterwards."""
    login = await logged_in_to_mfa(api, client, user.subject, scope=scope, audience=audience)
    tokens = a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))
    world.clock.advance(PERIOD)
    return tokens


async def mfa_access_token(
    api: Api, world: World, client: ClientCredentials, user: Enrolled, *, scope: str = MFA_SCOPE
) -> str:
    """Return an access token with which an enrolled user manages authenticators."""
    audience = world.app.configuration.deployment.mfa_audience
    return (await logged_in(api, world, client, user, scope=scope, audience=audience)).access_token


async def second_app(api: Api, world: World, client: ClientCredentials, bearer: str) -> Enrollment:
    """Enroll one more authenticator app with an access token, and confirm it."""
    app = await api.enroll(bearer)
    a(Tokens, await api.otp(client, bearer, world.otp(app.secret)))
    world.clock.advance(PERIOD)
    return app
