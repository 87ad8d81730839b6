"""Where a call comes from: the end user's network address in its counted form (ADR-11)."""

import ipaddress
import socket
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from cofactor_server.domain.parties.clients import Capability, Client
from cofactor_server.rpc.credentials import Credentials
from cofactor_server.rpc.transport.local import LocalContext

UNIX = "unix"
"""Among trusted proxies: whoever connects by a unix socket."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_LONGEST = 64  # an IPv6 address with a zone


class Sources:
    """Tells the source of calls.

    Args:
        trusted_proxies: Networks, addresses and `unix`, whose `x-forwarded-for` is believed.

    Raises:
        ValueError: A trusted proxy is no network.
    """

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        self._unix = UNIX in trusted_proxies
        self._trusted = tuple(ipaddress.ip_network(proxy) for proxy in trusted_proxies if proxy != UNIX)

    def of(self, context: Any, client: Client | None, credentials: Credentials) -> str:
        """Return the counted address, or nothing where nobody can know the end user's.

        A confidential client is a server, whose own address is never the user's: it has to forward one, and be
        allowed to. A call by bearer alone may come from either kind of client, so its address says nothing.
        """
        if client is None:
            return ""
        if client.confidential:
            return counted(credentials.forwarded_for) if Capability.FORWARD_SOURCE in client.capabilities else ""
        return self.of_stranger(context, credentials)

    def of_stranger(self, context: Any, credentials: Credentials) -> str:
        """Return the counted address of somebody behind whom there is no server, such as the holder of a ticket."""
        if isinstance(context, LocalContext):
            return counted(context.origin.source) if context.origin is not None else ""
        return self._of_peer(context.peer(), credentials.proxied_for)

    def _of_peer(self, peer: str, proxied_for: str) -> str:
        """Return the peer, or while that is a trusted proxy whom it names as its own peer."""
        host = _host(peer)
        if not (self._trusts(host) if host else self._unix and peer.startswith("unix:")):
            return counted(host)
        for hop in reversed(proxied_for.split(",") if proxied_for else ()):
            host = hop.strip()
            if not self._trusts(host):
                break
        return counted(host)

    def _trusts(self, host: str) -> bool:
        address = _address(host) if self._trusted else None
        return address is not None and any(address in network for network in self._trusted)


def counted(text: str) -> str:
    """Return the form in which an address is counted: IPv6 by its /64, IPv4 in IPv6 as IPv4; nothing for no address."""
    try:
        # Most are IPv4, which the system reads in a tenth of the time.
        return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, text))
    except (OSError, ValueError):
        return _counted(text) if 0 < len(text) <= _LONGEST else ""


@lru_cache(maxsize=4096)
def _counted(text: str) -> str:
    match _address(text):
        case ipaddress.IPv6Address() as six:
            prefix = ipaddress.IPv6Address(int(six) >> 64 << 64)
            return f"{prefix}/64"
        case ipaddress.IPv4Address() as four:
            return str(four)
    return ""


def _host(peer: str) -> str:
    """Return the address of `ipv4:1.2.3.4:5` or `ipv6:%5B::1%5D:5`; nothing for a peer without one."""
    scheme, _, rest = peer.partition(":")
    host, _, _ = rest.rpartition(":")
    if scheme == "ipv4":
        return host
    return unquote(host).strip("[]") if scheme == "ipv6" else ""


def _address(text: str) -> _Address | None:
    if len(text) > _LONGEST:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
