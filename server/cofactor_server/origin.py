"""Where an in-process call comes from: an object the HTTP edge hands over, which no socket peer can forge."""

import ipaddress
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """The HTTP client behind an in-process call (ADR-11).

    Parameters:
        source: the client's network address as the HTTP edge determined it, e.g. `203.0.113.7`.
    """

    source: str


CURRENT_ORIGIN: ContextVar[Origin | None] = ContextVar("CURRENT_ORIGIN", default=None)
"""Set by the HTTP edge before it calls; read once, when the call is made."""


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name or address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
