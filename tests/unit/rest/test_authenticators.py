from typing import Any

import httpx2
import pytest
from cofactor.v1 import authenticators_pb2 as pb

from tests.unit.rest.fake_api import FakeApi

BEARER = {"Authorization": "Bearer Fe26.2*x"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TOTP = pb.EnrollAuthenticatorRequest(totp=pb.TotpEnrollment())
SMS = pb.EnrollAuthenticatorRequest(sms=pb.SmsEnrollment(phone_number="+442071838750"))
PHONE = {"phone_number": "+442071838750"}
OOB = {"authenticator_types": ["oob"]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"authenticator_types": ["otp"]}, TOTP),
        ({"authenticator_types": "otp"}, TOTP),
        ({"authentication_types": ["otp"]}, TOTP),
        ({"authenticator_types": None, "authentication_types": "otp"}, TOTP),
        ({"authenticator_types": ["otp", "oob"]}, TOTP),
        ({**OOB, "oob_channels": ["sms"], **PHONE}, SMS),
        ({**OOB, "oob_channels": "sms", **PHONE}, SMS),
        ({**OOB, "oob_channels": "sms,voice", **PHONE}, SMS),
        ({**OOB, "oob_channels": "sms voice", **PHONE}, SMS),
        ({**OOB, "oob_channel": "sms", **PHONE}, SMS),
        ({**OOB, "oob_channels": [], "oob_channel": "sms", **PHONE}, SMS),
        ({**OOB, "oob_channels": ["sms"], **PHONE, "email": None, "name": "", "x": {}}, SMS),
        (
            {**OOB, "oob_channels": ["voice"], **PHONE},
            pb.EnrollAuthenticatorRequest(voice=pb.VoiceEnrollment(phone_number="+442071838750")),
        ),
        ({**OOB, "oob_channels": ["email"]}, pb.EnrollAuthenticatorRequest(email=pb.EmailEnrollment())),
        (
            {**OOB, "oob_channels": ["email"], "email": "a@example.com"},
            pb.EnrollAuthenticatorRequest(email=pb.EmailEnrollment(email="a@example.com")),
        ),
        (
            {**OOB, "oob_channels": ["auth0"], "name": "Phone"},
            pb.EnrollAuthenticatorRequest(push=pb.PushEnrollment(), name="Phone"),
        ),
        (
            {"authenticator_types": ["webauthn"]},
            pb.EnrollAuthenticatorRequest(webauthn=pb.WebAuthnEnrollment()),
        ),
        (
            {"authenticator_types": ["webauthn"], "resident_key": True},
            pb.EnrollAuthenticatorRequest(webauthn=pb.WebAuthnEnrollment(resident_key=True)),
        ),
        (
            {"authenticator_types": "webauthn", "resident_key": "true"},
            pb.EnrollAuthenticatorRequest(webauthn=pb.WebAuthnEnrollment(resident_key=True)),
        ),
    ],
)
async def test_associate_takes_every_spelling_that_sdks_send(
    api: FakeApi, http: httpx2.AsyncClient, body: dict[str, Any], message: pb.EnrollAuthenticatorRequest
) -> None:
    response = await http.post("/mfa/associate", json=body, headers=BEARER)

    assert response.status_code == 200
    assert api.call.request == message
    assert api.call.metadata == {"authorization": "Bearer Fe26.2*x"}


@pytest.mark.parametrize(
    "form",
    [
        "authenticator_types=oob&oob_channels=sms&phone_number=%2B442071838750",
        "authenticator_types=oob&oob_channels=sms&oob_channels=voice&phone_number=%2B442071838750",
        "authenticator_types[]=oob&oob_channels[]=sms&oob_channels[]=voice&phone_number=%2B442071838750",
        "authenticator_types%5B%5D=oob&oob_channels%5B%5D=sms&phone_number=%2B442071838750",
        "authentication_types=oob&oob_channel=sms&phone_number=%2B442071838750",
    ],
)
async def test_associate_takes_every_spelling_of_a_list_in_a_form(
    api: FakeApi, http: httpx2.AsyncClient, form: str
) -> None:
    await http.post("/mfa/associate", content=form, headers={**BEARER, **FORM})

    assert api.call.request == SMS


@pytest.mark.parametrize(
    ("body", "error", "text"),
    [
        ({}, "invalid_request", "Missing required parameter: authenticator_types"),
        ({"authenticator_types": []}, "invalid_request", "Missing required parameter: authenticator_types"),
        ({"authenticator_types": [""]}, "invalid_request", "Missing required parameter: authenticator_types"),
        (OOB, "invalid_request", "Missing required parameter: oob_channels"),
        ({**OOB, "oob_channels": ["sms"]}, "invalid_request", "The phone number is invalid."),
        ({**OOB, "oob_channels": ["voice"], "phone_number": ""}, "invalid_request", "The phone number is invalid."),
        ({**OOB, "oob_channels": ["fax"]}, "invalid_request", "The request is malformed. oob_channels: is unknown"),
        ({"authenticator_types": ["smell"]}, "unsupported_authenticator_type", "The authenticator type is unknown."),
        (
            {"authenticator_types": ["recovery-code"]},
            "unsupported_authenticator_type",
            "The authenticator type is unknown.",
        ),
        (
            {"authenticator_types": [1]},
            "invalid_request",
            "The request is malformed. authenticator_types: must be a list of strings",
        ),
        (
            {"authenticator_types": {"a": 1}},
            "invalid_request",
            "The request is malformed. authenticator_types: must be a list of strings",
        ),
        (
            {**OOB, "oob_channels": ["sms"], "phone_number": 442071838750},
            "invalid_request",
            "The request is malformed. phone_number: must be a string",
        ),
    ],
)
async def test_associate_says_what_is_wrong_with_a_body(
    api: FakeApi, http: httpx2.AsyncClient, body: dict[str, Any], error: str, text: str
) -> None:
    response = await http.post("/mfa/associate", json=body, headers=BEARER)

    assert response.status_code == 400
    assert response.json() == {"error": error, "error_description": text}
    assert api.calls == []


CODES = ["ABCDEFGHIJKLMNOPQRSTUVWX"]


def _enrolled(kind: Any, codes: list[str] | None = None, **enrollment: Any) -> pb.EnrollAuthenticatorResponse:
    row = pb.Authenticator(id="x|dev_1", kind=kind, state=pb.AUTHENTICATOR_STATE_PENDING, name="XXXX5044")
    return pb.EnrollAuthenticatorResponse(authenticator=row, recovery_codes=codes or [], **enrollment)


@pytest.mark.parametrize(
    ("enrolled", "text"),
    [
        (
            _enrolled(pb.FACTOR_KIND_TOTP, otp_secret=pb.OtpSecret(secret="JBSW", barcode_uri="otpauth://totp/x")),
            '{"authenticator_type":"otp","secret":"JBSW","barcode_uri":"otpauth://totp/x"}',
        ),
        (
            _enrolled(pb.FACTOR_KIND_TOTP, CODES, otp_secret=pb.OtpSecret(secret="JBSW", barcode_uri="o:")),
            (
                '{"authenticator_type":"otp","secret":"JBSW","barcode_uri":"o:",'
                '"recovery_codes":["ABCDEFGHIJKLMNOPQRSTUVWX"]}'
            ),
        ),
        (
            _enrolled(pb.FACTOR_KIND_SMS, CODES, oob=pb.OobEnrollment(oob_code="oc")),
            (
                '{"authenticator_type":"oob","binding_method":"prompt","recovery_codes":["ABCDEFGHIJKLMNOPQRSTUVWX"],'
                '"oob_channel":"sms","oob_code":"oc"}'
            ),
        ),
        (
            _enrolled(pb.FACTOR_KIND_VOICE, oob=pb.OobEnrollment(oob_code="oc")),
            '{"authenticator_type":"oob","binding_method":"prompt","oob_channel":"voice","oob_code":"oc"}',
        ),
        (
            _enrolled(pb.FACTOR_KIND_EMAIL, oob=pb.OobEnrollment(oob_code="oc")),
            '{"authenticator_type":"oob","binding_method":"prompt","oob_channel":"email","oob_code":"oc"}',
        ),
        (
            _enrolled(pb.FACTOR_KIND_PUSH, CODES, pairing=pb.DevicePairing(barcode_uri="o:", oob_code="oc")),
            (
                '{"authenticator_type":"oob","barcode_uri":"o:","recovery_codes":["ABCDEFGHIJKLMNOPQRSTUVWX"],'
                '"oob_channel":"auth0","oob_code":"oc"}'
            ),
        ),
        (
            _enrolled(
                pb.FACTOR_KIND_WEBAUTHN,
                webauthn=pb.WebAuthnCreation(public_key_json='{"rp":{"id":"x"}}', oob_code="oc"),
            ),
            '{"authenticator_type":"webauthn","oob_code":"oc","authn_params_public_key":{"rp":{"id":"x"}}}',
        ),
    ],
    ids=["otp", "first otp", "sms", "voice", "email", "push", "webauthn"],
)
@pytest.mark.requirement("S145")
async def test_an_enrollment_has_the_recorded_members_in_the_recorded_order(
    api: FakeApi, http: httpx2.AsyncClient, enrolled: pb.EnrollAuthenticatorResponse, text: str
) -> None:
    api.answers["EnrollAuthenticator"] = enrolled

    response = await http.post("/mfa/associate", json={"authenticator_types": ["otp"]}, headers=BEARER)

    assert (response.status_code, response.text) == (200, text)
    assert response.headers["cache-control"] == "no-store"


async def test_associate_passes_on_the_client_credentials_that_some_sdks_send(
    api: FakeApi, http: httpx2.AsyncClient
) -> None:
    body = {"authenticator_types": ["otp"], "client_id": "web", "client_secret": "s3cret"}

    await http.post("/mfa/associate", json=body, headers=BEARER)

    assert api.call.metadata == {
        "authorization": "Bearer Fe26.2*x",
        "cofactor-client-id": "web",
        "cofactor-client-secret": "s3cret",
    }


def _row(kind: Any, state: Any = pb.AUTHENTICATOR_STATE_ACTIVE, **fields: Any) -> pb.Authenticator:
    return pb.Authenticator(id="x|dev_1", kind=kind, state=state, **fields)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            _row(pb.FACTOR_KIND_SMS, pb.AUTHENTICATOR_STATE_PENDING, name="XXXXXXXXX9167"),
            (
                '{"id":"x|dev_1","authenticator_type":"oob","active":false,"oob_channel":"sms","name":"XXXXXXXXX9167",'
                '"type":"phone"}'
            ),
        ),
        (
            _row(pb.FACTOR_KIND_VOICE),
            '{"id":"x|dev_1","authenticator_type":"oob","active":true,"oob_channel":"voice","type":"phone"}',
        ),
        (
            _row(pb.FACTOR_KIND_EMAIL, name="****@exam*******"),
            (
                '{"id":"x|dev_1","authenticator_type":"oob","active":true,"oob_channel":"email",'
                '"name":"****@exam*******","type":"email"}'
            ),
        ),
        (
            _row(pb.FACTOR_KIND_PUSH, linked_id="totp|dev_2"),
            (
                '{"id":"x|dev_1","authenticator_type":"oob","active":true,"oob_channel":"auth0",'
                '"type":"push-notification"}'
            ),
        ),
        (
            _row(pb.FACTOR_KIND_TOTP, pb.AUTHENTICATOR_STATE_DISABLED),
            '{"id":"x|dev_1","authenticator_type":"otp","active":false,"type":"otp"}',
        ),
        (
            _row(pb.FACTOR_KIND_TOTP, name="Büro"),
            '{"id":"x|dev_1","authenticator_type":"otp","active":true,"name":"Büro","type":"otp"}',
        ),
        (_row(pb.FACTOR_KIND_HOTP), '{"id":"x|dev_1","authenticator_type":"otp","active":true,"type":"otp"}'),
        (
            _row(pb.FACTOR_KIND_RECOVERY_CODE, pb.AUTHENTICATOR_STATE_PENDING),
            '{"id":"x|dev_1","authenticator_type":"recovery-code","active":false,"type":"recovery-code"}',
        ),
        (
            _row(pb.FACTOR_KIND_WEBAUTHN),
            '{"id":"x|dev_1","authenticator_type":"webauthn","active":true,"type":"webauthn"}',
        ),
        (
            _row(pb.FACTOR_KIND_PLUGIN, plugin_kind="smartcard"),
            '{"id":"x|dev_1","authenticator_type":"smartcard","active":true,"type":"smartcard"}',
        ),
    ],
)
async def test_a_row_of_the_list_has_the_recorded_shape_and_always_a_type(
    api: FakeApi, http: httpx2.AsyncClient, row: pb.Authenticator, text: str
) -> None:
    api.answers["ListAuthenticators"] = pb.ListAuthenticatorsResponse(authenticators=[row])

    response = await http.get("/mfa/authenticators", headers=BEARER)

    assert (response.status_code, response.text) == (200, f"[{text}]")


@pytest.mark.parametrize("body", [b"", b'""', b"null", b"{"])
async def test_a_list_needs_no_body_and_ignores_one(api: FakeApi, http: httpx2.AsyncClient, body: bytes) -> None:
    response = await http.request("GET", "/mfa/authenticators", content=body, headers={**BEARER, **JSON})

    assert (response.status_code, response.text) == (200, "[]")
    assert api.call.metadata == {"authorization": "Bearer Fe26.2*x"}


async def test_renaming_changes_the_name_and_nothing_else(api: FakeApi, http: httpx2.AsyncClient) -> None:
    response = await http.patch("/mfa/authenticators/totp%7Cdev_1", json={"name": "Büro"}, headers=BEARER)

    assert response.status_code == 200
    assert response.json() == {
        "id": "totp|dev_1",
        "authenticator_type": "otp",
        "active": True,
        "name": "Büro",
        "type": "otp",
    }
    assert api.call.request.authenticator == pb.Authenticator(id="totp|dev_1", name="Büro")
    assert list(api.call.request.update_mask.paths) == ["name"]


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        ('{"name": ""}', "application/json"),
        ('{"name": null}', "application/json"),
        ("name=", "application/x-www-form-urlencoded"),
    ],
)
async def test_an_empty_name_takes_the_name_away(
    api: FakeApi, http: httpx2.AsyncClient, content: str, media_type: str
) -> None:
    """Elsewhere what is empty is absent; here it is what the name is to be."""
    headers = {**BEARER, "content-type": media_type}
    response = await http.patch("/mfa/authenticators/totp%7Cdev_1", content=content, headers=headers)

    assert response.status_code == 200
    assert api.call.request.authenticator == pb.Authenticator(id="totp|dev_1")
    assert list(api.call.request.update_mask.paths) == ["name"]


@pytest.mark.parametrize("body", [{}, {"client_id": "spa"}])
async def test_renaming_needs_a_name(api: FakeApi, http: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    response = await http.patch("/mfa/authenticators/totp%7Cdev_1", json=body, headers=BEARER)

    assert response.json()["error_description"] == "Missing required parameter: name"
    assert api.calls == []


@pytest.mark.parametrize("body", [b"", b'""', b"null"])
async def test_removing_answers_204_and_nothing(api: FakeApi, http: httpx2.AsyncClient, body: bytes) -> None:
    response = await http.request(
        "DELETE", "/mfa/authenticators/totp%7Cdev_1", content=body, headers={**BEARER, **JSON}
    )

    assert (response.status_code, response.content) == (204, b"")
    assert "content-type" not in response.headers
    assert api.call.request == pb.DeleteAuthenticatorRequest(id="totp|dev_1")


@pytest.mark.parametrize(
    ("path", "decoded"),
    [("totp%7Cdev_1", "totp|dev_1"), ("totp|dev_1", "totp|dev_1"), ("totp%257Cdev_1", "totp%7Cdev_1")],
)
async def test_an_id_is_decoded_once(api: FakeApi, http: httpx2.AsyncClient, path: str, decoded: str) -> None:
    response = await http.delete(f"/mfa/authenticators/{path}", headers=BEARER)

    assert response.status_code == 204
    assert api.call.request.id == decoded


@pytest.mark.parametrize("path", ["%00", "a%00b", "a%0Ab"])
async def test_an_id_that_cannot_be_printed_is_nobodys(api: FakeApi, http: httpx2.AsyncClient, path: str) -> None:
    response = await http.delete(f"/mfa/authenticators/{path}", headers=BEARER)

    assert response.status_code == 404
    assert response.json() == {"error": "invalid_authenticator", "error_description": "Authenticator not found"}
    assert api.calls == []


@pytest.mark.parametrize("path", ["/mfa/authenticators/a", "/mfa/authenticators/a?x=1"])
async def test_the_methods_of_all_routes_are_told(http: httpx2.AsyncClient, path: str) -> None:
    response = await http.get(path, headers=BEARER)

    assert (response.status_code, response.headers["allow"]) == (405, "PATCH, DELETE")
