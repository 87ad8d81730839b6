"""What auth0-server-python does beside its MFA client: it keeps a login, and steps up (W14)."""

import warnings
from typing import Any

import pytest
from cofactor_server.domain.parties.users import MfaPolicy

from tests.wire.sdks import SCOPE, Refused, ServerPython
from tests.wire.tenant import MFA_SCOPE, Person, Tenant
from tests.wire.test_factors import enroll_app

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK's own, while it is imported
    from auth0_server_python.auth_server.server_client import ServerClient
    from auth0_server_python.error import AccessTokenError, MfaRequiredError

SECRET = "a secret of the application, 32 characters at least"


class Store:
    """Keeps what the SDK would put into a cookie."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    async def set(self, identifier: str, state: Any, *_: Any, **__: Any) -> None:
        self.kept[identifier] = state if isinstance(state, dict) else state.model_dump()

    async def get(self, identifier: str, *_: Any, **__: Any) -> Any:
        return self.kept.get(identifier)

    async def delete(self, identifier: str, *_: Any, **__: Any) -> None:
        self.kept.pop(identifier, None)


@pytest.fixture
def sdk(tenant: Tenant) -> ServerPython:
    return ServerPython(tenant)


def client_with(tenant: Tenant, refresh_token: str) -> ServerClient[Any]:
    """Return a client object whose user has logged in before."""
    store = Store()
    store.kept["_a0_session"] = {
        "refresh_token": refresh_token,
        "domain": tenant.domain,
        "token_sets": [],
        "internal": {"sid": "1", "created_at": 0},
    }
    return ServerClient(
        domain=tenant.domain,
        client_id=tenant.client_id,
        client_secret=tenant.client_secret,
        secret=SECRET,
        state_store=store,
        transaction_store=Store(),
    )


async def test_an_access_token_is_refreshed(tenant: Tenant, sdk: ServerPython, person: Person) -> None:
    _, tokens = await tenant.aside(enroll_app, tenant, sdk, person)

    token = await client_with(tenant, tokens.refresh_token).get_access_token()

    assert token
    assert token != tokens.access_token


async def test_who_enrolls_by_ticket_only_is_offered_an_empty_list(tenant: Tenant, sdk: ServerPython) -> None:
    person = await tenant.aside(tenant.person, mfa_policy=MfaPolicy.NEVER)
    tokens = await tenant.aside(tenant.password_tokens, person)
    await tenant.aside(tenant.strip, person)

    with pytest.raises(MfaRequiredError) as caught:
        await client_with(tenant, tokens["refresh_token"]).get_access_token(
            audience=tenant.mfa_audience, scope=MFA_SCOPE
        )

    assert caught.value.mfa_requirements is not None
    assert (caught.value.mfa_requirements.enroll, caught.value.mfa_requirements.challenge) == ([], None)


async def test_a_refresh_that_needs_a_factor_is_finished_with_the_mfa_client(
    tenant: Tenant, sdk: ServerPython, person: Person
) -> None:
    app, tokens = await tenant.aside(enroll_app, tenant, sdk, person)
    client = client_with(tenant, tokens.refresh_token)

    with pytest.raises(MfaRequiredError) as caught:
        await client.get_access_token(audience=tenant.mfa_audience, scope=MFA_SCOPE)
    token = caught.value.mfa_token
    proof = {"mfa_token": token, "otp": tenant.world.otp(app.secret), "persist": True}
    verified = await client.mfa.verify(proof)
    kept = await client.get_access_token(audience=tenant.mfa_audience, scope=MFA_SCOPE)

    assert {entry.type for entry in caught.value.mfa_requirements.challenge} >= {"otp"}
    assert kept == verified.access_token


async def test_a_refused_refresh_is_an_error_of_the_access_token(tenant: Tenant) -> None:
    with pytest.raises(AccessTokenError, match=r"Unknown or invalid refresh token\."):
        await client_with(tenant, "usr_0.0.1.0").get_access_token()


def test_a_wrong_secret_is_told(tenant: Tenant, person: Person) -> None:
    sdk = ServerPython(tenant, client_secret="somebody else's")

    with pytest.raises(Refused) as caught:
        sdk.verify(sdk.login(person), otp="123456")

    error, _ = caught.value.literals
    assert error == "invalid_client"


def test_scopes_are_those_of_the_login(tenant: Tenant, sdk: ServerPython, person: Person) -> None:
    _, tokens = enroll_app(tenant, sdk, person)

    assert set(tokens.scope.split()) <= set(SCOPE.split())
