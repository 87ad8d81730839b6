"""What @auth0/auth0-spa-js does beside verifying: it keeps tokens and refreshes them silently (W14)."""

import pytest

from tests.wire.node import Driver, NodeClient, SdkError
from tests.wire.sdks import SCOPE
from tests.wire.tenant import MFA_SCOPE, Person, Tenant


@pytest.fixture
def client(tenant: Tenant, spa_js_driver: Driver) -> NodeClient:
    return spa_js_driver.make(
        "Auth0Client",
        domain=tenant.domain,
        clientId=tenant.public_client_id,
        useRefreshTokens=True,
        useMrrt=True,
    )


def logged_in(tenant: Tenant, client: NodeClient, person: Person) -> str:
    """Enroll an authenticator app at the first login, and return its secret; the SDK keeps the tokens."""
    token = tenant.mfa_token(person, {"scope": SCOPE}, public=True)
    client.call("mfa.setMFAAuthDetails", token, SCOPE)
    app = client.call("mfa.enroll", {"mfaToken": token, "factorType": "otp"})
    client.call("mfa.verify", {"mfaToken": token, "otp": tenant.world.otp(app["secret"], steps=-1)})
    secret: str = app["secret"]
    return secret


def stepping_up(tenant: Tenant, client: NodeClient) -> SdkError:
    """Ask silently for what needs a factor."""
    target = {"audience": tenant.mfa_audience, "scope": MFA_SCOPE}
    with pytest.raises(SdkError) as caught:
        client.call("getTokenSilently", {"authorizationParams": target})
    return caught.value


def test_the_user_is_logged_in_once_a_factor_was_verified(tenant: Tenant, client: NodeClient, person: Person) -> None:
    logged_in(tenant, client, person)

    assert client.call("isAuthenticated") is True
    assert client.call("getIdTokenClaims")["iss"] == tenant.issuer
    assert client.call("getTokenSilently")


def test_tokens_are_refreshed_silently(tenant: Tenant, client: NodeClient, person: Person) -> None:
    logged_in(tenant, client, person)
    kept = client.call("getTokenSilently")

    first = client.call("getTokenSilently", {"cacheMode": "off"})
    second = client.call("getTokenSilently", {"cacheMode": "off"})

    assert len({kept, first, second}) == 3


def test_a_silent_refresh_that_needs_a_factor_is_finished_with_the_mfa_client(
    tenant: Tenant, client: NodeClient, person: Person
) -> None:
    secret = logged_in(tenant, client, person)

    required = stepping_up(tenant, client)
    token = required.said["mfa_token"]
    rows = client.call("mfa.getAuthenticators", token)
    challenge = client.call(
        "mfa.challenge", {"mfaToken": token, "challengeType": "otp", "authenticatorId": rows[0]["id"]}
    )
    tokens = client.call("mfa.verify", {"mfaToken": token, "otp": tenant.world.otp(secret)})

    assert (required.said["class"], required.said["error"]) == ("MfaRequiredError", "mfa_required")
    assert rows[0]["type"] == "otp"
    assert {row["type"] for row in rows} <= {entry["type"] for entry in required.said["mfa_requirements"]["challenge"]}
    assert challenge == {"challengeType": "otp"}
    assert set(MFA_SCOPE.split()) <= set(tokens["scope"].split())


def test_nothing_is_to_be_enrolled_by_who_has_a_factor(tenant: Tenant, client: NodeClient, person: Person) -> None:
    logged_in(tenant, client, person)

    assert client.call("mfa.getEnrollmentFactors", stepping_up(tenant, client).said["mfa_token"]) == []


def test_nothing_is_to_be_enrolled_by_who_enrolls_by_ticket_only(
    tenant: Tenant, client: NodeClient, person: Person
) -> None:
    tenant.strip(person)

    required = tenant.refusal(person, {"scope": SCOPE}, public=True)
    client.call("mfa.setMFAAuthDetails", required["mfa_token"], SCOPE, None, required["mfa_requirements"])

    assert (required["mfa_requirements"], required["enrollment_way"]) == ({"enroll": []}, "ticket")
    assert client.call("mfa.getEnrollmentFactors", required["mfa_token"]) == []


def test_what_can_be_enrolled_is_told_to_who_has_nothing(tenant: Tenant, client: NodeClient, person: Person) -> None:
    answer = tenant.refusal(person, {"scope": SCOPE}, public=True)
    client.call("mfa.setMFAAuthDetails", answer["mfa_token"], SCOPE, None, answer["mfa_requirements"])

    assert {"type": "otp"} in client.call("mfa.getEnrollmentFactors", answer["mfa_token"])


def test_a_revoked_refresh_token_ends_silent_refreshes(tenant: Tenant, client: NodeClient, person: Person) -> None:
    logged_in(tenant, client, person)
    client.call("revokeRefreshToken")

    with pytest.raises(SdkError) as caught:
        client.call("getTokenSilently", {"cacheMode": "off"})

    assert caught.value.said["error"] in {"missing_refresh_token", "invalid_grant"}


@pytest.mark.requirement("S138")
def test_a_refused_refresh_says_why(tenant: Tenant, client: NodeClient, person: Person) -> None:
    logged_in(tenant, client, person)

    with tenant.later(31 * 86_400), pytest.raises(SdkError) as caught:
        client.call("getTokenSilently", {"cacheMode": "off"})

    assert (caught.value.said["error"], caught.value.said["error_description"]) == (
        "invalid_grant",
        "Unknown or invalid refresh token.",
    )
