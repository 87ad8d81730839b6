"""The signed webhook, judged by a receiver that knows only the documentation."""

import hashlib
import hmac
import ssl

import pytest
from cofactor_server.delivery.provider import MaybeTaken, NoSuchDestination, NotTaken, ProviderRefuses
from cofactor_server.delivery.webhook import Webhook

from tests.support.world import MovableClock
from tests.unit.delivery.conftest import outgoing
from tests.unit.delivery.gateway import Answer, Gateway

KEY = b"k" * 32


@pytest.fixture
def webhook(peer: Gateway, trust: ssl.SSLContext, clock: MovableClock) -> Webhook:
    return Webhook(peer.url + "/messages?tenant=1", KEY, trust, clock)


async def test_the_receiver_can_check_body_and_time(webhook: Webhook, peer: Gateway, clock: MovableClock) -> None:
    await webhook.carry(outgoing("email", "jürgen@example.com", subject="Code", text="492039 für Sie", locale="de-DE"))
    (request,) = peer.received
    assert (request.path, request.headers["content-type"]) == ("/messages?tenant=1", "application/json")
    timestamp = request.headers["cofactor-timestamp"]
    mac = hmac.new(KEY, timestamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert request.headers["cofactor-signature"] == f"v1={mac}"
    assert int(timestamp) == clock.now() // 1_000_000
    assert request.json == {
        "id": "7d9f4c1e-0f5b-4f0e-9d5b-4a1f0b8c2d3e",
        "channel": "email",
        "to": "jürgen@example.com",
        "subject": "Code",
        "text": "492039 für Sie",
        "locale": "de-DE",
    }
    await webhook.close()


async def test_a_message_that_is_there_already_was_taken(webhook: Webhook, peer: Gateway) -> None:
    peer.will(Answer(409))
    await webhook.carry(outgoing())
    await webhook.close()


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (422, NoSuchDestination),
        (429, NotTaken),
        (503, NotTaken),
        (401, ProviderRefuses),
        (404, ProviderRefuses),
        (302, ProviderRefuses),
        (500, MaybeTaken),
        (502, MaybeTaken),
    ],
)
async def test_each_status_says_what_became_of_the_message(
    status: int, failure: type[Exception], webhook: Webhook, peer: Gateway
) -> None:
    peer.will(Answer(status, headers={"retry-after": "7"}))
    with pytest.raises(failure) as caught:
        await webhook.carry(outgoing())
    assert getattr(caught.value, "wait", 7) == 7
    await webhook.close()


def test_a_short_key_is_refused(trust: ssl.SSLContext, clock: MovableClock) -> None:
    with pytest.raises(ValueError, match="32 octets"):
        Webhook("https://sms.example.com/", b"k" * 31, trust, clock)
