import json
from typing import Any

import httpx2
import pytest

from tests.unit.rest.conftest import Connect
from tests.unit.rest.schemas import faults
from tests.unit.rest.test_challenges import MINIMUM
from tests.unit.rest.test_tokens import CREDENTIAL, GRANTS

OPERATIONS = {
    ("post", "/oauth/token"),
    ("post", "/oauth/revoke"),
    ("post", "/oauth/introspect"),
    ("get", "/userinfo"),
    ("get", "/.well-known/openid-configuration"),
    ("get", "/.well-known/oauth-authorization-server"),
    ("get", "/.well-known/jwks.json"),
    ("get", "/.well-known/keys.json"),
    ("post", "/mfa/challenge"),
    ("post", "/mfa/associate"),
    ("get", "/mfa/authenticators"),
    ("patch", "/mfa/authenticators/{id}"),
    ("delete", "/mfa/authenticators/{id}"),
    ("post", "/mfa/enrollment/ticket"),
    ("post", "/mfa/enrollment/begin"),
    ("post", "/mfa/enrollment/confirm"),
    ("post", "/appliance-mfa/api/enroll"),
    ("post", "/appliance-mfa/api/resolve-transaction"),
    ("patch", "/appliance-mfa/api/device-accounts/{id}"),
    ("delete", "/appliance-mfa/api/device-accounts/{id}"),
    ("get", "/rich-consents/{id}"),
}
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


@pytest.fixture
async def document(connect: Connect) -> Any:
    response = await connect().get("/openapi.json")
    assert response.status_code == 200
    return response.json()


async def test_every_operation_is_described_with_errors_in_its_own_shape(document: Any) -> None:
    found = {(method, path): op for path, ops in document["paths"].items() for method, op in ops.items()}

    assert found.keys() == OPERATIONS
    assert "ValidationError" not in json.dumps(document)
    for operation in found.values():
        assert "422" not in operation["responses"]
        assert {"4XX", "5XX"} <= operation["responses"].keys()
        assert ("204" in operation["responses"]) != ("200" in operation["responses"])
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"][0] in ("tokens", "challenges", "authenticators", "devices")


async def test_every_body_is_described_as_json_and_as_a_form_unless_it_is_a_devices(document: Any) -> None:
    for method, path in OPERATIONS:
        body = document["paths"][path][method].get("requestBody")
        if method in ("post", "patch"):
            assert body["content"].keys() == ({JSON} if path.startswith("/appliance-mfa/") else {JSON, FORM})
        else:
            assert body is None


async def test_every_reference_has_a_target_and_every_schema_a_reference(document: Any) -> None:
    references: set[str] = set()

    def collect(part: Any) -> None:
        if isinstance(part, dict):
            references.update({part["$ref"]} if "$ref" in part else set())
            part = list(part.values())
        if isinstance(part, list):
            for inner in part:
                collect(inner)

    collect(document)

    assert references == {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


@pytest.mark.parametrize("grant", GRANTS)
async def test_every_grant_that_is_taken_is_described(document: Any, grant: str) -> None:
    members, _ = GRANTS[grant]
    schema = document["components"]["schemas"]["TokenRequest"]

    assert faults({**members, "client_id": "web", "client_secret": None}, schema, document) == []


async def test_the_description_of_bodies_refuses_what_is_refused(document: Any) -> None:
    schemas = document["components"]["schemas"]

    assert faults({**GRANTS["mfa-webauthn"][0], "credential": CREDENTIAL}, schemas["TokenRequest"], document) == []
    assert faults({"grant_type": "password", "username": "a"}, schemas["TokenRequest"], document)
    assert faults({**MINIMUM, "challenge_type": "otp oob"}, schemas["ChallengeRequest"], document) == []
    assert faults({"client_id": "web"}, schemas["ChallengeRequest"], document)
    assert faults({"authenticator_types": ["otp"]}, schemas["AssociateRequest"], document) == []
    assert faults({"authenticator_types": "oob", "oob_channels": "sms"}, schemas["AssociateRequest"], document) == []
    assert faults({"authenticator_types": 1}, schemas["AssociateRequest"], document)


async def test_the_server_is_the_issuer(document: Any) -> None:
    assert document["servers"] == [{"url": "https://mfa.example.com"}]


async def test_no_page_that_loads_strangers_scripts_is_served(http: httpx2.AsyncClient) -> None:
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert (await http.get(path)).status_code == 404
