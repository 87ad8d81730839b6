"""Requests over HTTP that no client of good will sends: the contract's error for each, and never INTERNAL."""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from tests.support.flows.api import AUTH0, ClientCredentials, Refused, RestApi, refusal_in
from tests.support.flows.steps import ALICE, enrolled, logged_in_to_mfa, shop
from tests.support.world import PASSWORD, World

LONG = "x" * 5_000
MEMBERS: Mapping[str, Mapping[str, str]] = {
    "password": {"username": "u", "password": "p"},
    f"{AUTH0}password-realm": {"username": "u", "password": "p", "realm": "r"},
    "refresh_token": {"refresh_token": "t"},
    f"{AUTH0}mfa-otp": {"mfa_token": "t", "otp": "1"},
    f"{AUTH0}mfa-oob": {"mfa_token": "t", "oob_code": "c"},
    f"{AUTH0}mfa-recovery-code": {"mfa_token": "t", "recovery_code": "c"},
}


@pytest.fixture
def engine() -> str:
    """One is enough: what is refused here reaches no database."""
    return "sqlite"


async def posted(api: RestApi, client: ClientCredentials, path: str = "/oauth/token", **members: Any) -> Refused:
    """Return how a body is refused; members replace the client's credentials."""
    body = {"client_id": client[0], "client_secret": client[1], **members}
    return refusal_in(await api.http.post(path, json=body))


@pytest.mark.requirement("S147")
@pytest.mark.parametrize("absent", [..., None, ""], ids=["absent", "null", "empty"])
async def test_every_member_that_is_required_is_missed_by_name(rest_api: RestApi, world: World, absent: Any) -> None:
    client = await shop(world)
    said, expected = {}, {}

    for grant, members in MEMBERS.items():
        for name in ("grant_type", "client_id", *members):
            body = {"grant_type": grant, "client_id": client[0], **members, name: absent}
            body = {key: value for key, value in body.items() if value is not ...}
            refused = refusal_in(await rest_api.http.post("/oauth/token", json=body))
            said[grant, name] = (refused.http_status, refused.reason, refused.text)
            expected[grant, name] = (400, "MISSING_PARAMETER", f"Missing required parameter: {name}")

    assert said == expected


@pytest.mark.parametrize("wrong", [5, 1.5, True, ["a"], {"a": "b"}], ids=repr)
async def test_a_member_of_the_wrong_type_is_refused_by_name(rest_api: RestApi, world: World, wrong: Any) -> None:
    client = await shop(world)
    said, expected = {}, {}

    for grant, members in MEMBERS.items():
        for name in ("grant_type", "client_id", "client_secret", *members):
            refused = await posted(rest_api, client, **{"grant_type": grant, **members, name: wrong})
            said[grant, name] = (refused.http_status, refused.reason, refused.text)
            text = f"The request is malformed. {name}: must be a string"
            expected[grant, name] = (400, "INVALID_REQUEST", text)

    assert said == expected


@pytest.mark.requirement("S148")
@pytest.mark.parametrize(
    "grant_type",
    [
        "authorization_code",
        "client_credentials",
        "PASSWORD",
        f"{AUTH0}mfa-sms",
        "mfa-otp",
        "urn:cofactor:grant-type:vouched",
        "http://auth0.com/oauth/grant-type/mfa-otp ",
    ],
)
async def test_a_grant_that_nobody_knows_is_unsupported(rest_api: RestApi, world: World, grant_type: str) -> None:
    client = await shop(world)

    refused = await posted(rest_api, client, grant_type=grant_type, username="u", password="p")

    assert (refused.http_status, refused.reason) == (400, "UNSUPPORTED_GRANT_TYPE")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b'{"grant_type": NaN}', "application/json"),
        (b"[]", "application/json"),
        (b'"password"', "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"{}", "application/xml"),
        (b"{}", "multipart/form-data"),
        (b"grant_type=%ff", "application/x-www-form-urlencoded"),
        (b'{"grant_type": "password", "grant_type": "password"}', "application/json"),
        (b"grant_type=password&grant_type=password", "application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_that_says_nothing_clear_is_refused(
    rest_api: RestApi, world: World, body: bytes, kind: str
) -> None:
    for path in ("/oauth/token", "/mfa/challenge", "/oauth/revoke", "/oauth/introspect"):
        response = await rest_api.http.post(path, content=body, headers={"content-type": kind})

        refused = refusal_in(response)
        assert (refused.http_status, refused.reason) == (400, "INVALID_REQUEST"), path


async def test_a_form_says_the_same_as_json(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    form = {"grant_type": "password", "username": ALICE, "password": PASSWORD, "client_id": client[0], "realm": ""}

    response = await rest_api.http.post("/oauth/token", data={**form, "client_secret": client[1] or ""})

    assert (response.status_code, response.json()["error"]) == (403, "mfa_required")


@pytest.mark.parametrize(
    ("path", "members", "expected"),
    [
        ("/mfa/challenge", {}, "MISSING_PARAMETER"),
        ("/mfa/challenge", {"mfa_token": 5}, "INVALID_REQUEST"),
        ("/mfa/challenge", {"mfa_token": "garbage"}, "MFA_TOKEN_MALFORMED"),
        ("/mfa/challenge", {"mfa_token": "not visible"}, "MFA_TOKEN_MALFORMED"),
        ("/mfa/challenge", {"mfa_token": LONG}, "MFA_TOKEN_MALFORMED"),
        ("/mfa/challenge", {"mfa_token": "garbage", "challenge_type": 5}, "INVALID_REQUEST"),
        ("/mfa/challenge", {"mfa_token": "garbage", "challenge_type": "magic"}, "CHALLENGE_TYPE_UNSUPPORTED"),
        ("/mfa/challenge", {"mfa_token": "garbage", "oob_channel": "pigeon"}, "INVALID_REQUEST"),
        ("/mfa/challenge", {"mfa_token": "garbage", "client_id": ""}, "MISSING_PARAMETER"),
        ("/oauth/revoke", {}, "MISSING_PARAMETER"),
        ("/oauth/revoke", {"token": ["t"]}, "INVALID_REQUEST"),
        ("/oauth/introspect", {}, "MISSING_PARAMETER"),
        ("/oauth/introspect", {"token": "t", "client_id": None}, "MISSING_PARAMETER"),
    ],
    ids=str,
)
async def test_other_bodies_of_clients_are_refused(
    rest_api: RestApi, world: World, path: str, members: dict[str, Any], expected: str
) -> None:
    client = await shop(world)

    assert (await posted(rest_api, client, path, **members)).reason == expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "MISSING_PARAMETER"),
        ({"authenticator_types": []}, "MISSING_PARAMETER"),
        ({"authenticator_types": 5}, "INVALID_REQUEST"),
        ({"authenticator_types": [5]}, "INVALID_REQUEST"),
        ({"authenticator_types": ["magic"]}, "AUTHENTICATOR_TYPE_UNSUPPORTED"),
        ({"authenticator_types": ["recovery-code"]}, "AUTHENTICATOR_TYPE_UNSUPPORTED"),
        ({"authenticator_types": ["oob"]}, "MISSING_PARAMETER"),
        ({"authenticator_types": ["oob"], "oob_channels": ["pigeon"]}, "INVALID_REQUEST"),
        ({"authenticator_types": ["oob"], "oob_channels": ["sms"]}, "PHONE_NUMBER_INVALID"),
        ({"authenticator_types": ["oob"], "oob_channels": ["sms"], "phone_number": 44}, "INVALID_REQUEST"),
        ({"authenticator_types": ["otp"], "name": 5}, "INVALID_REQUEST"),
        ({"authenticator_types": ["otp"], "client_secret": "without an id"}, "MISSING_PARAMETER"),
        ({"authenticator_types": ["otp"], "client_id": "cli_unknown"}, "INVALID_CLIENT"),
    ],
    ids=str,
)
async def test_other_bodies_of_users_are_refused(
    rest_api: RestApi, world: World, members: dict[str, Any], expected: str
) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(rest_api, client)

    response = await rest_api.http.post(
        "/mfa/associate", json=members, headers={"authorization": f"Bearer {login.mfa_token}"}
    )

    assert refusal_in(response).reason == expected


@pytest.mark.parametrize(
    "header", [{}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "Basic eDp5"}]
)
async def test_without_a_bearer_token_nothing_of_a_user_is_shown(
    rest_api: RestApi, world: World, header: dict[str, str]
) -> None:
    url = "/mfa/authenticators/totp%7Cdev_0000000000000000"
    responses = [
        await rest_api.http.post("/mfa/associate", json={"authenticator_types": ["otp"]}, headers=header),
        await rest_api.http.get("/mfa/authenticators", headers=header),
        await rest_api.http.patch(url, json={"name": "Mine"}, headers=header),
        await rest_api.http.delete(url, headers=header),
    ]

    refusals = [refusal_in(response) for response in responses]
    assert {(r.http_status, r.reason, r.text) for r in refusals} == {(401, "BEARER_MISSING", "Unauthorized")}


@pytest.mark.requirement("S149")
async def test_methods_and_paths_that_are_not_served_are_refused(rest_api: RestApi, world: World) -> None:
    secret = f"client_id=x&client_secret={LONG[:40]}"
    answers = {
        (method, path): await rest_api.http.request(method, path)
        for method, path in (
            ("GET", f"/oauth/token?grant_type=password&{secret}"),
            ("PUT", "/oauth/token"),
            ("GET", "/mfa/challenge"),
            ("GET", "/mfa/associate"),
            ("POST", "/mfa/authenticators"),
            ("GET", "/mfa/authenticators/x"),
            ("GET", "/"),
            ("GET", "/oauth/tokens"),
            ("POST", "/oauth/token/"),
        )
    }

    reasons = [refusal_in(response).reason for response in answers.values()]
    assert reasons == ["METHOD_NOT_ALLOWED"] * 6 + ["NOT_FOUND"] * 3


async def test_a_body_that_is_too_large_is_not_read(rest_api: RestApi, world: World) -> None:
    response = await rest_api.http.post("/oauth/token", json={"password": "x" * 70_000})

    assert refusal_in(response).reason == "REQUEST_TOO_LARGE"


async def test_members_that_nobody_asks_for_do_not_matter(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(rest_api, world, client)
    login = await logged_in_to_mfa(rest_api, client)
    body = {
        "grant_type": f"{AUTH0}mfa-otp",
        "client_id": client[0],
        "client_secret": client[1],
        "mfa_token": login.mfa_token,
        "otp": world.otp(user.secret),
        "scope": "admin",
        "audience": "https://elsewhere.example.test/",
        "realm": None,
        "device": {"nested": [1, 2, 3]},
    }

    response = await rest_api.http.post("/oauth/token", json=body, headers={"authorization": f"Bearer {LONG[:99]}"})

    assert response.status_code == 200
    assert "scope" not in response.json()


def test_the_rest_client_of_these_tests_reads_every_refusal() -> None:
    """Guards the tests: an answer that is in no row of the table is an assertion, never a pass."""
    odd = httpx2.Response(418, json={"error": "teapot", "error_description": "I am one"})

    with pytest.raises(AssertionError):
        refusal_in(odd)
