"""Who asks for WebAuthn credentials, and from which pages (WebAuthn Level 3 sections 5.1 and 13.4.9)."""

import ipaddress
import re
from enum import StrEnum
from urllib.parse import urlsplit

from cofactor_server.domain.foundation.values import Value

LOCALHOST = "localhost"
ANY_LOCALHOST = "http://localhost:*"
"""Every port of localhost, where a developer's own applications run."""
ANDROID = "android:apk-key-hash:"
"""Begins the origin of an Android application."""

_ON_LOCALHOST = re.compile(r"http://localhost(?::[0-9]{1,5})?")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)(?:(?!-)[a-z0-9-]{1,63}(?<!-)\.)*(?!-)[a-z0-9-]{1,63}(?<!-)")
_APPLICATION = re.compile(re.escape(ANDROID) + r"[A-Za-z0-9_-]{43}")


class UserVerification(StrEnum):
    """Whether a PIN or biometric is asked of whoever holds the key, in the words of the browser."""

    DISCOURAGED = "discouraged"
    PREFERRED = "preferred"
    REQUIRED = "required"


class RelyingParty(Value, frozen=True):
    """For whom credentials are made; they work nowhere else."""

    id: str
    """A domain without scheme and port, such as `example.com`."""
    name: str
    """What browsers may show."""
    origins: tuple[str, ...]
    """Of pages on which credentials are made and used, such as `https://app.example.com`; and `ANY_LOCALHOST`."""
    user_verification: UserVerification = UserVerification.PREFERRED

    def accepts(self, origin: str) -> bool:
        """Whether pages of this origin may ask, compared to the letter (S161)."""
        if origin in self.origins and origin != ANY_LOCALHOST:
            return True
        return ANY_LOCALHOST in self.origins and _ON_LOCALHOST.fullmatch(origin) is not None


def is_domain(name: str) -> bool:
    """Whether a name can be a relying party's: a lower-case domain, and no address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _DOMAIN.fullmatch(name) is not None and not name.rpartition(".")[2].isdigit()
    return False


def is_origin_of(origin: str, relying_party_id: str) -> bool:
    """Whether an origin can use a relying party's credentials: https at its domain or below, or an application.

    On localhost http will do, since browsers take it for a secure context.
    """
    if relying_party_id == LOCALHOST and (origin == ANY_LOCALHOST or _ON_LOCALHOST.fullmatch(origin)):
        return True
    if origin.startswith(ANDROID):
        return _APPLICATION.fullmatch(origin) is not None
    try:
        url = urlsplit(origin)
        host, port = url.hostname or "", url.port
    except ValueError:
        return False
    # What browsers send: lower case, no default port, nothing after it.
    if port == 443 or origin != f"https://{host}" + (f":{port}" if port is not None else ""):
        return False
    return is_domain(host) and (host == relying_party_id or host.endswith(f".{relying_party_id}"))


def origin_of(url: str) -> str:
    """Return the origin of a URL as browsers write it."""
    parts = urlsplit(url)
    port = "" if parts.port in (None, {"https": 443, "http": 80}.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"
