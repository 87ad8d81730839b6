"""What holds for every request, whatever it asks: where it comes from, for which host, its headers, its faults."""

import ipaddress
import logging
import traceback
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cofactor_server.origin import CURRENT_ORIGIN, Origin
from cofactor_server.rest.errors import Refusal, answer, is_for_devices

UNIX = "unix"
"""Among trusted proxies: whoever connects by a unix socket."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_log = logging.getLogger(__name__)


class Peers:
    """Tells whom a request comes from.

    Parameters:
        trusted_proxies: CIDRs or addresses, and `unix`, whose X-Forwarded-For is believed (ADR-11).

    Raises:
        ValueError: a trusted proxy is no network.
    """

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        self._unix = UNIX in trusted_proxies
        self._networks = [ipaddress.ip_network(proxy) for proxy in trusted_proxies if proxy != UNIX]

    def origin(self, scope: Scope, headers: Headers) -> Origin | None:
        """Return the peer or, while that is a trusted proxy, whom it names as its own; None for an unknown peer."""
        host = (scope.get("client") or ("",))[0]
        source = _address(host) if host else None
        trusted = self._unix if not host else self._trusts(source)
        hops = ",".join(headers.getlist("x-forwarded-for")).split(",")
        while trusted and hops:
            hop = _address(hops.pop().strip())
            if hop is None:
                break  # what stands further left was never seen by anyone we trust
            source, trusted = hop, self._trusts(hop)
        return None if source is None else Origin(source=str(source))

    def _trusts(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _refuse(refusal: Refusal, path: str) -> Response:
    return answer(refusal, path=path)


class Edge:
    """ASGI middleware.

    Parameters:
        peers: tells whom a request comes from.
        allowed_hosts: what Host may name, without ports; None for anything.
        refuse: makes the answer of a refusal, for a path.
    """

    def __init__(
        self,
        app: ASGIApp,
        peers: Peers,
        allowed_hosts: Sequence[str] | None = None,
        refuse: Callable[[Refusal, str], Response] = _refuse,
    ) -> None:
        self._refuse = refuse
        self._app = app
        self._peers = peers
        self._hosts = None if allowed_hosts is None else {host.lower().strip("[]") for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def decorated(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                _decorate(MutableHeaders(scope=message), scope["path"])
            await send(message)

        headers = Headers(scope=scope)
        origin = CURRENT_ORIGIN.set(self._peers.origin(scope, headers))
        try:
            if self._hosts is not None and _host(headers) not in self._hosts:
                refusal = Refusal("INVALID_REQUEST", violations=(("Host", "is not served here"),))
                await self._refuse(refusal, scope["path"])(scope, receive, decorated)
            else:
                await self._app(scope, receive, decorated)
        except ClientDisconnect:
            pass  # nobody is left to be answered
        except Exception as error:
            _log.error("Unexpected %s in %s", type(error).__name__, _where(error))  # no traceback: see _where
            if not begun:
                await self._refuse(Refusal("INTERNAL"), scope["path"])(scope, receive, decorated)
        finally:
            CURRENT_ORIGIN.reset(origin)


def _decorate(headers: MutableHeaders, path: str) -> None:
    headers["x-content-type-options"] = "nosniff"
    if path.startswith(("/oauth/", "/mfa/", "/userinfo", "/api/v2")) or is_for_devices(path):
        headers["cache-control"] = "no-store"
        headers["pragma"] = "no-cache"
    if path.startswith("/mfa/") and headers.get("content-type") == "application/json":
        headers["content-type"] = "application/json; charset=utf-8"


def _host(headers: Headers) -> str:
    host = headers.get("host", "").lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _address(text: str) -> _Address | None:
    """Parse an address that may have a port; an IPv4 address in IPv6 dress is the IPv4 address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _where(error: BaseException) -> str:
    """Return the lines of code an error came through, without its message: that may quote the request."""
    return " < ".join(f"{f.filename}:{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__)))
