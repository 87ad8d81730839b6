"""Twilio's wire, against a server that checks the fields."""

import base64
import ssl

import pytest
from cofactor_server.delivery.provider import MaybeTaken, NoSuchDestination, NotTaken, ProviderRefuses
from cofactor_server.delivery.twilio import Twilio

from tests.unit.delivery.conftest import CODE, NUMBER, outgoing
from tests.unit.delivery.gateway import Answer, Gateway

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "shhh-token"
FROM = "+15550006666"


@pytest.fixture
def twilio(peer: Gateway, trust: ssl.SSLContext) -> Twilio:
    return Twilio(ACCOUNT, TOKEN, FROM, trust, base=peer.url)


async def test_a_text_message_has_the_fields_of_the_wire(twilio: Twilio, peer: Gateway) -> None:
    await twilio.carry(outgoing())
    (request,) = peer.received
    assert (request.method, request.path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode() == f"{ACCOUNT}:{TOKEN}"
    assert request.form == {"To": NUMBER, "From": FROM, "Body": f"{CODE} is your code & more"}
    await twilio.close()


async def test_a_call_says_the_text_in_its_language(twilio: Twilio, peer: Gateway) -> None:
    await twilio.carry(outgoing("voice", text="4, 9 <& more>", locale="de-DE"))
    (request,) = peer.received
    assert request.path == f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
    said = '<Response><Say language="de-DE">4, 9 &lt;&amp; more&gt;</Say></Response>'
    assert request.form == {"To": NUMBER, "From": FROM, "Twiml": said}
    await twilio.close()


async def test_a_messaging_service_sends_and_does_not_call(peer: Gateway, trust: ssl.SSLContext) -> None:
    service = "MG" + "0" * 32
    twilio = Twilio(ACCOUNT, TOKEN, service, trust, key="SK" + "1" * 32, base=peer.url)
    await twilio.carry(outgoing())
    (request,) = peer.received
    assert (request.form["MessagingServiceSid"], "From" in request.form) == (service, False)
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).startswith(b"SK1")
    assert twilio.channels == {"sms"}
    await twilio.close()


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Answer(400, {"code": 21211, "message": f"{NUMBER} is not valid"}), NoSuchDestination),
        (Answer(400, {"code": 21614}), NoSuchDestination),
        (Answer(400, {"code": 21610}), NoSuchDestination),
        (Answer(403, {"code": 21408}), NoSuchDestination),
        (Answer(400, {"code": 21999}), NoSuchDestination),
        (Answer(429, {"code": 20429}), NotTaken),
        (Answer(429, {}), NotTaken),
        (Answer(503, {}), NotTaken),
        (Answer(400, {"code": 21611}), NotTaken),
        (Answer(401, {"code": 20003}), ProviderRefuses),
        (Answer(400, {"code": 21606}), ProviderRefuses),
        (Answer(400, ["junk"]), ProviderRefuses),
        (Answer(301, {}, {"location": "http://127.0.0.1:1/"}), ProviderRefuses),
        (Answer(500, {"code": 20500}), MaybeTaken),
        (Answer(502, {}), MaybeTaken),
        (Answer(504, {}), MaybeTaken),
        (Answer(408, {}), MaybeTaken),
    ],
)
async def test_each_refusal_says_what_became_of_the_message(
    answer: Answer, failure: type[Exception], twilio: Twilio, peer: Gateway
) -> None:
    peer.will(answer)
    with pytest.raises(failure) as caught:
        await twilio.carry(outgoing())
    assert len(peer.received) == 1
    assert not any(secret in str(caught.value) for secret in (NUMBER, CODE, TOKEN))
    await twilio.close()


def test_an_account_is_a_sid_and_no_path(trust: ssl.SSLContext) -> None:
    with pytest.raises(ValueError, match="SID"):
        Twilio("AC1/../..", TOKEN, FROM, trust)
