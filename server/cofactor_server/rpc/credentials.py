"""What a call's metadata says about who calls: client credentials, a bearer token, forwarded addresses."""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import unquote_plus

from cofactor_server.errors import InvalidClient
from cofactor_server.rpc.convert.fields import VISIBLE

MAX_CLIENT_ID = 128
MAX_SECRET = 512
MAX_ASSERTION = 3_072
MAX_TOKEN = 4096
MAX_BASIC = 2_048  # both halves form-urlencoded, then base64
MAX_FORWARDED = 1024
MAX_LANGUAGES = 200

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]
"""Keys are in lower case; those that end in `-bin` have octets."""

CLIENT_ID = "cofactor-client-id"
CLIENT_SECRET = "cofactor-client-secret"
CLIENT_ASSERTION = "cofactor-client-assertion"
FORWARDED_FOR = "cofactor-forwarded-for"


@dataclass(slots=True)
class Credentials:
    """What was presented; nothing of it is verified."""

    client_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    """None for a client that only names itself."""
    assertion: str | None = field(default=None, repr=False)
    """A JWT by which the client authenticates itself."""
    bearer: str | None = field(default=None, repr=False)
    """None where there is none; empty where what is there can't be a token."""
    basic: str | None = field(default=None, repr=False)
    """As it was sent."""
    forwarded_for: str = ""
    proxied_for: str = ""
    """`x-forwarded-for`, its values joined in their order."""
    languages: str = ""
    """`accept-language`: what messages are written in, if there are texts."""

    @property
    def of_client(self) -> bool:
        """Whether a client is named, by itself or by what it signed."""
        return self.client_id is not None or self.assertion is not None


def read(metadata: Metadata) -> Credentials:
    """Read a call's metadata.

    Raises:
        InvalidClient: Client credentials of two forms or two different values, or what can't be any client's.
    """
    found = Credentials()
    for key, value in metadata:
        take = _KEYS.get(key)
        if take is not None and isinstance(value, str):
            take(found, value)
    if found.assertion is not None and (found.basic is not None or found.secret is not None):
        raise InvalidClient
    if found.basic is not None:
        if found.client_id is not None or found.secret is not None:
            raise InvalidClient
        found.client_id, found.secret = _of_basic(found.basic)
    elif found.secret is not None and found.client_id is None:
        raise InvalidClient
    return found


def _take_authorization(found: Credentials, value: str) -> None:
    """Take one of several schemes; those that are none of ours are left alone."""
    scheme, _, rest = value.partition(" ")
    match scheme.lower():
        case "bearer":
            found.bearer = _bearer(found.bearer, rest.strip())
        case "basic":
            found.basic = _same(found.basic, rest.strip(), MAX_BASIC)


def _take_client_id(found: Credentials, value: str) -> None:
    found.client_id = _same(found.client_id, value, MAX_CLIENT_ID)


def _take_secret(found: Credentials, value: str) -> None:
    found.secret = _same(found.secret, value, MAX_SECRET)


def _take_assertion(found: Credentials, value: str) -> None:
    found.assertion = _same(found.assertion, value, MAX_ASSERTION)


def _take_forwarded(found: Credentials, value: str) -> None:
    found.forwarded_for = value if found.forwarded_for in ("", value) else "ambiguous"  # two addresses are none


def _take_proxied(found: Credentials, value: str) -> None:
    """Keep the last hops, which are those that a trusted proxy wrote."""
    joined = f"{found.proxied_for},{value}" if found.proxied_for else value
    found.proxied_for = joined[-MAX_FORWARDED:]


def _take_languages(found: Credentials, value: str) -> None:
    found.languages = value[:MAX_LANGUAGES]


_KEYS: Mapping[str, Callable[[Credentials, str], None]] = {
    "authorization": _take_authorization,
    CLIENT_ID: _take_client_id,
    CLIENT_SECRET: _take_secret,
    CLIENT_ASSERTION: _take_assertion,
    FORWARDED_FOR: _take_forwarded,
    "x-forwarded-for": _take_proxied,
    "accept-language": _take_languages,
}


def _same(earlier: str | None, value: str, limit: int) -> str:
    """Return the only value that a key may have, the limit before anything else."""
    # RFC 6749 appendix A.1 and A.2: VSCHAR
    if not 0 < len(value) <= limit or not (value.isascii() and value.isprintable()):
        raise InvalidClient
    if earlier is not None and earlier != value:
        raise InvalidClient
    return value


def _bearer(earlier: str | None, value: str) -> str | None:
    if not value:
        return earlier
    if len(value) > MAX_TOKEN or not VISIBLE.fits(value) or earlier not in (None, value):
        return ""
    return value


def _of_basic(encoded: str) -> tuple[str, str | None]:
    """Decode RFC 6749 section 2.3.1: both halves are form-urlencoded before the base64; an empty secret is none."""
    try:
        name, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        name, secret = unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError:
        raise InvalidClient from None
    if not colon:
        raise InvalidClient
    return _same(None, name, MAX_CLIENT_ID), _same(None, secret, MAX_SECRET) if secret else None
