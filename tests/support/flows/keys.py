"""What tests of flows do with security keys."""

from collections.abc import Mapping
from typing import Any

from tests.support.flows.api import Api, Challenge, ClientCredentials, Tokens
from tests.support.flows.steps import ALICE, MFA_SCOPE, a, logged_in_to_mfa
from tests.support.world import World
from tests.unit.factors.security_key import SecurityKey

KINDS = frozenset({"totp", "webauthn", "recovery-code"})
TYPES = ("webauthn",)


async def with_key(
    api: Api, world: World, client: ClientCredentials, key: SecurityKey, subject: str = ALICE, **target: str
) -> Tokens:
    """Create a user who registers a key at the first login, and return that login's tokens."""
    await world.user(subject)
    login = await logged_in_to_mfa(api, client, subject, **target)
    begun = await api.enroll(login.mfa_token, "webauthn")
    return a(Tokens, await api.webauthn(client, login.mfa_token, begun.oob_code, key.take(begun.public_key)))


async def challenged(
    api: Api, client: ClientCredentials, subject: str = ALICE, *, authenticator_id: str = "", **target: str
) -> tuple[str, Challenge]:
    """Log in to where a key is to sign; return the mfa_token and the challenge."""
    login = await logged_in_to_mfa(api, client, subject, **target)
    made = await api.challenge(client, login.mfa_token, types=TYPES, authenticator_id=authenticator_id)
    return login.mfa_token, made


async def signed_in(
    api: Api, client: ClientCredentials, key: SecurityKey, subject: str = ALICE, **target: str
) -> Tokens:
    """Log in with the password and a key."""
    mfa_token, challenge = await challenged(api, client, subject, **target)
    return a(Tokens, await api.webauthn(client, mfa_token, challenge.oob_code, key.take(challenge.public_key)))


async def manager_token(api: Api, world: World, client: ClientCredentials, key: SecurityKey) -> str:
    """Return an access token with which the holder of a key manages authenticators."""
    audience = world.app.configuration.deployment.mfa_audience
    return (await signed_in(api, client, key, scope=MFA_SCOPE, audience=audience)).access_token


async def another_key(
    api: Api, client: ClientCredentials, bearer: str, key: SecurityKey, name: str = ""
) -> Mapping[str, Any]:
    """Register one more key with an access token; return what the browser was given."""
    begun = await api.enroll(bearer, "webauthn", name=name)
    a(Tokens, await api.webauthn(client, bearer, begun.oob_code, key.take(begun.public_key)))
    return begun.public_key
