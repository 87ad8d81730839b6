"""auth0-python has no MFA client: it logs in, hands on `mfa_required`, refreshes, revokes and verifies tokens."""

from typing import Any

import pytest
from auth0.authentication import GetToken, RevokeToken
from auth0.authentication.exceptions import Auth0Error
from auth0.authentication.token_verifier import AsymmetricSignatureVerifier, TokenVerifier
from cofactor_server.domain.parties.users import MfaPolicy

from tests.wire.sdks import SCOPE, ServerPython
from tests.wire.tenant import API, Person, Tenant
from tests.wire.test_factors import enroll_app


@pytest.fixture
def tokens(tenant: Tenant) -> GetToken:
    return GetToken(tenant.domain, tenant.client_id, client_secret=tenant.client_secret)


@pytest.fixture
def waved_through(tenant: Tenant) -> Person:
    """Somebody of whom no second factor is asked."""
    return tenant.person(mfa_policy=MfaPolicy.NEVER)


def logged_in(tokens: GetToken, person: Person) -> dict[str, Any]:
    said: dict[str, Any] = tokens.login(person.name, person.password, scope=SCOPE, grant_type="password")
    return said


@pytest.mark.requirement("S147")
def test_a_login_without_a_second_factor_brings_tokens(tokens: GetToken, waved_through: Person) -> None:
    said = logged_in(tokens, waved_through)

    assert said["token_type"] == "Bearer"
    assert said["expires_in"] == 86_400
    assert said["refresh_token"]


@pytest.mark.parametrize("realm", ["", "default"])
def test_what_is_missing_reaches_the_application(tokens: GetToken, person: Person, realm: str) -> None:
    grant = {"realm": realm} if realm else {"grant_type": "password"}

    with pytest.raises(Auth0Error) as caught:
        tokens.login(person.name, person.password, audience=API, **grant)

    assert (caught.value.status_code, caught.value.error_code) == (403, "mfa_required")
    assert caught.value.message == "Multifactor authentication required"
    assert caught.value.content is not None
    assert caught.value.content["mfa_token"]
    assert {"type": "otp"} in caught.value.content["mfa_requirements"]["enroll"]


def test_the_mfa_token_is_finished_by_another_sdk(tenant: Tenant, tokens: GetToken, person: Person) -> None:
    sdk = ServerPython(tenant)
    app, _ = enroll_app(tenant, sdk, person)

    with pytest.raises(Auth0Error) as caught:
        tokens.login(person.name, person.password, realm="default")
    assert caught.value.content is not None
    token = sdk.held(caught.value.content["mfa_token"])

    assert sdk.verify(token, otp=tenant.world.otp(app.secret)).access_token


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"password": "wrong"}, (403, "invalid_grant", "Wrong email or password.")),
        ({"username": "nobody@example.test"}, (403, "invalid_grant", "Wrong email or password.")),
        ({"realm": "nowhere"}, (400, "invalid_request", "The realm is unknown.")),
        ({"audience": "https://other.example.test/"}, (403, "access_denied", None)),
    ],
)
def test_a_login_is_refused(
    tokens: GetToken, person: Person, change: dict[str, str], expected: tuple[int, str, str | None]
) -> None:
    grant = {"username": person.name, "password": person.password, "realm": "default", **change}

    with pytest.raises(Auth0Error) as caught:
        tokens.login(**grant)

    status, error, text = expected
    assert (caught.value.status_code, caught.value.error_code) == (status, error)
    assert text is None or caught.value.message == text


def test_a_client_with_a_wrong_secret_is_refused(tenant: Tenant, person: Person) -> None:
    tokens = GetToken(tenant.domain, tenant.client_id, client_secret="somebody else's")

    with pytest.raises(Auth0Error) as caught:
        tokens.login(person.name, person.password, realm="default")

    assert (caught.value.status_code, caught.value.error_code) == (401, "invalid_client")


def test_a_grant_that_is_unknown_is_refused(tokens: GetToken) -> None:
    with pytest.raises(Auth0Error) as caught:
        tokens.client_credentials(API)

    assert (caught.value.status_code, caught.value.error_code) == (400, "unsupported_grant_type")


def test_a_refresh_token_rotates_and_its_reuse_ends_the_family(tokens: GetToken, waved_through: Person) -> None:
    first = logged_in(tokens, waved_through)
    second = tokens.refresh_token(first["refresh_token"])

    refusals = []
    for token in (first["refresh_token"], second["refresh_token"]):
        with pytest.raises(Auth0Error) as caught:
            tokens.refresh_token(token)
        refusals.append((caught.value.status_code, caught.value.error_code, caught.value.message))

    assert second["refresh_token"] != first["refresh_token"]
    assert refusals == [(403, "invalid_grant", "Unknown or invalid refresh token.")] * 2


def test_a_revoked_refresh_token_is_dead(tenant: Tenant, tokens: GetToken, waved_through: Person) -> None:
    said = logged_in(tokens, waved_through)

    RevokeToken(tenant.domain, tenant.client_id, client_secret=tenant.client_secret).revoke_refresh_token(
        said["refresh_token"]
    )

    with pytest.raises(Auth0Error, match=r"Unknown or invalid refresh token\."):
        tokens.refresh_token(said["refresh_token"])


@pytest.mark.requirement("S154")
def test_an_id_token_is_verified_with_the_published_keys(
    tenant: Tenant, tokens: GetToken, waved_through: Person
) -> None:
    verifier = TokenVerifier(
        signature_verifier=AsymmetricSignatureVerifier(f"{tenant.issuer}.well-known/jwks.json"),
        issuer=tenant.issuer,
        audience=tenant.client_id,
    )

    claims = verifier.verify(logged_in(tokens, waved_through)["id_token"])

    assert claims["iss"] == tenant.issuer
    assert claims["sub"].startswith("usr_")
