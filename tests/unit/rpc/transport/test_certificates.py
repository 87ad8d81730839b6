"""Clients that are known by their certificates, over a real socket (RFC 8705, ADR-18)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cofactor.v1 import tokens_pb2
from cofactor.v1.tokens_pb2_grpc import TokenServiceStub
from cofactor_server.errors import InvalidRequest
from cofactor_server.rpc.server import build_server, listen
from cryptography import x509
from grpc_health.v1 import health

from tests.concurrency.nodes import reason
from tests.support.authorities import Authority, write
from tests.support.world import PASSWORD, World

PAYMENTS = x509.DNSName("payments.example.test")
WORKLOAD = x509.UniformResourceIdentifier("spiffe://example.test/payments")
REFUSED = "INVALID_CLIENT"
Pair = tuple[bytes, bytes]

pytestmark = [pytest.mark.requirement("S39", "S58"), pytest.mark.parametrize("engine", ["sqlite"])]


@dataclass
class Served:
    """A deployment behind mutual TLS."""

    world: World
    port: int
    authority: Authority
    clients: Authority

    async def login(self, pair: Pair, client_id: str, secret: str | None = None) -> str:
        """Log in over a connection of its own; return the outcome, or the reason of the refusal."""
        certificate, key = pair
        credentials = grpc.ssl_channel_credentials(self.authority.pem, key, certificate)
        metadata = [("cofactor-client-id", client_id)]
        if secret is not None:
            metadata.append(("cofactor-client-secret", secret))
        grant = tokens_pb2.PasswordGrant(username="alice@example.test", password=PASSWORD)
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(f"localhost:{self.port}", credentials, options=options) as channel:
            stub: Any = TokenServiceStub(channel)
            try:
                answer = await stub.IssueToken(
                    tokens_pb2.IssueTokenRequest(password=grant), metadata=metadata, timeout=10
                )
            except grpc.aio.AioRpcError as error:
                return reason(error) if error.code() is not grpc.StatusCode.UNAVAILABLE else "UNAVAILABLE"
        return str(answer.WhichOneof("outcome"))


@pytest.fixture(scope="module")
def authorities() -> tuple[Authority, Authority]:
    """The server's, and the clients'."""
    return Authority.new(), Authority.new()


@pytest.fixture
async def served(world: World, tmp_path: Path, authorities: tuple[Authority, Authority]) -> AsyncIterator[Served]:
    authority, clients = authorities
    await world.user()
    async with listening(world, tmp_path, authority, clients) as port:
        yield Served(world, port, authority, clients)


@asynccontextmanager
async def listening(world: World, folder: Path, authority: Authority, clients: Authority | None) -> AsyncIterator[int]:
    server = build_server(world.app.services, world.app.interceptor(), health_servicer=health.aio.HealthServicer())
    files = write(folder, authority.issue("server"), clients.pem if clients else None)
    port = listen(server, "127.0.0.1:0", files)
    await server.start()
    yield port
    await server.stop(0)


@pytest.mark.parametrize(
    ("registered", "names"),
    [
        ("dns:payments.example.test", [PAYMENTS]),
        ("uri:spiffe://example.test/payments", [WORKLOAD]),
        ("dns:payments.example.test", [x509.DNSName("other.example.test"), WORKLOAD, PAYMENTS]),
    ],
)
async def test_a_certificate_that_names_the_client_takes_the_secrets_place(
    served: Served, registered: str, names: list[x509.GeneralName]
) -> None:
    client, secret = await served.world.client(tls_san=registered)
    assert secret == ""
    assert await served.login(served.clients.issue("whatever", *names), client.id) == "mfa_required"


@pytest.mark.parametrize(
    "name",
    [
        x509.DNSName("other.example.test"),
        x509.DNSName("example.test"),
        x509.DNSName("a.payments.example.test"),
        x509.DNSName("*.example.test"),
        x509.DNSName("Payments.example.test"),
        x509.DNSName("payments.example.test."),
        x509.DNSName("payments.example.test\0.evil.test"),
        x509.UniformResourceIdentifier("payments.example.test"),
        x509.UniformResourceIdentifier("dns:payments.example.test"),
        x509.RFC822Name("payments.example.test"),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
    ],
    ids=str,
)
async def test_a_certificate_that_names_somebody_else_is_no_client(served: Served, name: x509.GeneralName) -> None:
    client, _ = await served.world.client(tls_san="dns:payments.example.test")
    assert await served.login(served.clients.issue("payments.example.test", name), client.id) == REFUSED


async def test_a_certificate_of_another_authority_does_not_connect(served: Served) -> None:
    client, _ = await served.world.client(tls_san="dns:payments.example.test")
    for authority in (Authority.new(), served.authority):
        assert await served.login(authority.issue("payments", PAYMENTS), client.id) == "UNAVAILABLE"


async def test_a_client_that_is_known_by_its_certificate_sends_no_secret(served: Served) -> None:
    """One method a client: a request that shows two is refused, right or wrong (RFC 6749 section 2.3)."""
    client, _ = await served.world.client(tls_san="dns:payments.example.test")
    pair = served.clients.issue("payments", PAYMENTS)
    for secret in ("", "guess"):
        assert await served.login(pair, client.id, secret) == REFUSED


async def test_a_certificate_is_no_other_clients_secret(served: Served) -> None:
    pair = served.clients.issue("payments", PAYMENTS)
    client, secret = await served.world.client()
    assert await served.login(pair, client.id) == REFUSED
    assert await served.login(pair, client.id, "guess") == REFUSED
    assert await served.login(pair, client.id, secret) == "mfa_required"


async def test_a_client_that_is_known_by_its_certificate_is_nobody_without_one(served: Served, tmp_path: Path) -> None:
    client, _ = await served.world.client(tls_san="dns:payments.example.test")
    async with listening(served.world, tmp_path, served.authority, None) as served.port:
        pair = served.clients.issue("payments", PAYMENTS)  # which such a server does not ask for
        assert await served.login(pair, client.id) == REFUSED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await TokenServiceStub(served.world.app.local_channel()).IssueToken(
            tokens_pb2.IssueTokenRequest(), metadata=(("cofactor-client-id", client.id),)
        )
    assert reason(refused.value) == REFUSED


async def test_a_client_that_is_deleted_is_refused_whatever_its_certificate(served: Served) -> None:
    client, _ = await served.world.client(tls_san="dns:payments.example.test")
    await served.world.app.operators.delete_client(client.id)
    assert await served.login(served.clients.issue("payments", PAYMENTS), client.id) == REFUSED


@pytest.mark.parametrize(
    "san",
    [
        "payments.example.test",
        "dns:",
        "dns:*.example.test",
        "dns:Payments.example.test",
        "dns:payments.example.test.",
        "dns:" + "a" * 254,
        "dns:a\0b",
        "dns:a\n",
        "uri:payments",
        "uri:spiffe://example.test/a b",
        "email:a@example.test",
        "DNS:payments.example.test",
    ],
)
async def test_a_name_that_no_certificate_could_match_is_refused(world: World, san: str) -> None:
    with pytest.raises(InvalidRequest):
        await world.client(tls_san=san)


async def test_a_public_client_has_no_certificate(world: World) -> None:
    with pytest.raises(InvalidRequest):
        await world.client(public=True, tls_san="dns:payments.example.test")
