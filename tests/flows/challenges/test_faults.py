"""Providers that fail: no message twice within one challenge, nothing half made, the error the contract gives."""

import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cofactor_server.delivery.sending import Delivery
from cofactor_server.delivery.texts import Texts
from cofactor_server.delivery.webhook import Webhook
from cofactor_server.seams import SystemEntropy

from tests.support.flows.api import Api, Challenge, ClientCredentials, Tokens
from tests.support.flows.attacks import rows
from tests.support.flows.steps import a, logged_in_to_mfa, refusal, shop
from tests.support.world import World
from tests.unit.delivery.gateway import Answer, Fault, Gateway, gateway, unused_url

NUMBER = "+442071838750"
DEADLINE = 1.0
"""Seconds: what a provider that hangs costs here."""
WELL = Answer(200)


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": frozenset({"totp", "recovery-code", "sms"})}


class Carrier:
    """Puts the world's messages on a real wire, to a gateway that fails on demand."""

    def __init__(self, world: World, peer: Gateway) -> None:
        self.peer = peer
        self._world = world
        self._opened: list[Delivery] = []
        self.connect(peer.url)

    def connect(self, url: str, deadline: float = 20.0) -> None:
        """Send there from now on."""
        provider = Webhook(url, b"k" * 32, ssl.create_default_context(), self._world.clock)
        delivery = Delivery(
            {"sms": ("gateway", provider)},
            Texts("Example"),
            self._world.clock,
            SystemEntropy(),
            deadline=deadline,
        )
        self._opened.append(delivery)
        self._world.outbox.send = delivery.send  # type: ignore[method-assign]

    async def close(self) -> None:
        for delivery in self._opened:
            await delivery.close()

    def code(self) -> str:
        """Return the code that arrived last."""
        return str(self.peer.received[-1].json["text"])[:6]


@pytest.fixture
async def carrier(world: World) -> AsyncIterator[Carrier]:
    async with gateway() as peer:
        peer.will(WELL)
        found = Carrier(world, peer)
        yield found
        await found.close()


async def first(api: Api, world: World, carrier: Carrier, client: ClientCredentials) -> None:
    """Create a user who enrolls a number."""
    await world.user()
    login = await logged_in_to_mfa(api, client)
    begun = await api.enroll(login.mfa_token, "sms", destination=NUMBER)
    a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code, carrier.code()))


async def spoil(carrier: Carrier, fault: Answer | Fault | None) -> int:
    """Make the provider fail; return how many requests a message then costs."""
    carrier.peer.received.clear()
    if fault is None:
        carrier.connect(await unused_url())
        return 0
    if fault is Fault.HANG:
        carrier.connect(carrier.peer.url, DEADLINE)
    carrier.peer.will(fault)
    return 1


def mend(carrier: Carrier) -> None:
    carrier.connect(carrier.peer.url)
    carrier.peer.will(WELL)


every_fault = pytest.mark.parametrize(
    "fault", [None, Fault.HANG, Answer(500), Fault.CUT], ids=["refuses", "hangs", "500", "cuts"]
)


async def budget(world: World) -> int:
    (user,) = await rows(world, "users")
    return int(user.phone_full_at)


@every_fault
@pytest.mark.requirement("S188", "S117")
async def test_a_challenge_that_was_not_sent_is_withdrawn_and_may_be_asked_for_again(
    api: Api, world: World, carrier: Carrier, fault: Answer | Fault | None
) -> None:
    client = await shop(world)
    await first(api, world, carrier, client)
    login, before = await logged_in_to_mfa(api, client), await budget(world)

    requests = await spoil(carrier, fault)
    refused = await refusal(api.challenge(client, login.mfa_token))
    assert refused.reason == "DELIVERY_FAILED"
    assert refused.retry_after
    assert refused.http_status in (None, 503)
    assert len(carrier.peer.received) == requests
    assert {row.state for row in await rows(world, "challenges")} == {"redeemed", "superseded"}
    assert await budget(world) == before

    mend(carrier)
    sent = a(Challenge, await api.challenge(client, login.mfa_token))
    a(Tokens, await api.oob(client, login.mfa_token, sent.oob_code, carrier.code()))


@every_fault
@pytest.mark.requirement("S194")
async def test_an_enrollment_that_was_not_sent_leaves_nothing_and_may_be_repeated(
    api: Api, world: World, carrier: Carrier, fault: Answer | Fault | None
) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)

    requests = await spoil(carrier, fault)
    refused = await refusal(api.enroll(login.mfa_token, "sms", destination=NUMBER))
    assert refused.reason == "DELIVERY_FAILED"
    assert len(carrier.peer.received) == requests
    assert await api.list(login.mfa_token) == []

    mend(carrier)
    begun = await api.enroll(login.mfa_token, "sms", destination=NUMBER)
    a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code, carrier.code()))


async def test_a_recovery_code_that_was_written_down_counts_when_a_later_enrollment_fails(
    api: Api, world: World, carrier: Carrier
) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    app = await api.enroll(login.mfa_token)
    world.clock.advance(1)
    await spoil(carrier, Answer(500))
    await refusal(api.enroll(login.mfa_token, "sms", destination=NUMBER))
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(app.secret)))

    login = await logged_in_to_mfa(api, client)
    a(Tokens, await api.recovery(client, login.mfa_token, app.recovery_codes[0]))


async def test_a_number_where_nothing_arrives_is_told_and_counts(api: Api, world: World, carrier: Carrier) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    await spoil(carrier, Answer(422))
    refused = await refusal(api.enroll(login.mfa_token, "sms", destination=NUMBER))
    assert (refused.reason, refused.http_status in (None, 400)) == ("DESTINATION_REFUSED", True)
    assert await api.list(login.mfa_token) == []
    assert await budget(world) > world.clock.now()


@pytest.mark.requirement("S117")
async def test_a_code_of_a_withdrawn_challenge_serves_nobody(api: Api, world: World, carrier: Carrier) -> None:
    client = await shop(world)
    await first(api, world, carrier, client)
    login = await logged_in_to_mfa(api, client)
    before = await api.challenge(client, login.mfa_token)
    code = carrier.code()
    await spoil(carrier, Fault.CUT)
    await refusal(api.challenge(client, login.mfa_token))
    refused = await refusal(api.oob(client, login.mfa_token, before.oob_code, code))
    assert refused.reason == "OOB_CODE_EXPIRED"
