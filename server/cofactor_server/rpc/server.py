"""The server on a socket: what is registered, where it listens, how it stops."""

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio
from cofactor.v1 import authenticators_pb2, challenges_pb2, guardian_pb2, policies_pb2, tickets_pb2, tokens_pb2
from cofactor.v1.authenticators_pb2_grpc import add_AuthenticatorServiceServicer_to_server
from cofactor.v1.challenges_pb2_grpc import add_ChallengeServiceServicer_to_server
from cofactor.v1.guardian_pb2_grpc import add_DeviceAccountServiceServicer_to_server
from cofactor.v1.policies_pb2_grpc import add_PolicyServiceServicer_to_server
from cofactor.v1.tickets_pb2_grpc import add_EnrollmentTicketServiceServicer_to_server
from cofactor.v1.tokens_pb2_grpc import add_TokenServiceServicer_to_server
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from cofactor_server.rpc import authenticators as rpc_authenticators
from cofactor_server.rpc import challenges as rpc_challenges
from cofactor_server.rpc.authenticators import Authenticators, AuthenticatorServicer
from cofactor_server.rpc.callers import RULES, Rule, check_complete
from cofactor_server.rpc.challenges import Answers, Challenges, ChallengeServicer, Watching
from cofactor_server.rpc.guardian import DeviceAccounts, DeviceAccountServicer
from cofactor_server.rpc.interceptors import Interceptor
from cofactor_server.rpc.policies import Explaining, PolicyServicer
from cofactor_server.rpc.tickets import EnrollmentTicketServicer, Tickets
from cofactor_server.rpc.tokens import Tokens, TokenServicer
from cofactor_server.rpc.transport import reflection, tls
from cofactor_server.rpc.transport.reflection import Reflection

MAX_REQUEST = 65_536
MAX_STREAMS = 1_024
FAREWELL = 0.2
"""Seconds that streams have, after health says NOT_SERVING, before they are ended."""

SERVICES: tuple[ServiceDescriptor, ...] = (
    tokens_pb2.DESCRIPTOR.services_by_name["TokenService"],
    challenges_pb2.DESCRIPTOR.services_by_name["ChallengeService"],
    authenticators_pb2.DESCRIPTOR.services_by_name["AuthenticatorService"],
    guardian_pb2.DESCRIPTOR.services_by_name["DeviceAccountService"],
    policies_pb2.DESCRIPTOR.services_by_name["PolicyService"],
    tickets_pb2.DESCRIPTOR.services_by_name["EnrollmentTicketService"],
)
HEALTH: Any = health_pb2.DESCRIPTOR.services_by_name["Health"]


class PlaintextRefused(Exception):
    """Without TLS the server listens on loopback and unix sockets only."""


class Devices(rpc_authenticators.Devices, rpc_challenges.Devices, Protocol):
    """Everything that concerns devices."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the servicers speak for."""

    tokens: Tokens
    challenges: Challenges
    answers: Answers
    watching: Watching
    authenticators: Authenticators
    devices: Devices
    device_accounts: DeviceAccounts
    explaining: Explaining
    tickets: Tickets


def register(
    target: grpc.aio.Server,
    services: Services,
    *,
    health_servicer: health.aio.HealthServicer | None = None,
    reflect: bool = False,
    rules: Mapping[str, Rule] = RULES,
) -> None:
    """Register the servicers, with a server or an in-process channel.

    Raises:
        RuleMissing: A method has no row in the table of callers.
    """
    registered = [*SERVICES]
    if health_servicer is not None:
        registered.append(HEALTH)
    if reflect:
        registered += reflection.VERSIONS
    check_complete(registered, rules)
    add_TokenServiceServicer_to_server(TokenServicer(services.tokens), target)
    challenge_servicer = ChallengeServicer(services.challenges, services.answers, services.watching, services.devices)
    add_ChallengeServiceServicer_to_server(challenge_servicer, target)
    add_AuthenticatorServiceServicer_to_server(AuthenticatorServicer(services.authenticators, services.devices), target)
    add_DeviceAccountServiceServicer_to_server(DeviceAccountServicer(services.device_accounts), target)
    add_PolicyServiceServicer_to_server(PolicyServicer(services.explaining), target)
    add_EnrollmentTicketServiceServicer_to_server(EnrollmentTicketServicer(services.tickets), target)
    if health_servicer is not None:
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, target)
    if reflect:
        Reflection(registered).register(target)


def new_server(interceptors: Sequence[grpc.aio.ServerInterceptor] = (), *, reuse_port: bool = False) -> grpc.aio.Server:
    """Return a server with our settings of the transport, on which nothing is registered.

    Args:
        interceptors: The first is the outermost.
        reuse_port: Whether several processes share the port. A second single process must fail instead.
    """
    options = [
        ("grpc.so_reuseport", int(reuse_port)),
        ("grpc.max_receive_message_length", MAX_REQUEST),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # clients may ping idle connections this often
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    server = grpc.aio.server(interceptors=interceptors, options=options)
    # Generated code registers each method twice, by its service and by itself. For each of the latter grpc.aio keeps a
    # task, and at every call it waits for all of them anew: with our methods that takes 30 us, a tenth of a login.
    server.add_registered_method_handlers = _by_service_alone  # type: ignore[method-assign]
    return server


def _by_service_alone(service_name: str, method_handlers: Mapping[str, Any]) -> None:
    """Leave methods to the handler of their service, which finds them by their names."""


def build_server(
    services: Services,
    interceptor: Interceptor,
    *,
    health_servicer: health.aio.HealthServicer,
    reflect: bool = False,
    reuse_port: bool = False,
    outer_interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    rules: Mapping[str, Rule] = RULES,
) -> grpc.aio.Server:
    """Return a server that has everything but an address.

    Args:
        services: What the servicers speak for.
        interceptor: This server's own; it is the innermost.
        health_servicer: Answers health checks.
        reflect: Whether anyone may read the API's description.
        reuse_port: As for `new_server`.
        outer_interceptors: Such as those that trace.
        rules: The table of callers.

    Raises:
        RuleMissing: A method has no row in the table of callers.
    """
    server = new_server((*outer_interceptors, interceptor), reuse_port=reuse_port)
    register(server, services, health_servicer=health_servicer, reflect=reflect, rules=rules)
    return server


def listen(
    server: grpc.aio.Server,
    address: str,
    files: tls.TlsFiles | None = None,
    *,
    plaintext_behind_proxy: bool = False,
) -> int:
    """Listen on `host:port`, `[::1]:port` or `unix:/path`, and return the port, which is chosen if it was 0.

    Args:
        server: Not started yet.
        address: Where.
        files: TLS; required unless the address is loopback or a unix socket.
        plaintext_behind_proxy: Whether the operator states that a trusted proxy does TLS.

    Raises:
        PlaintextRefused: Others could read what passes (ADR-18).
        TlsUnusable: The certificates can't be used.
        RuntimeError: The address can't be bound.
    """
    if files is not None:
        return server.add_secure_port(address, tls.credentials(files))
    if not plaintext_behind_proxy and not _is_local(address):
        raise PlaintextRefused(
            f"{address} can be reached from elsewhere and there is no TLS: give a certificate and key, or listen on "
            "loopback or a unix socket, or state that a trusted proxy does TLS (--plaintext-behind-proxy)"
        )
    return server.add_insecure_port(address)


def _is_local(address: str) -> bool:
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def announce(
    health_servicer: health.aio.HealthServicer, *, serving: bool, services: Iterable[ServiceDescriptor] = SERVICES
) -> None:
    """Tell health checks, as a whole and service by service, whether this process is ready."""
    status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
    for name in ("", *(service.full_name for service in services)):
        await health_servicer.set(name, status)


async def drain(
    server: grpc.aio.Server, interceptor: Interceptor, health_servicer: health.aio.HealthServicer, grace: float
) -> None:
    """Stop: health says NOT_SERVING, new calls are refused, streams end, and calls have `grace` seconds to finish."""
    await health_servicer.enter_graceful_shutdown()
    timer = asyncio.get_running_loop().call_later(min(FAREWELL, grace / 2), interceptor.end_streams)
    try:
        await server.stop(grace)
    finally:
        timer.cancel()
