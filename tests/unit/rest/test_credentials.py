from base64 import b64encode
from typing import Any

import httpx2
import pytest

from tests.unit.rest.fake_api import FakeApi

GRANT = {"grant_type": "password", "username": "alice", "password": "pw"}
USER_CALLS = [
    ("POST", "/mfa/associate"),
    ("GET", "/mfa/authenticators"),
    ("PATCH", "/mfa/authenticators/a"),
    ("DELETE", "/mfa/authenticators/a"),
]


def _basic(credentials: str | bytes) -> dict[str, str]:
    octets = credentials if isinstance(credentials, bytes) else credentials.encode()
    return {"Authorization": f"Basic {b64encode(octets).decode()}"}


@pytest.mark.parametrize(
    ("members", "headers", "metadata"),
    [
        ({"client_id": "web"}, {}, {"cofactor-client-id": "web"}),
        (
            {"client_id": "web", "client_secret": "a+b%20c d"},
            {},
            {"cofactor-client-id": "web", "cofactor-client-secret": "a+b%20c d"},
        ),
        ({}, _basic("web:s3cret"), {"cofactor-client-id": "web", "cofactor-client-secret": "s3cret"}),
        (
            {},
            _basic("we%3Ab:s%2B%25+t:u"),
            {"cofactor-client-id": "we:b", "cofactor-client-secret": "s+% t:u"},
        ),
        ({"client_id": "web"}, _basic("web:s"), {"cofactor-client-id": "web", "cofactor-client-secret": "s"}),
        ({}, _basic("web:"), {"cofactor-client-id": "web"}),
        (
            {"client_secret": None},
            {"Authorization": "basic  " + b64encode(b"web:s").decode()},
            {"cofactor-client-id": "web", "cofactor-client-secret": "s"},
        ),
    ],
)
@pytest.mark.parametrize("path", ["/oauth/token", "/mfa/challenge", "/oauth/revoke", "/oauth/introspect"])
async def test_a_client_authenticates_in_the_body_or_the_header(
    api: FakeApi,
    http: httpx2.AsyncClient,
    path: str,
    members: dict[str, Any],
    headers: dict[str, str],
    metadata: dict[str, str],
) -> None:
    response = await http.post(path, json={**GRANT, "token": "t", "mfa_token": "m", **members}, headers=headers)

    assert response.status_code == 200
    assert {key: value for key, value in api.call.metadata.items() if key != "authorization"} == metadata


@pytest.mark.requirement("S150")
@pytest.mark.parametrize("path", ["/oauth/token", "/mfa/challenge", "/oauth/revoke", "/oauth/introspect"])
@pytest.mark.parametrize(
    ("members", "headers"),
    [
        ({"client_secret": "s"}, _basic("web:s")),
        ({"client_id": "web", "client_secret": "s"}, _basic("web:s")),
        ({"client_assertion": "a.b.c"}, _basic("web:s")),
        ({"client_id": "web", "client_secret": "s", "client_assertion": "a.b.c"}, {}),
        ({"client_id": "other"}, _basic("web:s")),
    ],
)
async def test_two_ways_to_authenticate_at_once_are_refused(
    api: FakeApi, http: httpx2.AsyncClient, path: str, members: dict[str, str], headers: dict[str, str]
) -> None:
    response = await http.post(path, json={**GRANT, "token": "t", "mfa_token": "m", **members}, headers=headers)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert api.calls == []


@pytest.mark.parametrize(
    ("members", "headers"),
    [
        ({"client_id": "wéb"}, {}),
        ({"client_id": "web", "client_secret": "s€cret"}, {}),
        ({"client_id": "web", "client_secret": "a\nb"}, {}),
        ({"client_id": "web", "client_secret": "x" * 2000}, {}),
        ({"client_id": "\x7f"}, {}),
        ({"client_id": "web", "client_assertion": "a.b.c"}, {}),
        ({}, {"Authorization": "Basic ***"}),
        ({}, {"Authorization": "Basic"}),
        ({}, {"Authorization": "Basic d2Vi=OnM"}),
        ({}, _basic("web")),
        ({}, _basic(":s")),
        ({}, _basic(b"web:\xff")),
        ({}, _basic("web:%FF")),
        ({}, _basic("web:a\0b")),
        ({}, _basic("web:%00")),
        ({}, _basic("wéb:s")),
    ],
)
async def test_what_cannot_be_credentials_is_an_invalid_client_without_a_challenge(
    api: FakeApi, http: httpx2.AsyncClient, members: dict[str, str], headers: dict[str, str]
) -> None:
    response = await http.post("/oauth/token", json={**GRANT, **members}, headers=headers)

    assert response.status_code == 401
    assert response.json() == {"error": "invalid_client", "error_description": "Client authentication failed."}
    assert "www-authenticate" not in response.headers
    assert api.calls == []


async def test_two_authorization_headers_are_refused(api: FakeApi, http: httpx2.AsyncClient) -> None:
    headers = [("Authorization", "Basic d2ViOnM="), ("Authorization", "Basic b3RoZXI6cw==")]

    response = await http.post("/oauth/token", json=GRANT, headers=headers)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(("method", "path"), USER_CALLS)
@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic d2ViOnM="])
async def test_a_users_call_needs_a_bearer_token(
    api: FakeApi, http: httpx2.AsyncClient, method: str, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}

    response = await http.request(method, path, headers=headers)

    assert response.status_code == 401
    assert response.json() == {"error": "access_denied", "error_description": "Unauthorized"}
    assert api.calls == []


@pytest.mark.parametrize(("method", "path"), USER_CALLS)
@pytest.mark.parametrize("token", [b"t\xc3\xb6ken", b"a\x01b", b"x" * 5000])
async def test_what_cannot_be_a_token_is_an_invalid_one(
    api: FakeApi, http: httpx2.AsyncClient, method: str, path: str, token: bytes
) -> None:
    response = await http.request(method, path, headers={b"Authorization": b"Bearer " + token})

    assert response.status_code == 401
    assert response.json() == {
        "error": "invalid_grant",
        "error_description": "The mfa_token provided is invalid. Try getting a new token.",
    }
    assert api.calls == []


@pytest.mark.parametrize("authorization", ["Bearer Fe26.2*x", "bearer Fe26.2*x", "Fe26.2*x"])
async def test_associate_takes_the_token_with_and_without_its_scheme(
    api: FakeApi, http: httpx2.AsyncClient, authorization: str
) -> None:
    await http.post("/mfa/associate", json={"authenticator_types": ["otp"]}, headers={"Authorization": authorization})

    assert api.call.metadata == {"authorization": "Bearer Fe26.2*x"}


@pytest.mark.parametrize(("method", "path"), USER_CALLS[1:])
async def test_nothing_else_takes_a_token_without_its_scheme(
    api: FakeApi, http: httpx2.AsyncClient, method: str, path: str
) -> None:
    response = await http.request(method, path, headers={"Authorization": "Fe26.2*x"})

    assert response.json()["error_description"] == "Unauthorized"
    assert api.calls == []


async def test_a_secret_needs_the_client_it_belongs_to(http: httpx2.AsyncClient) -> None:
    body = {"authenticator_types": ["otp"], "client_secret": "s"}

    response = await http.post("/mfa/associate", json=body, headers={"Authorization": "Bearer t"})

    assert response.json()["error_description"] == "Missing required parameter: client_id"


@pytest.mark.parametrize(
    ("value", "passed"),
    [
        (b"203.0.113.9", {"cofactor-forwarded-for": "203.0.113.9"}),
        (b" ", {}),
        (b"caf\xc3\xa9", {}),
        (b"1" * 300, {}),
    ],
)
@pytest.mark.parametrize("path", ["/oauth/token", "/mfa/challenge", "/mfa/associate"])
async def test_the_address_a_client_states_is_passed_on_to_be_judged(
    api: FakeApi, http: httpx2.AsyncClient, path: str, value: bytes, passed: dict[str, str]
) -> None:
    body = {**GRANT, "client_id": "web", "mfa_token": "m", "authenticator_types": "otp"}

    await http.post(path, json=body, headers={b"auth0-forwarded-for": value, b"Authorization": b"Bearer m"})

    assert {key: value for key, value in api.call.metadata.items() if "forwarded" in key} == passed
