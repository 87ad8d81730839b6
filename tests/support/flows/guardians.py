"""Guardian apps of a deployment: who has one, and what it was sent."""

from typing import Any

from tests.support.flows.api import Api, ClientCredentials, Enrollment, RestApi, Tokens
from tests.support.flows.steps import ALICE, Enrolled, a, enrolled, logged_in_to_mfa, mfa_access_token
from tests.support.flows.values import Challenge
from tests.support.guardian import GuardianPhone, RsaKey, rsa_key
from tests.support.world import World

KINDS = frozenset({"totp", "recovery-code", "push"})
SECOND = 1_000_000


def now(world: World) -> int:
    """Return the time in seconds."""
    return world.clock.now() // SECOND


def pushed(world: World) -> dict[str, str]:
    """Return what was sent to a device last."""
    message = next(message for message in reversed(world.outbox.sent) if message.channel == "push")
    return dict(message.payload or {})


async def begun(api: Api, world: World, client: ClientCredentials, user: Enrolled) -> tuple[str, Enrollment]:
    """Begin the enrollment of a device for an enrolled user; return the bearer token and what is shown."""
    bearer = await mfa_access_token(api, world, client, user)
    return bearer, await api.enroll(bearer, "push")


async def added(
    wire: RestApi,
    api: Api,
    world: World,
    client: ClientCredentials,
    user: Enrolled,
    *,
    key: RsaKey | None = None,
    **about: Any,
) -> GuardianPhone:
    """Give an enrolled user a phone with a Guardian app; `wire` is the edge that it calls."""
    bearer, enrollment = await begun(api, world, client, user)
    phone = GuardianPhone(wire.http, enrollment.barcode_uri, key or rsa_key(), **about)
    await phone.enroll()
    a(Tokens, await api.oob(client, bearer, enrollment.oob_code))
    return phone


async def of_new_user(
    wire: RestApi, api: Api, world: World, client: ClientCredentials, subject: str = ALICE, **about: Any
) -> tuple[Enrolled, GuardianPhone]:
    """Create a user who has an authenticator app and a phone with a Guardian app."""
    user = await enrolled(api, world, client, subject)
    return user, await added(wire, api, world, client, user, **about)


async def prompted(
    api: Api, world: World, client: ClientCredentials, phone: GuardianPhone, subject: str = ALICE, **asked: str
) -> tuple[str, Challenge, dict[str, str]]:
    """Log in and have a phone prompted; return mfa_token, challenge and what was pushed."""
    login = await logged_in_to_mfa(api, client, subject, **asked)
    authenticator = f"push|{phone.enrolled['id']}"
    challenge = await api.challenge(client, login.mfa_token, types=["oob"], authenticator_id=authenticator)
    return login.mfa_token, challenge, pushed(world)
