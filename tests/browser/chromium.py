"""Chromium with a virtual authenticator, and a page of the kind an application has."""

import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import CDPSession, Page, async_playwright

CREATE = """async options => {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  return (await navigator.credentials.create({publicKey})).toJSON();
}"""
GET = """async options => {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({publicKey})).toJSON();
}"""

OWN_CHROMIUM = Path(__file__).parents[2] / ".tools" / "browser" / "chromium"
SECURITY_KEY = {"transport": "usb", "hasResidentKey": False}
PASSKEY = {
    "transport": "internal",
    "hasResidentKey": True,
    "defaultBackupEligibility": True,
    "defaultBackupState": True,
}


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Shop</title>")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@contextmanager
def page_server() -> Iterator[int]:
    """Serve an empty page, and yield the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def find_chromium() -> str:
    """Return the path of a Chromium: the one that CHROMIUM names, the machine's, or the one that `make test` got."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or str(OWN_CHROMIUM)
    if not Path(path).exists():
        pytest.fail("there is no Chromium: `make test` gets one, or CHROMIUM names it")
    return path


@asynccontextmanager
async def chromium(**options: Any) -> AsyncIterator["Browser"]:
    """Start the machine's Chromium, with a page that has Playwright's options of a context."""
    path = find_chromium()
    # As root, which CI is, Chromium has no sandbox; it opens pages of this test alone.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*flags, "--disable-gpu"])
        try:
            yield Browser(await browser.new_page(**options))
        finally:
            await browser.close()


class Browser:
    """One page, and what its user has plugged in."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._devtools: CDPSession | None = None
        self._plugged = ""

    async def plug_in(self, kind: Mapping[str, Any]) -> None:
        """Have one authenticator, instead of the one before, whose user touches it at once and shows a finger."""
        if self._devtools is None:
            self._devtools = await self.page.context.new_cdp_session(self.page)
            await self._devtools.send("WebAuthn.enable")
        if self._plugged:
            await self._devtools.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self._plugged})
        options = {"protocol": "ctap2", "hasUserVerification": True, "isUserVerified": True, **kind}
        answer = await self._devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self._plugged = answer["authenticatorId"]

    async def open(self, url: str) -> None:
        """Go to a page."""
        await self.page.goto(url)

    async def create(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Have a credential made, as a page does."""
        made: dict[str, Any] = await self.page.evaluate(CREATE, options)
        return made

    async def get(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Have a credential sign, as a page does."""
        signed: dict[str, Any] = await self.page.evaluate(GET, options)
        return signed
