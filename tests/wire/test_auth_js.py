"""What @auth0/auth0-auth-js does beside MFA, and what it makes of refusals (W14)."""

import pytest

from tests.wire.node import Driver, NodeClient, SdkError
from tests.wire.sdks import SCOPE, AuthJs
from tests.wire.tenant import Person, Tenant
from tests.wire.test_factors import enroll_app


@pytest.fixture
def sdk(tenant: Tenant, auth_js_driver: Driver) -> AuthJs:
    return AuthJs(tenant, auth_js_driver)


@pytest.fixture
def client(tenant: Tenant, auth_js_driver: Driver) -> NodeClient:
    return auth_js_driver.make(
        "AuthClient", domain=tenant.domain, clientId=tenant.client_id, clientSecret=tenant.client_secret
    )


def password_of(person: Person) -> dict[str, str]:
    return {"username": person.name, "password": person.password}


def test_what_the_user_can_enroll_or_answer_reaches_the_application(
    tenant: Tenant, sdk: AuthJs, client: NodeClient, person: Person
) -> None:
    with pytest.raises(SdkError) as before:
        client.call("getTokenByPassword", password_of(person))
    enroll_app(tenant, sdk, person)
    with pytest.raises(SdkError) as after:
        client.call("getTokenByPassword", password_of(person))

    assert before.value.said["is_mfa_required"]
    assert {"type": "otp"} in before.value.said["cause"]["mfa_requirements"]["enroll"]
    assert {"type": "otp"} in after.value.said["cause"]["mfa_requirements"]["challenge"]
    assert before.value.said["status"] == after.value.said["status"] == 403


def test_who_enrolls_by_ticket_only_is_offered_an_empty_list(
    tenant: Tenant, sdk: AuthJs, client: NodeClient, person: Person
) -> None:
    enroll_app(tenant, sdk, person)
    tenant.do(tenant.world.app.operators.reset_mfa("default", person.name))

    with pytest.raises(SdkError) as caught:
        client.call("getTokenByPassword", password_of(person))

    assert caught.value.said["is_mfa_required"]
    assert caught.value.said["cause"]["mfa_requirements"] == {"enroll": []}


def test_a_realm_beside_the_plain_password_grant_is_honored(tenant: Tenant, client: NodeClient, person: Person) -> None:
    with pytest.raises(SdkError) as known:
        client.call("getTokenByPassword", {**password_of(person), "realm": "default"})
    with pytest.raises(SdkError) as unknown:
        client.call("getTokenByPassword", {**password_of(person), "realm": "nowhere"})

    assert known.value.literals == ("mfa_required", "Multifactor authentication required")
    assert unknown.value.literals == ("invalid_request", "The realm is unknown.")


def test_a_wrong_password_is_an_invalid_grant(client: NodeClient, person: Person) -> None:
    with pytest.raises(SdkError) as caught:
        client.call("getTokenByPassword", {"username": person.name, "password": "wrong"})

    assert (caught.value.said["status"], caught.value.literals) == (403, ("invalid_grant", "Wrong email or password."))
    assert not caught.value.said["is_mfa_required"]


@pytest.mark.requirement("S144")
def test_a_wrong_secret_is_told_as_an_oauth_error_and_not_as_a_challenge(
    tenant: Tenant, auth_js_driver: Driver, person: Person
) -> None:
    client = auth_js_driver.make(
        "AuthClient", domain=tenant.domain, clientId=tenant.client_id, clientSecret="somebody else's"
    )

    with pytest.raises(SdkError) as caught:
        client.call("getTokenByPassword", password_of(person))

    error, _ = caught.value.literals
    assert (caught.value.said["status"], error) == (401, "invalid_client")


def test_a_grant_that_the_client_was_not_given(tenant: Tenant, auth_js_driver: Driver, person: Person) -> None:
    given, secret = tenant.do(tenant.world.client(name="Reader", grant_types=frozenset()))
    client = auth_js_driver.make("AuthClient", domain=tenant.domain, clientId=given.id, clientSecret=secret)

    with pytest.raises(SdkError) as caught:
        client.call("getTokenByPassword", password_of(person))

    assert caught.value.literals == ("unauthorized_client", "Grant type 'password' not allowed for the client.")


def test_a_grant_that_is_unknown(client: NodeClient) -> None:
    with pytest.raises(SdkError) as caught:
        client.call("getTokenByClientCredentials", {"audience": "https://api.example.test/"})

    error, _ = caught.value.literals
    assert error == "unsupported_grant_type"


def test_a_refresh_token_rotates(tenant: Tenant, sdk: AuthJs, client: NodeClient, person: Person) -> None:
    _, tokens = enroll_app(tenant, sdk, person)

    refreshed = client.call("getTokenByRefreshToken", {"refreshToken": tokens.refresh_token})

    assert refreshed["accessToken"] != tokens.access_token
    assert refreshed["refreshToken"] != tokens.refresh_token
    assert refreshed["scope"] == tokens.scope


@pytest.mark.requirement("S203")
def test_a_refresh_for_the_mfa_audience_asks_for_a_factor(
    tenant: Tenant, sdk: AuthJs, client: NodeClient, person: Person
) -> None:
    app, tokens = enroll_app(tenant, sdk, person)

    with pytest.raises(SdkError) as caught:
        client.call(
            "getTokenByRefreshToken",
            {
                "refreshToken": tokens.refresh_token,
                "audience": tenant.mfa_audience,
                "scope": "remove:authenticators",
            },
        )
    token = caught.value.said["cause"]["mfa_token"]
    managing = sdk.verify(token, otp=tenant.world.otp(app.secret))

    assert caught.value.said["is_mfa_required"]
    assert managing.scope == "remove:authenticators"


def test_a_refresh_token_of_nobody(client: NodeClient) -> None:
    with pytest.raises(SdkError) as caught:
        client.call("getTokenByRefreshToken", {"refreshToken": "usr_0.0.1.0"})

    assert (caught.value.said["status"], caught.value.literals) == (
        403,
        ("invalid_grant", "Unknown or invalid refresh token."),
    )


def test_a_revoked_refresh_token_is_dead(tenant: Tenant, sdk: AuthJs, client: NodeClient, person: Person) -> None:
    _, tokens = enroll_app(tenant, sdk, person)

    client.call("revokeToken", {"token": tokens.refresh_token})

    with pytest.raises(SdkError) as caught:
        client.call("getTokenByRefreshToken", {"refreshToken": tokens.refresh_token})
    assert caught.value.literals == ("invalid_grant", "Unknown or invalid refresh token.")


def test_an_mfa_token_of_another_client(tenant: Tenant, sdk: AuthJs, auth_js_driver: Driver, person: Person) -> None:
    enroll_app(tenant, sdk, person)
    given, secret = tenant.do(tenant.world.client(name="Other"))
    other = auth_js_driver.make("AuthClient", domain=tenant.domain, clientId=given.id, clientSecret=secret)
    foreign = ("invalid_request", "mfa_token not issued to this client")
    token = sdk.login(person)

    with pytest.raises(SdkError) as challenged:
        other.call("mfa.challengeAuthenticator", {"mfaToken": token, "challengeType": "otp"})
    with pytest.raises(SdkError) as verified:
        other.call("mfa.verify", {"mfaToken": token, "factorType": "otp", "otp": "123456"})

    assert challenged.value.literals == verified.value.literals == foreign


def test_an_access_token_challenges_nothing(tenant: Tenant, sdk: AuthJs, client: NodeClient, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)
    token = sdk.verify(sdk.login(person, manages=True), otp=tenant.world.otp(app.secret)).access_token

    with pytest.raises(SdkError) as caught:
        client.call("mfa.challengeAuthenticator", {"mfaToken": token, "challengeType": "otp"})

    assert caught.value.literals == ("invalid_grant", "Malformed mfa_token")


def test_the_metadata_of_the_issuer_are_found(tenant: Tenant, client: NodeClient) -> None:
    found = client.call("getServerMetadata")

    assert found["issuer"] == tenant.issuer
    assert found["token_endpoint"] == f"{tenant.issuer}oauth/token"
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]


def test_a_whole_answer_can_be_asked_for(tenant: Tenant, sdk: AuthJs, client: NodeClient, person: Person) -> None:
    _, tokens = enroll_app(tenant, sdk, person)

    said = client.call("getTokenByRefreshToken", {"refreshToken": tokens.refresh_token, "fullResponse": True})

    assert set(said) == {"data", "response"}
    assert said["data"]["scope"] == " ".join(word for word in SCOPE.split() if word in tokens.scope)
