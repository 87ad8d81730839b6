"""The origin of an in-process call: an object that the HTTP edge passes, which no network peer can forge."""

import ipaddress
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """The HTTP client behind an in-process call (ADR-11).

    Parameters:
        source: The client's network address as the HTTP edge determined it, such as `203.0.113.7`.
    """

    source: str


CURRENT_ORIGIN: ContextVar[Origin | None] = ContextVar("CURRENT_ORIGIN", default=None)
"""Set by the HTTP edge before a call; read once, when the call is made."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
