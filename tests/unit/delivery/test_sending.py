"""What guards every provider: attempts, a deadline, a breaker; one challenge sends one message."""

import io
import ssl
import time
from pathlib import Path

import pytest
from cofactor_server.delivery.provider import NoSuchDestination, NotTaken, Outgoing, ProviderRefuses
from cofactor_server.delivery.sending import ATTEMPTS, Delivery
from cofactor_server.delivery.texts import Texts
from cofactor_server.delivery.twilio import Twilio
from cofactor_server.delivery.webhook import Webhook
from cofactor_server.domain.authenticators.proofs import Message
from cofactor_server.errors import DeliveryFailed, DestinationRefused, FactorDisabled
from cofactor_server.seams import SystemEntropy

from tests.support.world import MovableClock
from tests.unit.delivery.conftest import CODE, NUMBER, delivery
from tests.unit.delivery.gateway import Answer, Fault, Gateway, unused_url

SMS = Message("sms", NUMBER, CODE)
ACCOUNT = "AC" + "0" * 32


@pytest.fixture
def webhook(peer: Gateway, trust: ssl.SSLContext, clock: MovableClock) -> Webhook:
    return Webhook(peer.url, b"k" * 32, trust, clock)


@pytest.mark.requirement("S188")
@pytest.mark.parametrize("fault", [Answer(500), Answer(502), Answer(504), Fault.CUT, Fault.HANG])
@pytest.mark.parametrize("wire", ["twilio", "webhook"])
async def test_what_a_provider_may_have_taken_is_not_sent_again(
    fault: Answer | Fault, wire: str, peer: Gateway, trust: ssl.SSLContext, clock: MovableClock, log: io.StringIO
) -> None:
    provider = (
        Twilio(ACCOUNT, "t", "+15550006666", trust, base=peer.url)
        if wire == "twilio"
        else Webhook(peer.url, b"k" * 32, trust, clock)
    )
    sending = delivery(clock, 1.0 if fault is Fault.HANG else 10.0, sms=provider)
    peer.will(fault)
    with pytest.raises(DeliveryFailed) as caught:
        await sending.send(SMS)
    assert len(peer.received) == 1
    assert caught.value.retry_after
    assert "delivery failed" in log.getvalue()
    assert not any(secret in log.getvalue() for secret in (NUMBER, CODE))
    await sending.close()


async def test_what_a_provider_did_not_take_is_sent_again_and_arrives_once(
    peer: Gateway, webhook: Webhook, clock: MovableClock
) -> None:
    sending = delivery(clock, sms=webhook)
    peer.will(Answer(503), Answer(429), Answer(200))
    await sending.send(SMS)
    assert len({request.json["id"] for request in peer.received}) == 1
    assert len(peer.received) == 3
    await sending.close()


async def test_after_a_few_attempts_the_caller_is_told(peer: Gateway, webhook: Webhook, clock: MovableClock) -> None:
    sending = delivery(clock, sms=webhook)
    peer.will(Answer(503))
    with pytest.raises(DeliveryFailed):
        await sending.send(SMS)
    assert len(peer.received) == ATTEMPTS
    await sending.close()


async def test_a_provider_that_asks_for_a_long_wait_is_not_asked_again_within_the_call(
    peer: Gateway, webhook: Webhook, clock: MovableClock
) -> None:
    sending = delivery(clock, sms=webhook)
    peer.will(Answer(429, headers={"retry-after": "60"}))
    with pytest.raises(DeliveryFailed) as caught:
        await sending.send(SMS)
    assert (len(peer.received), caught.value.retry_after) == (1, 60)
    await sending.close()


async def test_a_provider_that_refuses_connections_is_tried_and_told_of(
    trust: ssl.SSLContext, clock: MovableClock
) -> None:
    sending = delivery(clock, sms=Webhook(await unused_url(), b"k" * 32, trust, clock))
    with pytest.raises(DeliveryFailed):
        await sending.send(SMS)
    await sending.close()


async def test_a_provider_that_hangs_costs_no_more_than_the_deadline(
    peer: Gateway, webhook: Webhook, clock: MovableClock
) -> None:
    sending = delivery(clock, 0.2, sms=webhook)
    peer.will(Fault.HANG)
    began = time.monotonic()
    with pytest.raises(DeliveryFailed):
        await sending.send(SMS)
    assert time.monotonic() - began >= 0.2
    await sending.close()


class Scripted:
    """A provider that fails as told, and counts."""

    channels = frozenset({"sms"})

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.asked = 0

    async def carry(self, outgoing: Outgoing) -> None:
        self.asked += 1
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        pass


async def fail(sending: object, times: int) -> None:
    for _ in range(times):
        with pytest.raises(DeliveryFailed):
            await sending.send(SMS)  # type: ignore[attr-defined]


async def test_a_provider_that_fails_again_and_again_is_left_alone_for_a_while(clock: MovableClock) -> None:
    provider = Scripted()
    sending = delivery(clock, sms=provider)
    provider.failure = ProviderRefuses("HTTP 401")
    await fail(sending, 8)
    assert provider.asked == 5
    provider.failure = None
    with pytest.raises(DeliveryFailed) as caught:
        await sending.send(SMS)
    assert 29 <= (caught.value.retry_after or 0) <= 30
    clock.advance(30)
    await sending.send(SMS)
    await sending.send(SMS)
    assert provider.asked == 7


async def test_after_the_while_one_call_finds_out(clock: MovableClock) -> None:
    provider = Scripted()
    sending = delivery(clock, sms=provider)
    provider.failure = ProviderRefuses("HTTP 401")
    await fail(sending, 5)
    clock.advance(30)
    await fail(sending, 3)
    assert provider.asked == 6


async def test_a_wrong_number_is_no_fault_of_the_providers(clock: MovableClock, log: io.StringIO) -> None:
    provider = Scripted()
    sending = delivery(clock, sms=provider)
    provider.failure = NoSuchDestination("Twilio 21211")
    for _ in range(9):
        with pytest.raises(DestinationRefused):
            await sending.send(SMS)
    assert provider.asked == 9
    assert NUMBER not in log.getvalue()


@pytest.mark.parametrize("failure", [RuntimeError(f"{NUMBER} {CODE}"), NotTaken("busy", 3), TimeoutError()])
async def test_whatever_a_provider_raises_is_a_failed_delivery(
    failure: Exception, clock: MovableClock, log: io.StringIO
) -> None:
    provider = Scripted()
    sending = delivery(clock, sms=provider)
    provider.failure = failure
    await fail(sending, 1)
    assert provider.asked == 1
    assert not any(secret in log.getvalue() for secret in (NUMBER, CODE))


async def test_a_text_that_does_not_render_after_all_is_a_failed_delivery(
    clock: MovableClock, log: io.StringIO, tmp_path: Path
) -> None:
    (tmp_path / "en.toml").write_text("[sms]\nlogin.text = '{% if code != \"123456\" %}{{ nothing }}{% endif %}'\n")
    provider = Scripted()
    sending = Delivery({"sms": ("p", provider)}, Texts("Example", folder=tmp_path), clock, SystemEntropy())
    await fail(sending, 1)
    assert provider.asked == 0
    assert CODE not in log.getvalue()


async def test_a_channel_without_a_provider_is_not_carried(clock: MovableClock) -> None:
    sending = delivery(clock, sms=Scripted(), **{"push:fcm": Scripted()})  # type: ignore[arg-type]
    assert [channel for channel in ("sms", "voice", "push", "email") if sending.carries(channel)] == ["sms", "push"]
    for message in (Message("voice", NUMBER, CODE), Message("push", "apns:ab", payload={})):
        with pytest.raises(FactorDisabled):
            await sending.send(message)
    await sending.send(Message("push", "fcm:ab", payload={}))
