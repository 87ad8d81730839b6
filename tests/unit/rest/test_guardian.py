"""The wire of Guardian apps (W13): paths, headers, bodies, and errors in a shape of their own."""

from typing import Any

import httpx2
import pytest
from cofactor.v1 import authenticators_pb2
from cofactor.v1 import guardian_pb2 as pb
from cofactor_server import errors
from google.protobuf.timestamp_pb2 import Timestamp

from tests.unit.rest.conftest import Connect
from tests.unit.rest.fake_api import FakeApi

PREFIX = "/appliance-mfa/api"
TICKET = "kq3ZVNv0qZ4uKf5oM1tJw8hYb2RcXs7D"
KEY = {"kty": "RSA", "alg": "RS256", "use": "sig", "e": "AQAB", "n": "AM"}
ENROLLMENT: dict[str, Any] = {
    "identifier": "phone-1",
    "name": "Alice's phone",
    "push_credentials": {"service": "GCM", "token": "rt"},
    "public_key": KEY,
}
BEARER = {"authorization": "Bearer tok"}
PROOF = {"authorization": "MFA-DPoP tx", "mfa-dpop": "a.b.c"}
SENT = pb.EnrollDeviceAccountRequest(
    ticket=TICKET,
    identifier="phone-1",
    name="Alice's phone",
    push_credentials=pb.PushCredentials(service=pb.PUSH_SERVICE_FCM, token="rt"),
    public_key=pb.RsaPublicKey(n="AM", e="AQAB"),
)


async def enroll(http: httpx2.AsyncClient, authorization: str = f'Ticket id="{TICKET}"', **changes: Any) -> Any:
    body = {name: value for name, value in {**ENROLLMENT, **changes}.items() if value is not None}
    return await http.post(f"{PREFIX}/enroll", json=body, headers={"authorization": authorization})


def shape(response: httpx2.Response) -> tuple[int, str, str]:
    said = response.json()
    assert said.keys() == {"statusCode", "error", "message", "errorCode"}
    return response.status_code, said["error"], said["errorCode"]


@pytest.mark.parametrize(
    "authorization",
    [
        f'Ticket id="{TICKET}"',
        f"Ticket id={TICKET}",
        f"Ticket {TICKET}",
        f'ticket  id="{TICKET}"',
        TICKET,
    ],
)
async def test_a_device_enrolls_with_its_ticket_in_every_spelling(
    api: FakeApi, http: httpx2.AsyncClient, authorization: str
) -> None:
    response = await enroll(http, authorization)

    assert response.status_code == 200
    assert api.call.request == SENT
    assert api.call.metadata == {}
    assert response.json() == {
        "id": "dev_1",
        "url": "https://mfa.example.com/",
        "issuer": "Example",
        "user_id": "usr_1",
        "token": "dt",
    }


async def test_the_one_time_passwords_of_a_device_have_numbers(api: FakeApi, http: httpx2.AsyncClient) -> None:
    api.answers["EnrollDeviceAccount"] = pb.EnrollDeviceAccountResponse(
        id="dev_1",
        url="https://mfa.example.com/",
        issuer_label="Example",
        user_id="usr_1",
        device_token="dt",
        totp=pb.DeviceTotp(secret="JBSW", algorithm=authenticators_pb2.OTP_ALGORITHM_SHA1, digits=6, period_seconds=30),
    )

    response = await enroll(http)

    assert response.json()["totp"] == {"secret": "JBSW", "algorithm": "sha1", "digits": 6, "period": 30}


@pytest.mark.parametrize(
    ("service", "expected"),
    [("GCM", pb.PUSH_SERVICE_FCM), ("FCM", pb.PUSH_SERVICE_FCM), ("APNS", pb.PUSH_SERVICE_APNS)],
)
async def test_the_push_service_has_its_historic_name(
    api: FakeApi, http: httpx2.AsyncClient, service: str, expected: Any
) -> None:
    await enroll(http, push_credentials={"service": service, "token": "rt"})

    assert api.call.request.push_credentials.service == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"identifier": None},
        {"identifier": 5},
        {"name": ""},
        {"push_credentials": None},
        {"push_credentials": "GCM"},
        {"push_credentials": {"service": "GCM"}},
        {"push_credentials": {"service": "SNS", "token": "rt"}},
        {"public_key": None},
        {"public_key": []},
        {"public_key": {**KEY, "kty": "EC"}},
        {"public_key": {**KEY, "kty": None}},
        {"public_key": {**KEY, "alg": "HS256"}},
        {"public_key": {**KEY, "use": "enc"}},
        {"public_key": {**KEY, "n": ""}},
        {"public_key": {**KEY, "e": 65537}},
    ],
)
async def test_a_body_that_lacks_something_is_invalid(
    api: FakeApi, http: httpx2.AsyncClient, changes: dict[str, Any]
) -> None:
    assert shape(await enroll(http, **changes)) == (400, "Bad Request", "invalid_body")
    assert api.calls == []


@pytest.mark.parametrize("authorization", ['Ticket id="a b"', "Bearer tok", 'Ticket id="', "x" * 5000])
async def test_what_no_ticket_looks_like_is_found_nowhere(
    api: FakeApi, http: httpx2.AsyncClient, authorization: str
) -> None:
    response = await enroll(http, authorization)

    assert shape(response) == (404, "Not Found", "enrollment_transaction_not_found")
    assert api.calls == []


async def test_an_answer_is_passed_on_with_its_transaction_token(api: FakeApi, http: httpx2.AsyncClient) -> None:
    response = await http.post(
        f"{PREFIX}/resolve-transaction", json={"challenge_response": "a.b.c"}, headers={"authorization": "Bearer tx"}
    )

    assert (response.status_code, response.content) == (204, b"")
    assert api.call.request == pb.ResolveTransactionRequest(transaction_token="tx", challenge_response="a.b.c")


@pytest.mark.parametrize("response", ["a b", "é", "x" * 5000])
async def test_what_no_answer_looks_like_is_not_the_devices(
    api: FakeApi, http: httpx2.AsyncClient, response: str
) -> None:
    sent = await http.post(f"{PREFIX}/resolve-transaction", json={"challenge_response": response}, headers=BEARER)

    assert shape(sent) == (401, "Unauthorized", "invalid_token")
    assert api.calls == []


async def test_a_device_changes_what_it_names(api: FakeApi, http: httpx2.AsyncClient) -> None:
    push = {"service": "APNS", "token": "rt2"}

    response = await http.patch(f"{PREFIX}/device-accounts/dev_1", json={"push_credentials": push}, headers=BEARER)

    assert response.status_code == 200
    request = api.call.request
    assert (request.device_token, request.account.id) == ("tok", "dev_1")
    assert list(request.update_mask.paths) == ["push_credentials"]
    assert response.json() == {"id": "dev_1", "identifier": "phone-1", "name": "Phone", "push_credentials": push}


async def test_a_device_without_an_address_shows_none(api: FakeApi, http: httpx2.AsyncClient) -> None:
    response = await http.patch(
        f"{PREFIX}/device-accounts/dev_1", json={"name": "New", "identifier": "phone-2"}, headers=BEARER
    )

    assert list(api.call.request.update_mask.paths) == ["identifier", "name"]
    assert response.json() == {"id": "dev_1", "identifier": "phone-2", "name": "New"}


async def test_a_device_removes_itself(api: FakeApi, http: httpx2.AsyncClient) -> None:
    response = await http.delete(f"{PREFIX}/device-accounts/dev_1", headers=BEARER)

    assert (response.status_code, response.content) == (204, b"")
    assert api.call.request == pb.DeleteDeviceAccountRequest(device_token="tok", id="dev_1")


@pytest.mark.parametrize("account", ["push%7Cdev_1", "dev%00", "a%20b", "x" * 129])
async def test_what_no_device_is_called_is_found_nowhere(api: FakeApi, http: httpx2.AsyncClient, account: str) -> None:
    response = await http.delete(f"{PREFIX}/device-accounts/{account}", headers=BEARER)

    assert shape(response) == (404, "Not Found", "device_account_not_found")
    assert api.calls == []


async def test_a_consent_tells_what_is_asked_for(api: FakeApi, http: httpx2.AsyncClient) -> None:
    api.answers["GetRichConsent"] = pb.GetRichConsentResponse(
        id="c1",
        audience="https://api.example.com/",
        scopes=["pay", "read"],
        binding_message="Blue",
        authorization_details_json='[{"type":"transaction","amount":"12.50"}]',
        create_time=Timestamp(seconds=1_700_000_010, nanos=120_000_000),
        expire_time=Timestamp(seconds=1_700_000_310),
    )

    response = await http.get("/rich-consents/c1", headers=PROOF)

    assert response.json() == {
        "id": "c1",
        "requested_details": {
            "audience": "https://api.example.com/",
            "scope": ["pay", "read"],
            "binding_message": "Blue",
            "authorization_details": [{"type": "transaction", "amount": "12.50"}],
        },
        "created_at": "2023-11-14T22:13:30.120Z",
        "expires_at": "2023-11-14T22:18:30.000Z",
    }
    assert api.call.request == pb.GetRichConsentRequest(id="c1", transaction_token="tx", proof="a.b.c")


async def test_a_consent_to_nothing_in_particular_is_empty(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/rich-consents/c1", headers=PROOF)).json()["requested_details"] == {}


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "MFA-DPoP tx")],
        [("authorization", "Bearer tx"), ("mfa-dpop", "a.b.c")],
        [("authorization", "DPoP tx"), ("dpop", "a.b.c")],
        [("authorization", "MFA-DPoP tx"), ("mfa-dpop", "a.b.c"), ("mfa-dpop", "d.e.f")],
        [("authorization", "MFA-DPoP tx"), ("mfa-dpop", "")],
        [("authorization", "MFA-DPoP two words"), ("mfa-dpop", "a.b.c")],
        [("mfa-dpop", "a.b.c")],
    ],
)
async def test_a_consent_takes_one_token_and_one_proof(
    api: FakeApi, http: httpx2.AsyncClient, headers: list[tuple[str, str]]
) -> None:
    assert shape(await http.get("/rich-consents/c1", headers=headers)) == (401, "Unauthorized", "invalid_token")
    assert api.calls == []


CALLS = [
    ("POST", f"{PREFIX}/resolve-transaction"),
    ("PATCH", f"{PREFIX}/device-accounts/dev_1"),
    ("DELETE", f"{PREFIX}/device-accounts/dev_1"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("authorization", ["", "Basic dG9r", "tok", "Bearer", "Bearer two words"])
async def test_a_call_without_a_token_is_not_the_devices_and_its_body_is_not_read(
    api: FakeApi, http: httpx2.AsyncClient, method: str, path: str, authorization: str
) -> None:
    headers = {"authorization": authorization} if authorization else {}

    response = await http.request(method, path, content=b"{", headers=headers)

    assert shape(response) == (401, "Unauthorized", "invalid_token")
    assert api.calls == []


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("PAIRING_NOT_FOUND", (404, "Not Found", "enrollment_transaction_not_found")),
        ("AUTHENTICATOR_REGISTERED", (409, "Conflict", "enrollment_conflict")),
        ("TOO_MANY_AUTHENTICATORS", (409, "Conflict", "already_enrolled")),
        ("FACTOR_DISABLED", (403, "Forbidden", "feature_disabled")),
        ("INVALID_REQUEST", (400, "Bad Request", "invalid_body")),
        ("DEVICE_INVALID", (401, "Unauthorized", "invalid_token")),
        ("INSUFFICIENT_AUTHENTICATION", (403, "Forbidden", "insufficient_scope")),
        ("AUTHENTICATOR_NOT_FOUND", (404, "Not Found", "device_account_not_found")),
        ("TRANSACTION_NOT_FOUND", (404, "Not Found", "login_transaction_not_found")),
        ("TRANSACTION_EXPIRED", (403, "Forbidden", "transaction_expired")),
        ("TOO_MANY_REQUESTS", (429, "Too Many Requests", "too_many_requests")),
        ("UNAVAILABLE", (503, "Service Unavailable", "temporarily_unavailable")),
        ("INTERNAL", (500, "Internal Server Error", "server_error")),
    ],
)
async def test_refusals_have_the_codes_of_the_wire(
    api: FakeApi, http: httpx2.AsyncClient, reason: str, expected: tuple[int, str, str]
) -> None:
    api.refuse(reason)

    response = await enroll(http)

    assert shape(response) == expected
    assert response.json()["message"] == errors.TABLE[reason].text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", f"{PREFIX}/enroll", 405), ("PUT", f"{PREFIX}/device-accounts/dev_1", 405), ("GET", f"{PREFIX}/x", 404)],
)
async def test_what_is_not_served_is_told_in_the_shape_of_the_wire(
    http: httpx2.AsyncClient, method: str, path: str, status: int
) -> None:
    assert shape(await http.request(method, path))[::2] == (status, "method_not_found")


async def test_a_body_beyond_the_limit_is_not_read(api: FakeApi, http: httpx2.AsyncClient) -> None:
    response = await enroll(http, name="x" * 70_000)

    assert shape(response)[::2] == (413, "invalid_body")
    assert api.calls == []


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"challenge_response": "a.b.c", "challenge_response": "d.e.f"}', b"\xff"]
)
async def test_a_body_that_is_no_object_is_invalid(api: FakeApi, http: httpx2.AsyncClient, content: bytes) -> None:
    response = await http.post(f"{PREFIX}/resolve-transaction", content=content, headers=BEARER)

    assert shape(response) == (400, "Bad Request", "invalid_body")
    assert api.calls == []


async def test_a_host_of_its_own_has_the_paths_without_their_prefix(api: FakeApi, connect: Connect) -> None:
    http = connect(guardian_host=True)

    response = await http.post(
        "/api/resolve-transaction", json={"challenge_response": "a.b.c"}, headers={"authorization": "Bearer tx"}
    )
    refused = await http.post("/api/enroll", json={})

    assert response.status_code == 204
    assert api.call.method == "ResolveTransaction"
    assert shape(refused) == (401, "Unauthorized", "invalid_token")


async def test_without_such_a_host_there_are_no_such_paths(api: FakeApi, http: httpx2.AsyncClient) -> None:
    for path in ("/api/enroll", "/api/resolve-transaction", "/api/device-accounts/dev_1"):
        assert (await http.post(path, json={}, headers=BEARER)).status_code == 404
    assert api.calls == []
