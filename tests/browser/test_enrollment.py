"""Chromium enrolls by a ticket on the hosted page, as its users do: by what they see, hear and type."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cofactor_server.domain.parties.relying_party import ANY_LOCALHOST, LOCALHOST
from cofactor_server.serving.http_server import HttpServer
from cofactor_server.serving.listening import Listening, bind
from playwright.async_api import Error, expect

from tests.browser.chromium import PASSKEY, SECURITY_KEY, chromium
from tests.browser.ticketed import LATE, Holder
from tests.support.flows.api import Api, GrpcApi, Tokens
from tests.support.flows.phones import phone_shop
from tests.support.flows.steps import ALICE, PERIOD, a, logged_in_to_mfa, shop
from tests.support.flows.ticketed import NUMBER
from tests.support.flows.values import Enrollment
from tests.support.world import World, world_on

pytestmark = pytest.mark.timeout(240)  # a browser, on machines that do other things, too

KINDS = frozenset({"totp", "sms", "email", "push", "webauthn", "recovery-code"})
NARROW = {"width": 320, "height": 640}
"""WCAG 2.2, 1.4.10."""
OLDER = "delete PublicKeyCredential.parseCreationOptionsFromJSON; delete PublicKeyCredential.prototype.toJSON"
"""Makes a browser of some years ago."""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    keys: dict[str, Any] = {"webauthn_rp_id": LOCALHOST, "webauthn_origins": (ANY_LOCALHOST,)}
    url = f"sqlite:///{tmp_path / 'world.sqlite3'}"
    async with world_on(url, kinds=KINDS, support_contact="help@example.com", **keys) as opened:
        yield opened


@pytest.fixture
async def api(world: World) -> AsyncIterator[Api]:
    """What applications log in by."""
    channel = world.app.local_channel()
    yield GrpcApi(channel)
    await channel.close()


Seats = Callable[..., AbstractAsyncContextManager[Holder]]


@pytest.fixture
async def seats(world: World) -> AsyncIterator[Seats]:
    """Seat Alice in front of a browser with Playwright's options."""
    listening = Listening("127.0.0.1:0", None, drain_seconds=1)
    server = await HttpServer.started(world.app.http(), bind("127.0.0.1:0"), listening)
    address = f"http://localhost:{server.address.rpartition(':')[2]}/"
    user = await world.user(ALICE)

    @asynccontextmanager
    async def seated(**options: Any) -> AsyncIterator[Holder]:
        async with chromium(**{"locale": "en-US", **options}) as browser:
            alice = Holder(world, browser, address, user)
            alice.listen()
            yield alice
            alice.check_silence()

    yield seated
    world.app.end_streams()
    await server.stop()


@pytest.mark.requirement("S36")
async def test_an_app_is_enrolled_with_the_keyboard_by_what_the_page_shows(
    world: World, api: Api, seats: Seats
) -> None:
    async with seats() as alice:
        await alice.open(api)
        await alice.headed("Set up a second factor")
        await expect(alice.page.get_by_text("For al****@example.test at Example.")).to_be_visible()
        assert alice.page.url == f"{alice.address}mfa/enrollment"

        await alice.choose("Authenticator app")
        secret = dict(parse_qsl(urlsplit(await alice.scanned()).query))["secret"]
        await alice.page.get_by_text("You can't scan it?").press("Enter")
        assert (await alice.page.locator("#secret").inner_text()).replace(" ", "") == secret

        code, right = alice.page.get_by_label("Code"), world.otp(secret)
        await code.fill(f"{(int(right) + 1) % 10**6:06}")
        await code.press("Enter")
        await alice.alerted("This code is not right.")
        await expect(alice.page.get_by_text("help@example.com")).to_be_hidden()
        await expect(code).to_be_focused()
        await expect(code).to_have_attribute("aria-invalid", "true")
        await code.fill(f"{right[:3]} {right[3:]}")
        await code.press("Enter")
        await alice.headed("It is set up")
        recovery_code = await alice.page.locator("#recovery-codes li").inner_text()

        await alice.open_again()
        await alice.headed("This link does not work")
        await expect(alice.page.get_by_text("Whom to ask: help@example.com")).to_be_visible()

    client = await shop(world)
    world.clock.advance(PERIOD)
    login = (await logged_in_to_mfa(api, client)).mfa_token
    a(Tokens, await api.otp(client, login, world.otp(secret)))
    login = (await logged_in_to_mfa(api, client)).mfa_token
    a(Tokens, await api.recovery(client, login, recovery_code))


async def test_a_security_key_is_enrolled_once_and_where_it_can_be_used(world: World, api: Api, seats: Seats) -> None:
    client = await shop(world)
    async with seats() as alice:
        await alice.browser.plug_in(SECURITY_KEY)
        await alice.open(api, address=alice.address.replace(LOCALHOST, "127.0.0.1"))
        await alice.choose("Security key or passkey")
        await alice.button("Continue").click()
        await alice.alerted("Keys can't be set up at the address 127.0.0.1.")

        await alice.open_again()
        await alice.choose("Security key or passkey")
        await alice.page.get_by_label("What to call it").fill("Blue key")
        await alice.button("Continue").click()
        await alice.headed("It is set up")

        login = (await logged_in_to_mfa(api, client)).mfa_token
        prompt = await api.challenge(client, login, types=("webauthn",))
        signed = json.dumps(await alice.browser.get(prompt.public_key))
        a(Tokens, await api.webauthn(client, login, prompt.oob_code, signed))

        await alice.open(api, several=True)
        await alice.choose("Security key or passkey")
        await alice.button("Continue").click()
        await alice.alerted("This key is set up for your account already.")
        await alice.browser.plug_in(PASSKEY)
        await alice.page.add_init_script(OLDER)
        await alice.open_again()
        await alice.choose("Security key or passkey")
        await alice.button("Continue").click()
        await alice.headed("It is set up")

        await alice.open(api)
        await alice.headed("This link does not work")
        await expect(alice.page.get_by_text("You have set up a second factor already")).to_be_visible()


async def test_codes_that_are_sent_confirm_in_german_on_a_narrow_dark_screen(
    world: World, api: Api, seats: Seats
) -> None:
    async with seats(locale="de-AT", viewport=NARROW, color_scheme="dark") as alice:

        async def enter(label: str, value: str) -> None:
            assert await alice.page.evaluate(OVERFLOW) == 0
            await alice.page.get_by_label(label).fill(value)
            await alice.page.get_by_label(label).press("Enter")

        await alice.open(api, kinds=("sms", "email"))
        await alice.headed("Zweiten Faktor einrichten")
        await expect(alice.page.locator("html")).to_have_attribute("lang", "de")
        assert await alice.page.locator("#choices li strong").all_inner_texts() == ["SMS", "E-Mail"]

        await alice.choose("SMS")
        await enter("Telefonnummer", "")
        await alice.alerted("Füllen Sie dieses Feld aus.")
        await enter("Telefonnummer", "0171")
        await alice.alerted("Diese Telefonnummer können wir nicht verwenden.")
        await enter("Telefonnummer", "+44 (20) 7183-8750")
        await expect(alice.page.get_by_text("gesendet.")).to_contain_text(NUMBER[-4:], timeout=LATE)
        await alice.button("Anderen Weg wählen").click()
        await alice.headed("Zweiten Faktor einrichten")

        await alice.choose("E-Mail")
        await enter("E-Mail-Adresse", "other@example.com")
        await expect(alice.page.get_by_label("Code")).to_be_visible(timeout=LATE)
        await enter("Code", "123 45x")
        await alice.alerted("Dieser Code stimmt nicht.")
        await enter("Code", world.outbox.sent[-1].code)
        await alice.headed("Eingerichtet")
        assert await alice.page.evaluate(OVERFLOW) == 0

    assert [(message.channel, message.languages) for message in world.outbox.sent[:2]] == [
        ("sms", ("de-AT",)),
        ("email", ("de-AT",)),
    ]


async def test_the_page_goes_on_when_a_device_has_paired_whatever_is_looked_at(
    world: World, api: Api, seats: Seats
) -> None:
    async with seats() as alice, phone_shop(world) as phones:
        await alice.page.clock.install()
        await alice.open(api)
        await alice.choose("Device that approves logins")
        await expect(alice.page.get_by_role("status")).to_have_text("Waiting for your device…")

        phone = phones.phone(Enrollment(barcode_uri=await alice.scanned()))
        await alice.button("Choose another way").click()
        await alice.choose("Authenticator app")
        await phone.pair()
        await alice.page.clock.fast_forward(5_000)
        await alice.headed("It is set up")
        await expect(alice.page.get_by_text("log in with this: Device that approves logins.")).to_be_visible()
        await expect(alice.page.get_by_text("Your recovery codes")).to_be_visible()


async def test_what_is_smuggled_into_the_page_does_not_run_and_a_lost_connection_is_tried_again(
    api: Api, seats: Seats
) -> None:
    async with seats() as alice:
        await alice.page.route("**/mfa/enrollment/ticket", lambda route: route.abort(), times=1)
        await alice.open(api)
        await alice.alerted("There is no connection.")
        alice.complaints.clear()
        await alice.button("Try again").click()
        await alice.headed("Set up a second factor")

        with pytest.raises(Error, match="TrustedHTML"):
            await alice.page.evaluate("() => { document.body.innerHTML = '<img src=x onerror=alert()>' }")
        script = "() => { document.body.append(Object.assign(document.createElement('script'), {text: 'ran = true'})) }"
        with pytest.raises(Error, match="TrustedScript"):
            await alice.page.evaluate(script)
        with pytest.raises(Error, match="Content Security Policy"):
            await alice.page.add_style_tag(content="body { display: none }")
        alice.complaints.clear()
