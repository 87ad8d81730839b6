"""Whoever holds an enrollment ticket, in front of the hosted page: what they see and press, and what leaves it."""

import re
from dataclasses import dataclass, field
from typing import Any

import zxingcpp
from cofactor_server.domain.parties.users import User
from playwright.async_api import ConsoleMessage, Locator, Page, Request, expect

from tests.browser.chromium import Browser
from tests.support.flows.api import Api
from tests.support.flows.ticketed import holder
from tests.support.world import World

PIXELS = """image => {
  const [size, canvas] = [400, document.createElement("canvas")];
  canvas.width = canvas.height = size;
  const drawn = canvas.getContext("2d");
  drawn.drawImage(image, 0, 0, size, size);
  return Array.from(drawn.getImageData(0, 0, size, size).data).filter((_, at) => at % 4 === 0);
}"""
LATE = 20_000
"""Milliseconds: the longest that anything is waited for."""


@dataclass
class Holder:
    """Somebody who holds tickets, and sits in front of a browser."""

    world: World
    browser: Browser
    address: str
    user: User
    tickets: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    """Everything that the page asked for."""
    complaints: list[str] = field(default_factory=list)
    """What the browser said to developers, of violations of the page's policy among others."""

    @property
    def page(self) -> Page:
        return self.browser.page

    def listen(self) -> None:
        """Keep what the page asks for and what is wrong with it."""

        def said(message: ConsoleMessage) -> None:
            if "Failed to load resource" not in message.text:  # a refusal, which is an answer
                self.complaints.append(message.text)

        self.page.on("console", said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)

    def _asked(self, request: Request) -> None:
        self.requests.append(request)

    def check_silence(self) -> None:
        """See that nothing broke the policy, nothing of others was asked, and no ticket went on from its address."""
        assert self.complaints == []
        for asked in self.requests:
            assert asked.url.startswith(("http://localhost:", "http://127.0.0.1:", "blob:http://localhost:"))
            assert not asked.headers.get("referer")
            assert asked.is_navigation_request() or not any(ticket in asked.url for ticket in self.tickets)

    async def open(self, api: Api, *, address: str = "", **given: Any) -> None:
        """Open the page with a new ticket."""
        self.tickets.append((await holder(api, self.world, self.user, **given)).ticket)
        await self.open_again(address or self.address)

    async def open_again(self, address: str = "") -> None:
        """Open it with the ticket that was opened last."""
        await self.browser.open(f"{address or self.address}mfa/enrollment?ticket={self.tickets[-1]}")

    async def choose(self, name: str) -> None:
        """Choose what to enroll, with the keyboard alone."""
        await self.button(name).press("Enter")
        await self.headed(name)

    def button(self, name: str) -> Locator:
        """Return a button by the beginning of what it is called."""
        return self.page.get_by_role("button", name=re.compile(f"^{name}"))

    async def headed(self, heading: str) -> None:
        """Wait for a view, and see that who does not see it is told of it."""
        found = self.page.get_by_role("heading", name=heading, level=1)
        await expect(found).to_be_focused(timeout=LATE)

    async def alerted(self, words: str) -> None:
        """Wait for what is said of a problem."""
        await expect(self.page.get_by_role("alert")).to_contain_text(words, timeout=LATE)

    async def scanned(self) -> str:
        """Return what a phone reads in front of the screen."""
        pixels = await self.page.get_by_role("img").evaluate(PIXELS)
        (code,) = zxingcpp.read_barcodes(memoryview(bytes(pixels)).cast("B", (400, 400)))
        return code.text
