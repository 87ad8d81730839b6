from typing import Any

import httpx2
import pytest
from cofactor.v1 import authenticators_pb2 as kinds
from cofactor.v1 import challenges_pb2 as pb
from google.protobuf.duration_pb2 import Duration

from tests.unit.rest.fake_api import FakeApi

MINIMUM = {"mfa_token": "Fe26.2*x", "client_id": "web"}
OTP, OOB, WEBAUTHN = pb.CHALLENGE_TYPE_OTP, pb.CHALLENGE_TYPE_OOB, pb.CHALLENGE_TYPE_WEBAUTHN


@pytest.mark.parametrize("encoding", ["json", "data"])
async def test_the_mfa_token_of_the_body_is_the_authority_of_the_call(
    api: FakeApi, http: httpx2.AsyncClient, encoding: str
) -> None:
    body: dict[str, Any] = {encoding: {**MINIMUM, "client_secret": "s3cret", "authenticator_id": "totp|dev_1"}}

    response = await http.post("/mfa/challenge", headers={"Authorization": "Bearer other"}, **body)

    assert response.status_code == 200
    assert api.call.request == pb.CreateChallengeRequest(challenge_types=[OTP, OOB], authenticator_id="totp|dev_1")
    assert api.call.metadata == {
        "authorization": "Bearer Fe26.2*x",
        "cofactor-client-id": "web",
        "cofactor-client-secret": "s3cret",
    }


@pytest.mark.parametrize(
    ("asked", "types"),
    [
        ({}, [OTP, OOB]),
        ({"challenge_type": None}, [OTP, OOB]),
        ({"challenge_type": ""}, [OTP, OOB]),
        ({"challenge_type": "otp"}, [OTP]),
        ({"challenge_type": "oob otp"}, [OOB, OTP]),
        ({"challenge_type": "otp  oob\totp"}, [OTP, OOB]),
        ({"challenge_type": ["otp", "oob"]}, [OTP, OOB]),
        ({"challenge_type": "oob passkey"}, [OOB]),
        ({"challenge_type": "webauthn"}, [WEBAUTHN]),
    ],
)
async def test_challenge_types_are_words_and_none_means_those_that_every_sdk_knows(
    api: FakeApi, http: httpx2.AsyncClient, asked: dict[str, Any], types: list[Any]
) -> None:
    await http.post("/mfa/challenge", json={**MINIMUM, **asked})

    assert list(api.call.request.challenge_types) == types


async def test_a_type_nobody_knows_is_unsupported(api: FakeApi, http: httpx2.AsyncClient) -> None:
    response = await http.post("/mfa/challenge", json={**MINIMUM, "challenge_type": "hunter2"})

    assert (response.status_code, response.json()["error"]) == (401, "unsupported_challenge_type")
    assert "hunter2" not in response.text
    assert api.calls == []


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"oob_channel": "sms"}, [kinds.FACTOR_KIND_SMS]),
        ({"oob_channel": "voice"}, [kinds.FACTOR_KIND_VOICE]),
        ({"oob_channel": "email"}, [kinds.FACTOR_KIND_EMAIL]),
        ({"oob_channel": "auth0"}, [kinds.FACTOR_KIND_PUSH]),
        (
            {"oob_channel": "sms", "challenge_type": "otp oob"},
            [kinds.FACTOR_KIND_SMS, kinds.FACTOR_KIND_TOTP, kinds.FACTOR_KIND_HOTP],
        ),
    ],
)
async def test_a_channel_narrows_what_goes_over_one(
    api: FakeApi, http: httpx2.AsyncClient, asked: dict[str, str], wanted: list[Any]
) -> None:
    await http.post("/mfa/challenge", json={**MINIMUM, **asked})

    assert list(api.call.request.kinds) == wanted


async def test_an_unknown_channel_is_refused_without_quoting_it(http: httpx2.AsyncClient) -> None:
    response = await http.post("/mfa/challenge", json={**MINIMUM, "oob_channel": "pigeon"})

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert "oob_channel" in response.text
    assert "pigeon" not in response.text


@pytest.mark.parametrize("name", MINIMUM)
async def test_a_missing_parameter_is_named(api: FakeApi, http: httpx2.AsyncClient, name: str) -> None:
    response = await http.post("/mfa/challenge", json={**MINIMUM, name: None})

    assert response.status_code == 400
    assert response.json() == {"error": "invalid_request", "error_description": f"Missing required parameter: {name}"}
    assert api.calls == []


@pytest.mark.parametrize("mfa_token", ["Fe26\n", "tökèn", "\x01", " ", "x" * 5000])
async def test_what_no_mfa_token_looks_like_is_malformed(
    api: FakeApi, http: httpx2.AsyncClient, mfa_token: str
) -> None:
    response = await http.post("/mfa/challenge", json={**MINIMUM, "mfa_token": mfa_token})

    assert response.status_code == 403
    assert response.json() == {"error": "invalid_grant", "error_description": "Malformed mfa_token"}
    assert api.calls == []


@pytest.mark.parametrize(
    ("created", "body"),
    [
        (pb.CreateChallengeResponse(challenge_type=OTP, authenticator_id="totp|dev_1"), {"challenge_type": "otp"}),
        (
            pb.CreateChallengeResponse(challenge_type=OOB, oob_code="oc", code=pb.CodePrompt()),
            {"challenge_type": "oob", "oob_code": "oc", "binding_method": "prompt"},
        ),
        (
            pb.CreateChallengeResponse(
                challenge_type=OOB, oob_code="oc", device=pb.DevicePrompt(poll_interval=Duration(seconds=5))
            ),
            {"challenge_type": "oob", "oob_code": "oc"},
        ),
        (
            pb.CreateChallengeResponse(challenge_type=OOB, oob_code="oc", device=pb.DevicePrompt(number="123456")),
            {"challenge_type": "oob", "oob_code": "oc", "number": "123456"},
        ),
        (
            pb.CreateChallengeResponse(
                challenge_type=WEBAUTHN,
                oob_code="oc",
                webauthn=pb.WebAuthnPrompt(public_key_json='{"challenge":"AAA"}'),
            ),
            {"challenge_type": "webauthn", "oob_code": "oc", "authn_params_public_key": {"challenge": "AAA"}},
        ),
    ],
    ids=["otp", "code", "push", "push with a number", "webauthn"],
)
async def test_a_challenge_has_the_recorded_shape(
    api: FakeApi, http: httpx2.AsyncClient, created: pb.CreateChallengeResponse, body: dict[str, Any]
) -> None:
    api.answers["CreateChallenge"] = created

    response = await http.post("/mfa/challenge", json=MINIMUM)

    assert (response.status_code, response.json()) == (200, body)


async def test_a_type_of_a_newer_server_is_a_fault(api: FakeApi, http: httpx2.AsyncClient) -> None:
    api.answers["CreateChallenge"] = pb.CreateChallengeResponse()

    response = await http.post("/mfa/challenge", json=MINIMUM)

    assert (response.status_code, response.json()["error"]) == (500, "server_error")
