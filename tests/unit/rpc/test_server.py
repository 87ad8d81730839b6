"""The server on a socket: TLS, plaintext, limits, stopping."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cofactor.v1 import tokens_pb2
from cofactor.v1.tokens_pb2_grpc import TokenServiceStub
from cofactor_server.rpc.callers import RULES, RuleMissing
from cofactor_server.rpc.server import SERVICES, PlaintextRefused, announce, build_server, drain, listen, register
from cofactor_server.rpc.transport.local import LocalChannel
from cofactor_server.rpc.transport.tls import TlsFiles, TlsUnusable
from cryptography.hazmat.primitives import serialization
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.support.authorities import Authority, write
from tests.unit.rpc.worlds import SERVER, World, by, on_a_socket, reason, refusal, services, surrounding

KEYS = tokens_pb2.GetJsonWebKeySetRequest()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


@asynccontextmanager
async def serving(files: TlsFiles) -> AsyncIterator[int]:
    world = World()
    server = build_server(
        services(world), surrounding(world, CollectorRegistry()), health_servicer=health.aio.HealthServicer()
    )
    port = listen(server, "127.0.0.1:0", files)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def keys(port: int, roots: bytes, pair: tuple[bytes, bytes] | None = None) -> int:
    """Return how many keys the server shows, over a connection of its own."""
    certificate, key = pair or (None, None)
    credentials = grpc.ssl_channel_credentials(roots, key, certificate)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options=options) as channel:
        stub: Any = TokenServiceStub(channel)
        return len((await stub.GetJsonWebKeySet(KEYS, timeout=5)).keys)


@pytest.mark.requirement("S58")
async def test_the_server_listens_with_tls(tmp_path: Path, authority: Authority) -> None:
    async with serving(write(tmp_path, authority.issue("server"))) as port:
        assert await keys(port, authority.pem) == 1
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await keys(port, Authority.new().pem)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = TokenServiceStub(channel)
            code, _ = await refusal(stub.GetJsonWebKeySet(KEYS, timeout=5))
        assert code == "UNAVAILABLE"


@pytest.mark.requirement("S39")
async def test_mutual_tls_admits_only_what_the_client_authority_signed(tmp_path: Path, authority: Authority) -> None:
    clients = Authority.new()
    async with serving(write(tmp_path, authority.issue("server"), clients.pem)) as port:
        assert await keys(port, authority.pem, clients.issue("client")) == 1
        for pair in (None, authority.issue("not a client")):
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await keys(port, authority.pem, pair)


async def test_changed_certificates_are_used_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    successor = Authority.new()
    files = write(tmp_path, authority.issue("server"))
    async with serving(files) as port:
        assert await keys(port, authority.pem) == 1
        write(tmp_path, successor.issue("server"))
        assert await keys(port, successor.pem) == 1


@pytest.mark.parametrize("broken", ["half replaced", "garbage", "gone"])
async def test_unusable_certificates_leave_the_old_ones_in_place(
    tmp_path: Path, authority: Authority, broken: str
) -> None:
    files = write(tmp_path, authority.issue("server"))
    async with serving(files) as port:
        match broken:
            case "half replaced":
                files.certificate.write_bytes(authority.issue("server")[0])
            case "garbage":
                files.certificate.write_text("garbage")
            case "gone":
                files.key.unlink()
        with capture_logs() as logs:
            assert await keys(port, authority.pem) == 1
        assert "tls_files_unusable" in [line["event"] for line in logs]


@pytest.mark.parametrize("wrong", ["not a pair", "no certificate", "encrypted key", "no client CA"])
async def test_unusable_certificates_stop_the_start(tmp_path: Path, authority: Authority, wrong: str) -> None:
    certificate, key = authority.issue("server")
    files = write(tmp_path, (certificate, key), authority.pem)
    match wrong:
        case "not a pair":
            files.key.write_bytes(authority.issue("other")[1])
        case "no certificate":
            files.certificate.unlink()
        case "no client CA":
            (tmp_path / "ca.crt").write_text("")
        case "encrypted key":
            loaded = serialization.load_pem_private_key(key, None)
            encryption = serialization.BestAvailableEncryption(b"secret")
            pkcs8 = serialization.PrivateFormat.PKCS8
            files.key.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, pkcs8, encryption))
    with pytest.raises(TlsUnusable, match=str(tmp_path)):
        listen(grpc.aio.server(), "127.0.0.1:0", files)


@pytest.mark.requirement("S58")
@pytest.mark.parametrize(
    "address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:50051", "mfa.example:50051", ":50051", "50051", "dns:localhost:1", ""]
)
async def test_plaintext_that_others_could_read_is_refused(address: str) -> None:
    with pytest.raises(PlaintextRefused, match="plaintext-behind-proxy"):
        listen(grpc.aio.server(), address)


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.8.8.8:0", "[::1]:0", "localhost:0"])
async def test_plaintext_is_served_on_loopback(address: str) -> None:
    assert listen(grpc.aio.server(), address) > 0


async def test_plaintext_is_served_elsewhere_if_a_proxy_does_tls() -> None:
    assert listen(grpc.aio.server(), "0.0.0.0:0", plaintext_behind_proxy=True) > 0


async def test_plaintext_is_served_on_a_unix_socket(tmp_path: Path) -> None:
    async with on_a_socket(f"unix:{tmp_path}/cofactor.sock") as edge:
        assert len((await edge.tokens.GetJsonWebKeySet(KEYS)).keys) == 1


async def test_a_second_single_process_does_not_share_the_port() -> None:
    world = World()

    def another(*, reuse_port: bool = False) -> grpc.aio.Server:
        return build_server(
            services(world),
            surrounding(world, CollectorRegistry()),
            health_servicer=health.aio.HealthServicer(),
            reuse_port=reuse_port,
        )

    first = another()
    port = listen(first, "127.0.0.1:0")
    with pytest.raises(RuntimeError):
        listen(another(), f"127.0.0.1:{port}")
    sharing = another(reuse_port=True)
    shared = listen(sharing, "127.0.0.1:0")
    assert listen(another(reuse_port=True), f"127.0.0.1:{shared}") == shared


async def test_a_call_costs_the_same_however_many_methods_there_are() -> None:
    idle = len(asyncio.all_tasks())
    async with on_a_socket() as edge:
        assert len((await edge.tokens.GetJsonWebKeySet(KEYS)).keys) == 1
        # grpc.aio waits at each call for a task of each method that is registered by itself.
        assert len(asyncio.all_tasks()) - idle < 5 < len(SERVICES)


async def test_a_request_over_64_kib_is_refused() -> None:
    async with on_a_socket() as edge:
        request = tokens_pb2.RevokeTokenRequest(token="x" * 70_000)
        code, _ = await refusal(edge.tokens.RevokeToken(request, metadata=by(SERVER)))
        assert code == "RESOURCE_EXHAUSTED"


async def test_an_rpc_without_a_row_stops_the_start() -> None:
    for missing in ("/cofactor.v1.ChallengeService/WatchChallenge", "/grpc.health.v1.Health/Watch"):
        rows = {method: rule for method, rule in RULES.items() if method != missing}
        with pytest.raises(RuleMissing, match=missing):
            register(LocalChannel(), services(World()), health_servicer=health.aio.HealthServicer(), rules=rows)


async def test_a_service_registered_past_the_table_is_refused_to_everyone() -> None:
    world = World()
    channel: Any = LocalChannel([surrounding(world, CollectorRegistry())])

    async def back_door(request: bytes, context: Any) -> bytes:
        return b"open"

    handlers: Any = {"Open": grpc.unary_unary_rpc_method_handler(back_door)}
    channel.add_registered_method_handlers("back.Door", handlers)
    assert await reason(channel.unary_unary("/back.Door/Open")(b"", metadata=by(SERVER))) == "CALLER_NOT_ALLOWED"


async def test_reflection_is_served_only_when_asked_for() -> None:
    channel = LocalChannel([surrounding(World(), CollectorRegistry())])
    register(channel, services(World()))
    call = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")(iter(()))
    assert (await refusal(call))[0] == "UNIMPLEMENTED"


async def test_health_tells_of_each_service() -> None:
    async with on_a_socket() as edge:
        stub: Any = health_pb2_grpc.HealthStub(edge.channel)
        asked = health_pb2.HealthCheckRequest(service="cofactor.v1.TokenService")
        await announce(edge.health, serving=True)
        assert (await stub.Check(asked)).status == health_pb2.HealthCheckResponse.SERVING
        await announce(edge.health, serving=False)
        assert (await stub.Check(asked)).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_stopping_tells_watchers_ends_streams_and_lets_calls_finish() -> None:
    async with on_a_socket() as edge:
        slow = asyncio.Event()
        revoke = edge.world.revoke

        async def slowly(*what: Any) -> None:
            await slow.wait()
            await revoke(*what)

        edge.world.revoke = slowly  # type: ignore[method-assign, assignment]
        stub: Any = health_pb2_grpc.HealthStub(edge.channel)
        watching = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        call = asyncio.ensure_future(
            edge.tokens.RevokeToken(tokens_pb2.RevokeTokenRequest(token="t"), metadata=by(SERVER))
        )
        await asyncio.sleep(0.1)
        began = asyncio.get_running_loop().time()
        stopping = asyncio.ensure_future(drain(edge.server, edge.interceptor, edge.health, 20))
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await watching.read()
        slow.set()
        await call
        await stopping
        assert asyncio.get_running_loop().time() - began < 5
