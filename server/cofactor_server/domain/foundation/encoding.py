"""Octets that read one way only: length-prefixed parts, canonical base64url, JSON without repeated members."""

import binascii
import json
from functools import cache
from typing import Any, NoReturn

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def framed(*parts: str | bytes) -> bytes:
    """Join parts so that no two different lists of parts give the same bytes.

    Args:
        parts: Octets, or text that is encoded as UTF-8; each is preceded by its length in 4 octets, big-endian.
    """
    joined = b""
    for part in parts:
        octets = part.encode() if isinstance(part, str) else part
        joined += len(octets).to_bytes(4, "big") + octets
    return joined


framed_once = cache(framed)
"""As `framed`, kept for good: for parts that the code or the deployment fixes, never for what a caller sends."""


def base64url(octets: bytes) -> str:
    """Return base64url without padding (RFC 4648 section 5, RFC 7515 section 2)."""
    return binascii.b2a_base64(octets, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def from_base64url(text: str) -> bytes:
    """Read what `base64url` writes, and nothing else.

    Padding, other alphabets, white space and set bits after the last octet are refused (RFC 4648 section 3.5), so that
    no two texts stand for the same octets.

    Raises:
        ValueError: `text` is not what `base64url` would have written.
    """
    try:
        octets = binascii.a2b_base64(text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4))
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("not base64url") from None
    # The decoder skips foreign characters and drops trailing bits: writing the result again shows both.
    if base64url(octets) != text:
        raise ValueError("not canonical base64url")
    return octets


def json_object(octets: bytes) -> dict[str, object]:
    """Read a JSON object from UTF-8, strictly (RFC 7515 section 4, RFC 8259 section 4).

    Raises:
        ValueError: It is something else, nests too deeply, or an object in it names a member twice.
    """
    try:
        value = json.loads(octets.decode(), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
