"""The routes of the enrollment page that a ticket's URL opens (W10.2).

The page is the same for every ticket, so that loading it uses up nothing and discloses nothing about the ticket in its
URL. The page's script reads the ticket and sends it to `POST /mfa/enrollment/…`; the ticket is in no other URL.
"""

import html
from collections.abc import Callable, Coroutine
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/mfa/enrollment"
LANGUAGES = ("de", "en", "es", "fr")

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",  # QR codes, which the script receives as text
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",  # the script sends the input; without the script, a form would put it into a URL
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Content-Security-Policy: no third-party content, no inline content, no text parsed as markup, no framing."""

HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "publickey-credentials-create=(self), clipboard-write=(self), camera=(), geolocation=(), "
    "microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",  # the page's URL contains the ticket until the script removes it
    "x-frame-options": "DENY",  # for browsers without frame-ancestors
    "x-robots-tag": "noindex, nofollow",
}
"""Headers of the page and its files; `rest.edge` adds those of every response, including `Cache-Control: no-store`."""

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}
_FILES = ("page.css", "page.js", "keys.js", "server.js", "texts.js", "icon.svg")

_CONTACT = b'<meta name="contact" content="%s">'

_Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def routes(contact: str = "") -> list[Route]:
    """Return the routes of the page and of each of its files.

    Args:
        contact: The support contact that the page shows if a link does not work; empty for none.
    """
    files = (*_FILES, *(f"texts/{language}.json" for language in LANGUAGES))
    below = [Route(f"{PATH}/{name}", _file(name), methods=["GET"]) for name in files]
    return [Route(PATH, _file("page.html", contact), methods=["GET"]), *below]


def _file(name: str, contact: str = "") -> _Endpoint:
    octets = resources.files("cofactor_server.web").joinpath("static", *name.split("/")).read_bytes()
    octets = octets.replace(_CONTACT % b"", _CONTACT % html.escape(contact).encode())
    media_type = _TYPES[name.rpartition(".")[2]]

    async def endpoint(_request: Request) -> Response:
        return Response(octets, headers=HEADERS, media_type=media_type)

    return endpoint
