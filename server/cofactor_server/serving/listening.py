"""Listen addresses of a process: which of them need TLS, and their sockets."""

import contextlib
import errno
import ipaddress
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cofactor_server.rpc.server import PlaintextRefused
from cofactor_server.rpc.source import UNIX
from cofactor_server.rpc.transport.tls import TlsFiles, server_context
from cofactor_server.settings import Settings, is_local, split_address

BACKLOG = 2_048


class StartFailed(Exception):
    """The process can't listen on a configured address; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The listen addresses of a process, and how it stops."""

    http: str | None
    """`host:port`, `[::1]:port` or `unix:/path`; None serves no HTTP."""
    grpc: str | None
    tls: TlsFiles | None = None
    plaintext_behind_proxy: bool = False
    reflection: bool = False
    metrics: str | None = None
    management: str | None = None
    """The address of operators' calls over HTTP; None for none."""
    management_tls: TlsFiles | None = None
    """None only for an address that is local to this machine."""
    admin: str | None = None
    """The address of operators' calls over gRPC; None for none."""
    admin_tls: TlsFiles | None = None
    drain_seconds: float = 10
    reuse_port: bool = False
    """Whether several processes share the ports. A second single process must fail instead."""

    @classmethod
    def of(cls, settings: Settings, only: str | None = None) -> "Listening":
        """Return the addresses from the settings; `only` limits them to `http` or `grpc`."""
        return cls(
            http=settings.http_listen if only in (None, "http") else None,
            grpc=settings.grpc_listen if only in (None, "grpc") else None,
            tls=settings.tls(),
            plaintext_behind_proxy=settings.plaintext_behind_proxy,
            reflection=settings.reflection,
            metrics=settings.metrics_listen,
            management=settings.management_listen if only in (None, "http") else None,
            management_tls=settings.operators_tls(settings.management_listen),
            admin=settings.admin_listen if only in (None, "grpc") else None,
            admin_tls=settings.operators_tls(settings.admin_listen),
            drain_seconds=settings.drain_seconds,
            reuse_port=settings.workers > 1,
        )

    def check(self) -> None:
        """Fail early on addresses and certificates that can't work.

        Raises:
            PlaintextRefused: Others could read the traffic (ADR-18).
            TlsUnusable: The certificates can't be used.
            StartFailed: An address is in use.
        """
        for files in filter(None, (self.tls, self.management_tls, self.admin_tls)):
            server_context(files)
        for address, own in ((self.management, self.management_tls), (self.admin, self.admin_tls)):
            if address is not None and not is_local(address) and (own is None or own.client_ca is None):
                raise PlaintextRefused(f"{address}: operators who call from elsewhere show a certificate")
        for address in filter(None, (self.http, self.grpc)):
            if self.tls is None and not self.plaintext_behind_proxy and not is_local(address):
                raise PlaintextRefused(
                    f"{address} can be reached from elsewhere and there is no TLS: set COFACTOR_TLS_CERT_FILE and "
                    "COFACTOR_TLS_KEY_FILE, or listen on loopback or a unix socket, or state that a trusted proxy "
                    "does TLS (--plaintext-behind-proxy)"
                )
        for address in filter(None, (self.http, self.grpc, self.metrics, self.management, self.admin)):
            if not address.startswith("unix:"):
                bind(address).close()

    def one_source(self, trusted_proxies: Sequence[str]) -> list[str]:
        """Return the addresses at which all users seem to come from one place, since nobody's forwarding is believed.

        Whoever calls a loopback address or a unix socket is this machine: a proxy, as a rule (ADR-11).

        Args:
            trusted_proxies: Networks, addresses and `unix`, whose `X-Forwarded-For` is believed.
        """
        networks = [ipaddress.ip_network(proxy) for proxy in trusted_proxies if proxy != UNIX]

        def believes(address: str) -> bool:
            if address.startswith("unix:"):
                return UNIX in trusted_proxies
            host, _ = split_address(address)
            peer = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
            return any(peer in network for network in networks)

        return [
            address for address in (self.http, self.grpc) if address and is_local(address) and not believes(address)
        ]

    def shared(self) -> tuple["Listening", list[socket.socket]]:
        """Return a copy with chosen ports, and the sockets that reserve these ports for the workers.

        Raises:
            StartFailed: An address can't be shared.
        """
        held = {}
        for name, address in (("http", self.http), ("grpc", self.grpc)):
            if address is not None and address.startswith("unix:"):
                raise StartFailed(f"{address}: workers share a port, and can't share a unix socket")
            if address is not None:
                held[name] = bind(address, reuse_port=True, listen=False)
        chosen = {name: name_of(sock) for name, sock in held.items()}
        http, grpc = chosen.get("http"), chosen.get("grpc")
        return replace(self, http=http, grpc=grpc, reuse_port=True), list(held.values())

    def of_worker(self, number: int) -> "Listening":
        """Return a worker's addresses: worker N adds N to the metrics port, and only worker 0 serves operators."""
        own = self if number == 0 else replace(self, management=None, admin=None)
        if own.metrics is None:
            return own
        host, port = split_address(own.metrics)
        return replace(own, metrics=joined(host, port + number))


def bind(address: str, *, reuse_port: bool = False, listen: bool = True, private: bool = False) -> socket.socket:
    """Return a socket bound to an address.

    Args:
        address: The address, as `Listening.http` has it.
        reuse_port: Whether other processes share the port.
        listen: Whether to accept connections at once.
        private: Whether only this operating-system user may connect to a unix socket.

    Raises:
        StartFailed: The address can't be bound.
    """
    sock: socket.socket | None = None
    try:
        if address.startswith("unix:"):
            sock = _bind_unix(address.removeprefix("unix:"))
            if private:
                Path(address.removeprefix("unix:")).chmod(0o600)  # before anyone can connect
        else:
            host, port = split_address(address)
            places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, place = places[0]
            sock = socket.socket(family, kind, protocol)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(place)
        if listen:
            sock.listen(BACKLOG)
    except OSError as error:
        if sock is not None:
            sock.close()
        reason = "address in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise StartFailed(f"{address}: {reason}") from None
    sock.setblocking(False)
    return sock


def name_of(sock: socket.socket) -> str:
    """Return the address that a socket is bound to, in the form that `bind` takes."""
    place = sock.getsockname()
    return f"unix:{place}" if sock.family == socket.AF_UNIX else joined(place[0], place[1])


def joined(host: str, port: int) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_unix(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(Path(path).lstat().st_mode) and _is_dead(path):
            Path(path).unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    return sock


def _is_dead(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
    return False
