"""The TypeScript client in a page, over gRPC-Web: Chromium logs in, enrolls, is refused, and watches."""

import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cofactor_server.serving.http_server import HttpServer
from cofactor_server.serving.listening import Listening, bind
from playwright.async_api import Error

from tests.browser.chromium import Browser, chromium, page_server
from tests.support.flows.phones import APPROVED, KINDS, Shop, phone_shop
from tests.support.flows.steps import ALICE, shop
from tests.support.flows.values import Enrollment
from tests.support.world import PASSWORD, World, world_on

pytestmark = pytest.mark.timeout(240)  # a bundle, and a browser, on machines that do other things, too
ROOT = Path(__file__).parents[2]

BOB = "bob@example.test"
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def program() -> str:
    """The client and the page's program in one script."""
    command = ["make", "-C", "clients/typescript", "bundle"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return (ROOT / "clients" / "typescript" / "build" / "page.js").read_text()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_on(f"sqlite:///{tmp_path / 'world.sqlite3'}", kinds=KINDS) as opened:
        await opened.user(ALICE)
        await opened.user(BOB)
        yield opened


@pytest.fixture
async def served(world: World) -> AsyncIterator[str]:
    """The deployment's HTTP edge on a port of its own."""
    listening = Listening("127.0.0.1:0", None, drain_seconds=1)
    server = await HttpServer.started(world.app.http(), bind("127.0.0.1:0"), listening)
    yield f"http://{server.address}/"
    world.app.end_streams()
    await server.stop()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Two applications' servers."""
    with ExitStack() as stack:
        yield stack.enter_context(page_server()), stack.enter_context(page_server())


@pytest.fixture
async def phones(world: World) -> AsyncIterator[Shop]:
    async with phone_shop(world) as opened:
        yield opened


async def opened(browser: Browser, port: int, program: str, asked: dict[str, str]) -> Ask:
    """Open a page that has the client, and return how its functions are called."""
    await browser.open(f"http://localhost:{port}/")
    await browser.page.add_script_tag(content=program)

    async def ask(name: str, *given: object) -> Any:
        return await browser.page.evaluate(f"given => cofactorPage.{name}(...given)", list(given))

    await ask("connect", asked)
    return ask


async def heard(browser: Browser, *states: str) -> None:
    """Wait until the page has heard these states."""
    heard = "states => cofactorPage.heard().join() === states.join()"
    await browser.page.wait_for_function(heard, arg=list(states), timeout=60_000)


async def test_a_page_logs_in_and_enrolls_is_refused_and_watches(
    world: World, served: str, browser: Browser, ports: tuple[int, int], program: str, phones: Shop
) -> None:
    own, foreign = ports
    client_id, _ = await shop(world, public=True, origins=(f"http://localhost:{own}",))
    alice = {"url": served, "clientId": client_id, "username": ALICE, "password": PASSWORD}
    bob = {**alice, "username": BOB}
    ask = await opened(browser, own, program, alice)

    assert await ask("wrongPassword", alice) == "INVALID_CREDENTIALS"
    assert await ask("vouch") == "UNSUPPORTED_GRANT_TYPE"
    mfa_token = await ask("login", alice)
    secret = await ask("enrollApp", mfa_token)
    assert await ask("redeem", mfa_token, "1") == "INVALID_OTP"
    assert await ask("redeem", mfa_token, world.otp(secret)) == "tokens"

    mfa_token = await ask("login", bob)
    begun = await ask("enrollDevice", mfa_token)
    phone = phones.phone(Enrollment(barcode_uri=begun["barcodeUri"]))
    await ask("watch", mfa_token, begun["oobCode"])
    await heard(browser, "PENDING")
    await phone.pair()
    assert await ask("redeemed") == "tokens"

    mfa_token = await ask("login", bob)
    prompt = await ask("prompt", mfa_token)
    await ask("watch", mfa_token, prompt["oobCode"])
    await heard(browser, "PENDING", "APPROVED", "PENDING")
    assert await phone.answer(prompt["number"]) == APPROVED
    assert await ask("redeemed") == "tokens"
    assert await ask("heard") == ["PENDING", "APPROVED"] * 2

    # A page of another origin reads nothing: fetch fails, as if nobody were there.
    ask = await opened(browser, foreign, program, alice)
    with pytest.raises(Error, match=r"[Ff]etch"):
        await ask("login", alice)
