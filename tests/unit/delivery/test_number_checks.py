"""A look at a number before a code goes there: a changed SIM, a ported number (S17)."""

import asyncio
import io
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from cofactor_server.delivery.number_checks import GROUP, NumberChecks, Word
from cofactor_server.delivery.provider import Outgoing
from cofactor_server.delivery.providers import DeliveryUnusable, composed
from cofactor_server.delivery.sending import Delivery
from cofactor_server.delivery.settings import DeliverySettings
from cofactor_server.delivery.texts import Texts
from cofactor_server.domain.authenticators.proofs import Message, Purpose
from cofactor_server.domain.foundation.events import NoticeName
from cofactor_server.errors import CofactorError, DeliveryFailed, DestinationRefused
from cofactor_server.seams import SystemEntropy

from tests.support.world import MovableClock
from tests.unit.delivery.conftest import CODE, NUMBER

SMS = Message("sms", NUMBER, CODE)
NOTICE = Message("sms", NUMBER, notice=NoticeName.AUTHENTICATOR_ADDED, facts={"kind": "totp", "time": "now"})


class Carrier:
    """Says of every number what a test tells it to."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.says: Any = environment["CARRIER_SAYS"]
        self.asked: list[tuple[str, str, bool]] = []
        self.closed = False

    async def check(self, number: str, *, channel: str, enrolling: bool) -> Word:
        self.asked.append((number, channel, enrolling))
        if isinstance(self.says, Exception):
            raise self.says
        if self.says == "nothing":
            await asyncio.Event().wait()
        return self.says  # type: ignore[no-any-return]

    async def close(self) -> None:
        self.closed = True


class Sent:
    """A provider that remembers."""

    channels = frozenset({"sms", "voice", "email"})

    def __init__(self) -> None:
        self.channels_used: list[str] = []

    async def carry(self, outgoing: Outgoing) -> None:
        self.channels_used.append(outgoing.channel)

    async def close(self) -> None:
        """Nothing is open."""


def sending(check: Carrier) -> tuple[Delivery, Sent]:
    sent, clock = Sent(), MovableClock()
    providers = dict.fromkeys(sent.channels, ("sent", sent))
    checks = NumberChecks(check, seconds=0.05)
    return Delivery(providers, Texts("Example"), clock, SystemEntropy(), number_checks=checks), sent


def carrier(says: Any) -> Carrier:
    return Carrier({"CARRIER_SAYS": says})


@pytest.mark.requirement("S17")
@pytest.mark.parametrize("channel", ["sms", "voice"])
@pytest.mark.parametrize("purpose", Purpose)
async def test_a_number_is_looked_at_before_a_code_goes_there(channel: str, purpose: Purpose) -> None:
    check = carrier(Word.SEND)
    delivery, sent = sending(check)
    await delivery.send(Message(channel, NUMBER, CODE, purpose=purpose))
    await delivery.close()
    assert check.asked == [(NUMBER, channel, purpose is Purpose.ENROLL)]
    assert sent.channels_used == [channel]
    assert check.closed


@pytest.mark.requirement("S17")
@pytest.mark.parametrize(
    ("says", "refusal"),
    [
        (Word.REFUSE, DestinationRefused),
        (RuntimeError(NUMBER), DeliveryFailed),
        ("nothing", DeliveryFailed),
        (None, DeliveryFailed),
        (True, DeliveryFailed),
    ],
    ids=["no", "error", "silence", "no answer", "another answer"],
)
async def test_without_its_word_no_code_goes_to_a_number(
    says: Any, refusal: type[CofactorError], log: io.StringIO
) -> None:
    delivery, sent = sending(carrier(says))
    with pytest.raises(refusal):
        await delivery.send(SMS)
    assert sent.channels_used == []
    assert "number" in log.getvalue()
    assert not any(secret in log.getvalue() for secret in (NUMBER, CODE))


async def test_notices_and_mail_wait_for_nobodys_word() -> None:
    check = carrier(Word.REFUSE)
    delivery, sent = sending(check)
    await delivery.send(NOTICE)
    await delivery.send(Message("email", "alice@example.com", CODE))
    assert sent.channels_used == ["sms", "email"]
    assert check.asked == []


@pytest.mark.parametrize(
    ("name", "environment", "said"),
    [("carrier", {}, "CARRIER_SAYS"), ("nobody", {"CARRIER_SAYS": "send"}, "there are carrier")],
)
def test_a_check_that_is_not_there_stops_the_start(name: str, environment: dict[str, str], said: str) -> None:
    point = EntryPoint("carrier", f"{__name__}:Carrier", GROUP)
    settings = DeliverySettings(number_check=name)
    with pytest.raises(DeliveryUnusable, match=f"^COFACTOR_NUMBER_CHECK: .*{said}"):
        composed(settings, "Example", MovableClock(), SystemEntropy(), check_points=[point], environment=environment)


def test_a_check_that_is_named_is_used() -> None:
    point = EntryPoint("carrier", f"{__name__}:Carrier", GROUP)
    settings = DeliverySettings(number_check="carrier")
    environment = {"CARRIER_SAYS": "send"}
    composed(settings, "Example", MovableClock(), SystemEntropy(), check_points=[point], environment=environment)
