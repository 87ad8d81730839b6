"""How a client connects and who it is: what `cofactor.client` and `cofactor.aio` have in common. Nothing here sends."""

import ipaddress
import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import grpc

from cofactor.v1 import tokens_pb2

Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""Metadata of a call."""
File: TypeAlias = str | PathLike[str]

DEADLINE = 10.0
"""Seconds that a unary call may take, repeating included, unless it is told otherwise."""

_USES_UP = frozenset({"mfa_otp", "mfa_oob", "mfa_recovery_code", "mfa_webauthn", "refresh_token"})
"""Grants that a `request_id` makes safe to repeat."""
# Watches have an entry of their own, with nothing to repeat: `watch` does that, and knows what it has heard.
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [
                    {"service": "cofactor.v1.ChallengeService", "method": method}
                    for method in ("WatchChallenge", "WatchDevice")
                ]
            },
            {
                "name": [
                    {"service": f"cofactor.v1.{service}"}
                    for service in ("TokenService", "ChallengeService", "AuthenticatorService")
                ],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            },
        ]
    }
)
_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.service_config_disable_resolution", 1),  # ours, whatever a name server says
    # gRPC's own pauses between attempts to connect go up to two minutes, for which no login waits.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Finds out that a watched connection is dead.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
_SENDABLE = re.compile(r"[!-~]{1,1024}")
_PORT = re.compile(r":\d{1,5}")
_SCHEME = re.compile(r"(?:dns:(?:///)?|ipv4:|ipv6:)?")


class PlaintextRefused(ValueError):
    """Secrets would leave this machine without TLS; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the client is.

    Args:
        client_id: As the operator registered it.
        client_secret: Of a confidential client; empty for a public one, and where a certificate stands for it.

    Raises:
        ValueError: One of them can't be sent: it holds spaces or characters beyond ASCII, or the id is empty.
    """

    client_id: str
    client_secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not _SENDABLE.fullmatch(self.client_id):
            raise ValueError("the client_id is empty or holds characters that can't be sent")
        if self.client_secret and not _SENDABLE.fullmatch(self.client_secret):
            raise ValueError("the client_secret holds characters that can't be sent")

    @property
    def metadata(self) -> Pairs:
        """What is sent with each call."""
        secret = (("cofactor-client-secret", self.client_secret),) if self.client_secret else ()
        return (("cofactor-client-id", self.client_id), *secret)


@dataclass(frozen=True, slots=True)
class Tls:
    """Encrypted, by default trusting the certificates that come with gRPC.

    Args:
        ca_file: PEM: whom to trust instead.
        certificate_file: PEM: what the client presents (mutual TLS), with `key_file`.
        key_file: PEM: its private key.
    """

    ca_file: File | None = None
    certificate_file: File | None = None
    key_file: File | None = None

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("a certificate needs its key, and a key its certificate")

    def read(self) -> grpc.ChannelCredentials:
        """Read the files. Raises OSError."""
        ca, key, certificate = (
            None if file is None else Path(file).read_bytes()
            for file in (self.ca_file, self.key_file, self.certificate_file)
        )
        return grpc.ssl_channel_credentials(ca, key, certificate)


@dataclass(frozen=True, slots=True)
class Plaintext:
    """Not encrypted: to this machine, 127.0.0.0/8, ::1, `localhost` or `unix:`.

    Args:
        allow_remote: Send secrets in the clear to any address. Only for networks that encrypt by themselves, such as a
            service mesh.
    """

    allow_remote: bool = False

    def check(self, target: str) -> None:
        """Raise PlaintextRefused unless a target may be connected to."""
        if not self.allow_remote and not is_loopback(target):
            raise PlaintextRefused(f"{target} is not on this machine: use Tls(), or Plaintext(allow_remote=True)")


Transport: TypeAlias = Tls | Plaintext


def is_loopback(target: str) -> bool:
    """Whether what is sent to a target of gRPC's syntax stays on this machine; one that is not understood does not."""
    if target.startswith("unix:"):
        return True
    scheme = _SCHEME.match(target)
    rest = target[scheme.end() :] if scheme else target
    if rest.startswith("["):
        host, bracket, port = rest[1:].partition("]")
        if not bracket or (port and not _PORT.fullmatch(port)):
            return False
    else:
        host, colon, port = rest.partition(":")
        if colon and not _PORT.fullmatch(colon + port):
            return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def options(transport: Transport) -> Sequence[tuple[str, str | int]]:
    """Return the options of a channel."""
    if isinstance(transport, Plaintext) and not transport.allow_remote:
        return (*_OPTIONS, ("grpc.enable_http_proxy", 0))  # a proxy would read what was to stay here
    return _OPTIONS


def bearer(token: str) -> Pairs:
    """Return the metadata that authorizes one call by a token: an mfa_token, or one for the MFA audience.

    Raises:
        ValueError: It is empty or holds what can't be sent; the text does not show it.
    """
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("the token is empty or holds characters that can't be sent")
    return (("authorization", f"Bearer {token}"),)


def repeatable(request: tokens_pb2.IssueTokenRequest) -> tokens_pb2.IssueTokenRequest:
    """Return a request that may be sent again after a lost reply: with a `request_id`, where that is of use."""
    if request.request_id or request.WhichOneof("grant") not in _USES_UP:
        return request
    named = tokens_pb2.IssueTokenRequest()
    named.CopyFrom(request)
    named.request_id = str(uuid.uuid4())
    return named
