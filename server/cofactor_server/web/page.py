"""The routes of the page that a ticket leads to (W10.2).

The page is the same for everybody, so that looking at it consumes nothing and tells nothing, whatever ticket its
address names. The ticket is read by the script of the page, which asks `POST /mfa/enrollment/…` and has it in no other
address.
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
        "img-src 'self' blob:",  # QR codes, which the script gets as text
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",  # the script sends what is entered; without it a form would put that into an address
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Content-Security-Policy: nothing of others, nothing inline, no text that becomes markup, in nobody's frame."""

HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "publickey-credentials-create=(self), clipboard-write=(self), camera=(), geolocation=(), "
    "microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",  # the page's address has the ticket in it until the script takes it out
    "x-frame-options": "DENY",  # for browsers older than frame-ancestors
    "x-robots-tag": "noindex, nofollow",
}
"""Of the page and each of its files; `rest.edge` adds what all answers have, `Cache-Control: no-store` among it."""

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
    """Return the routes: the page, and each of its files by name.

    Args:
        contact: Whom the page tells a user to ask whose link does not work; empty for nobody.
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
