import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.rest.conftest import Connect
from tests.unit.rest.fake_api import FakeApi

SECRET = "hunter2"
GRANT = {"grant_type": "password", "username": "alice", "password": SECRET, "client_id": "web"}
TEXT = json.dumps(GRANT)
FORM = "grant_type=password&username=alice&password=hunter2&client_id=web"
FORM_TYPE = "application/x-www-form-urlencoded"
PATHS = ["/oauth/token", "/mfa/challenge", "/mfa/associate", "/oauth/revoke", "/oauth/introspect"]
BEARER = {"Authorization": "Bearer t"}


async def _post(
    http: httpx2.AsyncClient, body: Any, content_type: str | None = "application/json", path: str = "/oauth/token"
) -> httpx2.Response:
    headers = {} if content_type is None else {"Content-Type": content_type}
    return await http.post(path, content=body, headers={**BEARER, **headers})


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (TEXT, None),
        (TEXT, "application/json"),
        (TEXT, "application/json;charset=utf-8"),
        (TEXT, "Application/JSON ; charset=ISO-8859-1"),
        (f" \n{TEXT}\n", "application/json"),
        (FORM, FORM_TYPE),
        (FORM, f"{FORM_TYPE}; charset=UTF-8"),
    ],
)
async def test_a_body_is_json_unless_it_says_to_be_a_form(
    api: FakeApi, http: httpx2.AsyncClient, body: str, content_type: str | None
) -> None:
    response = await _post(http, body, content_type)

    assert response.status_code == 200
    assert (api.call.request.password.username, api.call.request.password.password) == ("alice", SECRET)


async def test_a_form_is_utf_8_and_has_plus_for_space(api: FakeApi, http: httpx2.AsyncClient) -> None:
    await _post(http, FORM.replace("hunter2", "p%C3%A4ss+w%2Brd&empty&x="), FORM_TYPE)

    assert api.call.request.password.password == "päss w+rd"


BAD_BODIES = {
    "not json": (SECRET, "application/json"),
    "a form called json": (FORM, "application/json"),
    "cut off": (TEXT[:-1], "application/json"),
    "two values": (TEXT + TEXT, "application/json"),
    "an array": (f"[{TEXT}]", "application/json"),
    "a string": (f'"{SECRET}"', "application/json"),
    "a number": ("7", "application/json"),
    "null": ("null", "application/json"),
    "a byte order mark": (b"\xef\xbb\xbf" + TEXT.encode(), "application/json"),
    "UTF-16": (TEXT.encode("utf-16"), "application/json"),
    "invalid UTF-8": (TEXT.encode().replace(b"hunter2", b"hunter2\xff"), "application/json"),
    "an overlong UTF-8": (TEXT.encode().replace(b"hunter2", b"hunter2\xc0\x80"), "application/json"),
    "a lone surrogate": (TEXT.replace(SECRET, r"hunter2\ud800"), "application/json"),
    "a lone surrogate in an unknown member": (TEXT.replace("{", r'{"x":["hunter2\udfff"],', 1), "application/json"),
    "a NUL": (TEXT.replace(SECRET, r"hunter2\u0000"), "application/json"),
    "a NUL in a name": (TEXT.replace("{", r'{"hunter2\u0000":1,', 1), "application/json"),
    "NaN": (TEXT.replace("{", '{"x":NaN,', 1), "application/json"),
    "Infinity": (TEXT.replace("{", '{"x":-Infinity,', 1), "application/json"),
    "an infinite number": (TEXT.replace("{", '{"x":1e999,', 1), "application/json"),
    "a huge integer": (TEXT.replace("{", '{"x":' + "9" * 5000 + ",", 1), "application/json"),
    "a deep array": (TEXT.replace("{", '{"x":' + "[" * 20000 + "]" * 20000 + ",", 1), "application/json"),
    "a deep object": (TEXT.replace("{", '{"x":' + '{"a":' * 500 + "1" + "}" * 500 + ",", 1), "application/json"),
    "a member twice": (TEXT.replace("{", '{"password":"hunter3",', 1), "application/json"),
    "an unknown member twice": (TEXT.replace("{", '{"x":1,"x":1,', 1), "application/json"),
    "a nested member twice": (TEXT.replace("{", '{"x":{"a":1,"a":2},', 1), "application/json"),
    "a list member twice": (TEXT.replace("{", '{"oob_channels":"a","oob_channels":"b",', 1), "application/json"),
    "a form parameter twice": (f"{FORM}&password=hunter3", FORM_TYPE),
    "a form parameter twice, once empty": (f"{FORM}&password=", FORM_TYPE),
    "an unknown form parameter twice": (f"{FORM}&x=1&x=1", FORM_TYPE),
    "a NUL in a form": (f"{FORM}%00", FORM_TYPE),
    "invalid UTF-8 in a form": (f"{FORM}%FF", FORM_TYPE),
    "raw invalid UTF-8 in a form": (FORM.encode() + b"\xff", FORM_TYPE),
    "a surrogate in a form": (f"{FORM}%ED%A0%80", FORM_TYPE),
    "too many form parameters": (FORM + "&a=" * 5000, FORM_TYPE),
    "plain text": (TEXT, "text/plain"),
    "a multipart form": ("--x", "multipart/form-data; boundary=x"),
    "a kind of json": (TEXT, "application/vnd.api+json"),
    "nonsense": (TEXT, "nonsense"),
}


@pytest.mark.requirement("S146")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("case", BAD_BODIES)
async def test_a_bad_body_is_an_invalid_request_that_is_not_quoted(
    api: FakeApi, http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture, case: str, path: str
) -> None:
    body, content_type = BAD_BODIES[case]

    response = await _post(http, body, content_type, path)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert "hunter" not in response.text
    assert "hunter" not in caplog.text
    assert api.calls == []


@pytest.mark.parametrize("value", [123456, 1.5, True, False, ["123456"], {"a": SECRET}, [], {}])
@pytest.mark.parametrize(
    "name", ["username", "password", "client_id", "client_secret", "grant_type", "scope", "audience"]
)
async def test_a_parameter_of_a_wrong_type_is_named_and_not_quoted(
    api: FakeApi, http: httpx2.AsyncClient, name: str, value: Any
) -> None:
    response = await http.post("/oauth/token", json={**GRANT, name: value})

    assert response.status_code == 400
    assert response.json() == {
        "error": "invalid_request",
        "error_description": f"The request is malformed. {name}: must be a string",
    }
    assert api.calls == []


@pytest.mark.parametrize("content_type", [None, "application/json", FORM_TYPE])
@pytest.mark.parametrize("path", PATHS)
async def test_an_empty_body_lacks_its_parameters(
    http: httpx2.AsyncClient, path: str, content_type: str | None
) -> None:
    response = await _post(http, b"", content_type, path)

    assert response.status_code == 400
    assert response.json()["error_description"].startswith("Missing required parameter: ")


async def test_lists_may_repeat_only_where_lists_are_taken(api: FakeApi, http: httpx2.AsyncClient) -> None:
    response = await _post(http, f"{FORM}&oob_channels=sms&oob_channels=voice", FORM_TYPE)

    assert (response.status_code, api.calls) == (400, [])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("content_type", ["application/json", FORM_TYPE])
async def test_a_body_over_the_limit_is_too_large(
    api: FakeApi, http: httpx2.AsyncClient, path: str, content_type: str
) -> None:
    response = await _post(http, b"x" * (64 * 1024 + 1), content_type, path)

    assert (response.status_code, response.json()["error"]) == (413, "invalid_request")
    assert response.headers["connection"] == "close"
    assert api.calls == []


async def test_a_body_at_the_limit_is_read(http: httpx2.AsyncClient) -> None:
    response = await _post(http, TEXT.ljust(64 * 1024))

    assert response.status_code == 200


async def test_a_body_without_length_is_read_no_further_than_the_limit(connect: Connect) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 100
            yield b"x" * 100

    response = await _post(connect(max_body=1000), chunks())

    assert response.status_code == 413
    assert sent <= 1200


@pytest.mark.parametrize("length", ["99999999999999999999999999", "2000"])
async def test_a_declared_length_over_the_limit_is_believed(connect: Connect, length: str) -> None:
    http = connect(max_body=1000)

    response = await http.post("/oauth/token", content=b"{}", headers={"Content-Length": length})

    assert response.status_code == 413


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *("grant_type", "client_id", "client_secret", "username", "password", "realm", "scope", "mfa_token", "otp"),
        *("credential", "oob_code", "token", "authenticator_types", "oob_channels", "phone_number", "challenge_type"),
    ]
)
GRANT_TYPES = st.sampled_from(["password", "refresh_token", "http://auth0.com/oauth/grant-type/mfa-webauthn"])


@pytest.mark.parametrize("path", PATHS)
@given(
    body=st.binary(max_size=200)
    | st.fixed_dictionaries({"grant_type": GRANT_TYPES}, optional={})
    .flatmap(lambda fixed: st.dictionaries(NAMES, VALUES, max_size=6).map(lambda rest: {**rest, **fixed}))
    .map(lambda members: json.dumps(members).encode()),
    content_type=st.sampled_from(["application/json", FORM_TYPE]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_no_body_makes_a_fault(http: httpx2.AsyncClient, path: str, body: bytes, content_type: str) -> None:
    response = await _post(http, body, content_type, path)

    assert response.status_code < 500
