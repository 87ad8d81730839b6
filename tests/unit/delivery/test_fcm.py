"""Pushes over Firebase: the token exchange, and the message."""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cofactor_server.delivery.fcm import Fcm
from cofactor_server.delivery.provider import MaybeTaken, NoSuchDestination, NotTaken, Outgoing, ProviderRefuses
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.world import MovableClock
from tests.unit.delivery.conftest import outgoing
from tests.unit.delivery.gateway import Answer, Fault, Gateway, gateway
from tests.unit.delivery.test_apns import pem

KEY = rsa.generate_private_key(65_537, 2_048)
TOKEN = Answer(200, {"access_token": "ya29.shhh", "expires_in": 3_600, "token_type": "Bearer"})


@pytest.fixture
async def google() -> AsyncIterator[Gateway]:
    """Where tokens come from."""
    async with gateway() as found:
        found.will(TOKEN)
        yield found


def account(google: Gateway, **given: Any) -> dict[str, Any]:
    return {
        "type": "service_account",
        "project_id": "example-mfa",
        "private_key_id": "k1",
        "private_key": pem(KEY),
        "client_email": "mfa@example-mfa.iam.gserviceaccount.com",
        "token_uri": google.url + "/token",
        **given,
    }


@pytest.fixture
async def fcm(peer: Gateway, google: Gateway, trust: ssl.SSLContext, clock: MovableClock) -> AsyncIterator[Fcm]:
    peer.will(Answer(200, {"name": "projects/example-mfa/messages/1"}))
    found = Fcm(account(google), trust, clock, base=peer.url)
    yield found
    await found.close()


def push() -> Outgoing:
    return outgoing("push", "fcm:device:token", subject="Example", text="Are you logging in?", payload={"c": "x"})


async def test_a_push_goes_out_with_a_token_that_the_service_account_asked_for(
    fcm: Fcm, peer: Gateway, google: Gateway, clock: MovableClock
) -> None:
    await fcm.carry(push())
    (asked,) = google.received
    assert (asked.path, asked.form["grant_type"]) == ("/token", "urn:ietf:params:oauth:grant-type:jwt-bearer")
    assertion = jwt.decode(asked.form["assertion"], RSAKey.import_key(pem(KEY)), ["RS256"])
    assert assertion.header["kid"] == "k1"
    now = clock.now() // 1_000_000
    assert assertion.claims == {
        "iss": "mfa@example-mfa.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "aud": google.url + "/token",
        "iat": now,
        "exp": now + 3_600,
    }
    (request,) = peer.received
    assert request.path == "/v1/projects/example-mfa/messages:send"
    assert request.headers["authorization"] == "Bearer ya29.shhh"
    message = request.json["message"]
    assert (message["token"], message["data"]) == ("device:token", {"c": "x"})
    assert message["android"] == {"priority": "HIGH", "ttl": "300s"}
    assert message["apns"]["payload"]["aps"]["alert"] == {"title": "Example", "body": "Are you logging in?"}


async def test_a_token_is_asked_for_once_an_hour(fcm: Fcm, google: Gateway, clock: MovableClock) -> None:
    for minutes in (0, 58, 2):
        clock.advance(60 * minutes)
        await fcm.carry(push())
    assert len(google.received) == 2


async def test_a_token_that_ended_before_its_time_is_asked_for_anew(fcm: Fcm, peer: Gateway, google: Gateway) -> None:
    await fcm.carry(push())
    peer.will(Answer(401, {"error": {"status": "UNAUTHENTICATED"}}))
    with pytest.raises(NotTaken):
        await fcm.carry(push())
    peer.will(Answer(200))
    await fcm.carry(push())
    assert len(google.received) == 2


def refusal(code: str) -> dict[str, Any]:
    return {"error": {"message": "device:token", "details": [{"@type": "x", "errorCode": code}]}}


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Answer(404, refusal("UNREGISTERED")), NoSuchDestination),
        (Answer(403, refusal("SENDER_ID_MISMATCH")), NoSuchDestination),
        (Answer(403, {"error": "x"}), ProviderRefuses),
        (Answer(400, refusal("INVALID_ARGUMENT")), ProviderRefuses),
        (Answer(429, refusal("QUOTA_EXCEEDED")), NotTaken),
        (Answer(503, refusal("UNAVAILABLE")), NotTaken),
        (Answer(500, refusal("INTERNAL")), MaybeTaken),
        (Fault.CUT, MaybeTaken),
    ],
)
async def test_each_refusal_says_what_became_of_the_push(
    answer: Answer | Fault, failure: type[Exception], fcm: Fcm, peer: Gateway
) -> None:
    peer.will(answer)
    with pytest.raises(failure) as caught:
        await fcm.carry(push())
    assert "device:token" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Answer(500), NotTaken),
        (Fault.CUT, NotTaken),
        (Answer(400, {"error": "invalid_grant"}), ProviderRefuses),
        (Answer(200, {"access_token": 1}), ProviderRefuses),
    ],
)
async def test_without_a_token_nothing_was_sent(
    answer: Answer | Fault, failure: type[Exception], fcm: Fcm, peer: Gateway, google: Gateway
) -> None:
    google.will(answer)
    with pytest.raises(failure):
        await fcm.carry(push())
    assert peer.received == []


@pytest.mark.parametrize(
    "given", [{"private_key": "junk"}, {"private_key": pem(KEY)[:200]}, {"token_uri": "http://example.com/"}]
)
async def test_an_account_that_cannot_be_used_safely_is_refused(
    given: dict[str, Any], google: Gateway, trust: ssl.SSLContext, clock: MovableClock
) -> None:
    with pytest.raises(ValueError, match="service account"):
        Fcm(account(google, **given), trust, clock)
