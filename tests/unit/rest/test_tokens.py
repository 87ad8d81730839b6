import json
from typing import Any

import httpx2
import pytest
from cofactor.v1 import authenticators_pb2 as kinds
from cofactor.v1 import tokens_pb2 as pb
from google.protobuf.duration_pb2 import Duration

from tests.unit.rest.fake_api import FakeApi

AUTH0 = "http://auth0.com/oauth/grant-type/"
CLIENT = {"client_id": "web"}
PASSWORD = {"grant_type": "password", "username": "alice", "password": "correct horse", **CLIENT}
TARGET = pb.TokenTarget(scope="openid profile", audience="https://api.example.com/")
TARGET_MEMBERS = {"scope": "openid profile", "audience": "https://api.example.com/"}
CREDENTIAL = {"id": "abc", "response": {"clientDataJSON": "e30", "userHandle": None}, "type": "public-key"}

GRANTS: dict[str, tuple[dict[str, Any], pb.IssueTokenRequest]] = {
    "password": (
        {"grant_type": "password", "username": "alice", "password": "pw", **TARGET_MEMBERS},
        pb.IssueTokenRequest(password=pb.PasswordGrant(username="alice", password="pw", target=TARGET)),
    ),
    "password with a realm": (
        {"grant_type": "password", "username": "alice", "password": "pw", "realm": "staff"},
        pb.IssueTokenRequest(
            password_realm=pb.PasswordRealmGrant(
                username="alice", password="pw", realm="staff", target=pb.TokenTarget()
            )
        ),
    ),
    "password-realm": (
        {"grant_type": f"{AUTH0}password-realm", "username": "alice", "password": "pw", "realm": "staff"},
        pb.IssueTokenRequest(
            password_realm=pb.PasswordRealmGrant(
                username="alice", password="pw", realm="staff", target=pb.TokenTarget()
            )
        ),
    ),
    "refresh_token": (
        {"grant_type": "refresh_token", "refresh_token": "rt", "scope": "openid profile"},
        pb.IssueTokenRequest(
            refresh_token=pb.RefreshTokenGrant(refresh_token="rt", target=pb.TokenTarget(scope="openid profile"))
        ),
    ),
    "mfa-otp": (
        {"grant_type": f"{AUTH0}mfa-otp", "mfa_token": "mt", "otp": "123456"},
        pb.IssueTokenRequest(mfa_otp=pb.MfaOtpGrant(mfa_token="mt", otp="123456")),
    ),
    "mfa-oob": (
        {"grant_type": f"{AUTH0}mfa-oob", "mfa_token": "mt", "oob_code": "oc"},
        pb.IssueTokenRequest(mfa_oob=pb.MfaOobGrant(mfa_token="mt", oob_code="oc")),
    ),
    "mfa-oob with a binding code": (
        {"grant_type": f"{AUTH0}mfa-oob", "mfa_token": "mt", "oob_code": "oc", "binding_code": "654321"},
        pb.IssueTokenRequest(mfa_oob=pb.MfaOobGrant(mfa_token="mt", oob_code="oc", binding_code="654321")),
    ),
    "mfa-recovery-code": (
        {"grant_type": f"{AUTH0}mfa-recovery-code", "mfa_token": "mt", "recovery_code": "ABCD"},
        pb.IssueTokenRequest(mfa_recovery_code=pb.MfaRecoveryCodeGrant(mfa_token="mt", recovery_code="ABCD")),
    ),
    "mfa-webauthn": (
        {
            "grant_type": f"{AUTH0}mfa-webauthn",
            "mfa_token": "mt",
            "oob_code": "oc",
            "credential": json.dumps(CREDENTIAL, separators=(",", ":")),
        },
        pb.IssueTokenRequest(
            mfa_webauthn=pb.MfaWebAuthnGrant(
                mfa_token="mt", oob_code="oc", credential_json=json.dumps(CREDENTIAL, separators=(",", ":"))
            )
        ),
    ),
}


async def test_answers_exactly_the_tokens_it_got(api: FakeApi, http: httpx2.AsyncClient) -> None:
    api.outcome = pb.Tokens(
        access_token="at",
        token_type="Bearer",
        expires_in=Duration(seconds=600),
        scope="openid",
        id_token="it",
        refresh_token="rt",
        recovery_code="ABCDEFGHIJKLMNOPQRSTUVWX",
    )

    response = await http.post("/oauth/token", json=PASSWORD)

    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == {
        "access_token": "at",
        "token_type": "Bearer",
        "expires_in": 600,
        "scope": "openid",
        "id_token": "it",
        "refresh_token": "rt",
        "recovery_code": "ABCDEFGHIJKLMNOPQRSTUVWX",
    }


async def test_what_was_not_granted_is_absent_and_not_null(http: httpx2.AsyncClient) -> None:
    response = await http.post("/oauth/token", json=PASSWORD)

    assert response.text == '{"access_token":"eyJ.access","token_type":"Bearer","expires_in":86400}'


@pytest.mark.requirement("S145")
@pytest.mark.parametrize("status", [200, 400, 403])
async def test_no_answer_of_the_token_endpoint_is_kept_by_a_cache(
    api: FakeApi, http: httpx2.AsyncClient, status: int
) -> None:
    if status == 403:
        api.refuse("INVALID_OTP")

    response = await http.post("/oauth/token", json={} if status == 400 else PASSWORD)

    assert (response.status_code, response.headers["cache-control"], response.headers["pragma"]) == (
        status,
        "no-store",
        "no-cache",
    )


@pytest.mark.parametrize("encoding", ["json", "data"])
@pytest.mark.parametrize("grant", GRANTS)
async def test_every_grant_reaches_the_api_from_json_and_from_a_form(
    api: FakeApi, http: httpx2.AsyncClient, grant: str, encoding: str
) -> None:
    members, message = GRANTS[grant]
    body: dict[str, Any] = {encoding: {**members, **CLIENT}}

    response = await http.post("/oauth/token", **body)

    assert response.status_code == 200
    assert api.call.request == message
    assert api.call.metadata == {"cofactor-client-id": "web"}


async def test_a_webauthn_credential_may_be_an_object(api: FakeApi, http: httpx2.AsyncClient) -> None:
    members, message = GRANTS["mfa-webauthn"]

    await http.post("/oauth/token", json={**members, "credential": CREDENTIAL, **CLIENT})

    assert api.call.request == message


@pytest.mark.parametrize("credential", [7, ["a"], True])
async def test_a_credential_of_another_type_is_refused(http: httpx2.AsyncClient, credential: Any) -> None:
    members, _ = GRANTS["mfa-webauthn"]

    response = await http.post("/oauth/token", json={**members, "credential": credential, **CLIENT})

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert "credential" in response.json()["error_description"]


REQUIRED = [
    ("password", "username"),
    ("password", "password"),
    ("password-realm", "username"),
    ("password-realm", "password"),
    ("password-realm", "realm"),
    ("refresh_token", "refresh_token"),
    ("mfa-otp", "mfa_token"),
    ("mfa-otp", "otp"),
    ("mfa-oob", "mfa_token"),
    ("mfa-oob", "oob_code"),
    ("mfa-recovery-code", "mfa_token"),
    ("mfa-recovery-code", "recovery_code"),
    ("mfa-webauthn", "mfa_token"),
    ("mfa-webauthn", "oob_code"),
    ("mfa-webauthn", "credential"),
]


@pytest.mark.requirement("S147")
@pytest.mark.parametrize("absence", [None, "", "gone"])
@pytest.mark.parametrize(("grant", "name"), [*REQUIRED, ("password", "client_id"), ("password", "grant_type")])
async def test_a_missing_null_or_empty_parameter_is_named(
    api: FakeApi, http: httpx2.AsyncClient, grant: str, name: str, absence: str | None
) -> None:
    members = {**GRANTS[grant][0], **CLIENT, name: absence}
    if absence == "gone":
        del members[name]

    response = await http.post("/oauth/token", json=members)

    assert response.status_code == 400
    assert response.json() == {
        "error": "invalid_request",
        "error_description": f"Missing required parameter: {name}",
    }
    assert api.calls == []


@pytest.mark.requirement("S148")
@pytest.mark.parametrize(
    "grant_type",
    ["client_credentials", "authorization_code", "urn:cofactor:grant-type:vouched", "vouched", "PASSWORD", f"{AUTH0}x"],
)
async def test_an_unknown_grant_type_is_unsupported_and_vouching_is_unknown_here(
    api: FakeApi, http: httpx2.AsyncClient, grant_type: str
) -> None:
    response = await http.post("/oauth/token", json={**PASSWORD, "grant_type": grant_type})

    assert (response.status_code, response.json()["error"]) == (400, "unsupported_grant_type")
    assert api.calls == []


@pytest.mark.requirement("S147")
async def test_nulls_empty_strings_and_unknown_members_do_not_matter(api: FakeApi, http: httpx2.AsyncClient) -> None:
    extra = {"realm": None, "scope": None, "audience": "", "client_secret": None, "connection": {"a": [1.5]}, "x": 1}

    response = await http.post("/oauth/token", json={**PASSWORD, **extra})

    assert response.status_code == 200
    assert api.call.request == pb.IssueTokenRequest(
        password=pb.PasswordGrant(username="alice", password="correct horse", target=pb.TokenTarget())
    )


async def test_a_bearer_token_at_the_token_endpoint_is_ignored(api: FakeApi, http: httpx2.AsyncClient) -> None:
    response = await http.post("/oauth/token", json=PASSWORD, headers={"Authorization": "Bearer some-mfa-token"})

    assert response.status_code == 200
    assert api.call.metadata == {"cofactor-client-id": "web"}


@pytest.mark.requirement("S149")
async def test_parameters_in_the_query_string_are_ignored(api: FakeApi, http: httpx2.AsyncClient) -> None:
    response = await http.post("/oauth/token", params=PASSWORD, json={})

    assert response.json()["error_description"] == "Missing required parameter: grant_type"
    assert api.calls == []


@pytest.mark.requirement("S149")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_post_asks_for_tokens(api: FakeApi, http: httpx2.AsyncClient, method: str) -> None:
    response = await http.request(method, "/oauth/token", params=PASSWORD)

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"] == "invalid_request"
    assert api.calls == []


def _required(**requirement: Any) -> pb.MfaRequired:
    return pb.MfaRequired(mfa_token="Fe26.2*x", **requirement)


ENROLLED = pb.ChallengeRequirement(
    kinds=[
        kinds.FACTOR_KIND_HOTP,
        kinds.FACTOR_KIND_SMS,
        kinds.FACTOR_KIND_TOTP,
        kinds.FACTOR_KIND_VOICE,
        kinds.FACTOR_KIND_PUSH,
        kinds.FACTOR_KIND_EMAIL,
        kinds.FACTOR_KIND_WEBAUTHN,
        kinds.FACTOR_KIND_RECOVERY_CODE,
    ]
)
NOT_ENROLLED = pb.EnrollRequirement(
    kinds=[
        kinds.FACTOR_KIND_EMAIL,
        kinds.FACTOR_KIND_RECOVERY_CODE,
        kinds.FACTOR_KIND_TOTP,
        kinds.FACTOR_KIND_SMS,
        kinds.FACTOR_KIND_VOICE,
        kinds.FACTOR_KIND_PUSH,
    ]
)


def _types(*names: str) -> list[dict[str, str]]:
    return [{"type": name} for name in names]


@pytest.mark.parametrize(
    ("outcome", "requirements"),
    [
        (
            _required(challenge=ENROLLED),
            {"challenge": _types("otp", "phone", "push-notification", "email", "webauthn", "recovery-code")},
        ),
        (_required(enroll=NOT_ENROLLED), {"enroll": _types("otp", "phone", "push-notification")}),
        (_required(challenge=pb.ChallengeRequirement()), {"challenge": []}),
        (_required(enroll=pb.EnrollRequirement()), {"enroll": []}),
        (_required(), None),
    ],
)
@pytest.mark.parametrize("grant", ["password", "password-realm", "refresh_token", "mfa-otp"])
async def test_mfa_required_is_a_403_that_says_what_can_be_done(
    api: FakeApi, http: httpx2.AsyncClient, outcome: pb.MfaRequired, requirements: Any, grant: str
) -> None:
    api.outcome = outcome

    response = await http.post("/oauth/token", json={**GRANTS[grant][0], **CLIENT})

    assert response.status_code == 403
    assert response.json() == {
        "error": "mfa_required",
        "error_description": "Multifactor authentication required",
        "mfa_token": "Fe26.2*x",
        **({} if requirements is None else {"mfa_requirements": requirements}),
    }


async def test_an_unanswered_push_is_pending(api: FakeApi, http: httpx2.AsyncClient) -> None:
    api.outcome = pb.AnswerPending(poll_interval=Duration(seconds=5))

    response = await http.post("/oauth/token", json={**GRANTS["mfa-oob"][0], **CLIENT})

    assert response.status_code == 400
    assert response.json() == {
        "error": "authorization_pending",
        "error_description": "Authorization pending: please repeat the request in a few seconds.",
    }


async def test_an_outcome_of_a_newer_server_is_a_fault_and_not_a_success(
    api: FakeApi, http: httpx2.AsyncClient
) -> None:
    api.outcome = None

    response = await http.post("/oauth/token", json=PASSWORD)

    assert (response.status_code, response.json()["error"]) == (500, "server_error")


@pytest.mark.parametrize("encoding", ["json", "data"])
async def test_revoking_answers_an_empty_200(api: FakeApi, http: httpx2.AsyncClient, encoding: str) -> None:
    members = {"token": "rt", "token_type_hint": "refresh_token", "client_secret": "s3cret", **CLIENT}
    body: dict[str, Any] = {encoding: members}

    response = await http.post("/oauth/revoke", **body)

    assert (response.status_code, response.content) == (200, b"")
    assert api.call.request == pb.RevokeTokenRequest(token="rt")
    assert api.call.metadata == {"cofactor-client-id": "web", "cofactor-client-secret": "s3cret"}


@pytest.mark.parametrize("path", ["/oauth/revoke", "/oauth/introspect"])
@pytest.mark.parametrize("name", ["token", "client_id"])
async def test_a_token_and_a_client_are_required(http: httpx2.AsyncClient, path: str, name: str) -> None:
    response = await http.post(path, data={"token": "t", **CLIENT, name: ""})

    assert response.json()["error_description"] == f"Missing required parameter: {name}"


async def test_an_active_token_tells_what_it_says(api: FakeApi, http: httpx2.AsyncClient) -> None:
    api.answers["IntrospectToken"] = pb.IntrospectTokenResponse(
        active=True,
        iss="https://mfa.example.com/",
        sub="usr_1",
        aud=["https://api/"],
        exp=1700000000,
        amr=["otp", "mfa"],
    )

    response = await http.post("/oauth/introspect", data={"token": "t", **CLIENT})

    assert response.json() == {
        "active": True,
        "iss": "https://mfa.example.com/",
        "sub": "usr_1",
        "aud": ["https://api/"],
        "exp": 1700000000,
        "amr": ["otp", "mfa"],
    }


async def test_an_inactive_token_says_nothing(http: httpx2.AsyncClient) -> None:
    response = await http.post("/oauth/introspect", data={"token": "t", **CLIENT})

    assert response.json() == {"active": False}


async def test_discovery_names_the_issuer_with_its_slash_and_only_endpoints_below_it(
    http: httpx2.AsyncClient,
) -> None:
    document = (await http.get("/.well-known/openid-configuration")).json()

    assert document["issuer"] == "https://mfa.example.com/"
    assert document["token_endpoint"] == "https://mfa.example.com/oauth/token"
    assert document["jwks_uri"] == "https://mfa.example.com/.well-known/jwks.json"
    assert document["authorization_endpoint"] == "https://mfa.example.com/authorize"
    assert document["revocation_endpoint"] == "https://mfa.example.com/oauth/revoke"
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    assert set(document["token_endpoint_auth_methods_supported"]) == {
        "none",
        "client_secret_post",
        "client_secret_basic",
        "private_key_jwt",
    }
    assert f"{AUTH0}mfa-otp" in document["grant_types_supported"]
    assert not any("vouch" in grant for grant in document["grant_types_supported"])


async def test_keys_have_the_members_of_their_type_only(api: FakeApi, http: httpx2.AsyncClient) -> None:
    api.answers["GetJsonWebKeySet"] = pb.GetJsonWebKeySetResponse(
        keys=[
            pb.JsonWebKey(kty="RSA", kid="1", use="sig", alg="RS256", n="AQ", e="AQAB"),
            pb.JsonWebKey(kty="EC", kid="2", use="sig", alg="ES256", crv="P-256", x="AA", y="BB"),
        ]
    )

    every = await http.get("/.well-known/keys.json")
    for_sdks = await http.get("/.well-known/jwks.json")

    rsa = {"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": "AQ", "e": "AQAB"}
    ec = {"kty": "EC", "kid": "2", "use": "sig", "alg": "ES256", "crv": "P-256", "x": "AA", "y": "BB"}
    assert every.json() == {"keys": [rsa, ec]}
    assert for_sdks.json() == {"keys": [rsa]}
