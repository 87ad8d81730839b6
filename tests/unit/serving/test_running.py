"""Parts of serving that need no process of their own."""

import asyncio
import contextlib
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from cofactor.admin.v1.factors_pb2 import ListFactorsRequest
from cofactor.admin.v1.factors_pb2_grpc import FactorServiceStub
from cofactor_server.domain.parties.operators import Role
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rpc.server import PlaintextRefused
from cofactor_server.rpc.transport import tls
from cofactor_server.seams import HOUR
from cofactor_server.services.upkeep import loop as upkeep
from cofactor_server.serving import running
from cofactor_server.serving.http_server import HttpServer, Readiness
from cofactor_server.serving.listening import Listening, StartFailed, bind, name_of

from tests.support.authorities import Authority, write
from tests.support.world import World


@asynccontextmanager
async def https(files: tls.TlsFiles) -> AsyncIterator[int]:
    """Serve `/livez` at a port."""
    edge = HttpApplication()
    Readiness().answer(edge)
    sock = bind("127.0.0.1:0")
    server = await HttpServer.started(edge, sock, Listening(name_of(sock), None, tls=files, drain_seconds=0))
    try:
        yield sock.getsockname()[1]
    finally:
        await server.stop()


def asked(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> tuple[bytes, bool, object]:
    """Return the status line, whether an earlier session was resumed, and this one, of a connection of its own.

    Raises:
        OSError: The server refuses.
    """
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as sock,
    ):
        sock.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        with sock.makefile("rb") as answer:
            line = answer.readline()
        if not line:
            raise ConnectionResetError
        return line, bool(sock.session_reused), sock.session


async def is_served(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> bool:
    try:
        line, _, _ = await asyncio.to_thread(asked, port, context, session)
    except OSError:
        return False
    return line == b"HTTP/1.1 200 OK\r\n"


def trusting(authority: Authority, folder: Path, pair: tuple[bytes, bytes] | None = None) -> ssl.SSLContext:
    """Return a client's context, with a certificate of its own if it has one."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if pair is not None:
        (folder / "client.crt").write_bytes(pair[0])
        (folder / "client.key").write_bytes(pair[1])
        context.load_cert_chain(folder / "client.crt", folder / "client.key")
    return context


async def test_https_follows_its_files_and_survives_bad_ones(tmp_path: Path) -> None:
    first, second = Authority.new(), Authority.new()
    files = write(tmp_path, first.issue("server"))
    async with https(files) as port:
        files.certificate.write_text("half a certificate")
        assert await is_served(port, trusting(first, tmp_path))
        write(tmp_path, second.issue("server"))
        assert await is_served(port, trusting(second, tmp_path))
        assert not await is_served(port, trusting(first, tmp_path))


@pytest.mark.requirement("S39")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_https_refuses_whom_an_authority_vouched_for_that_is_gone(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    authority, gone, successor = Authority.new(), Authority.new(), Authority.new()
    files = write(tmp_path, authority.issue("server"), gone.pem)
    former = trusting(authority, tmp_path, gone.issue("client"))
    former.maximum_version = version
    async with https(files) as port:
        _, _, session = await asyncio.to_thread(asked, port, former)
        _, resumed, _ = await asyncio.to_thread(asked, port, former, session)  # type: ignore[arg-type]
        assert resumed  # or the next but one claim would say nothing
        write(tmp_path, authority.issue("server"), successor.pem)
        assert not await is_served(port, former)
        assert not await is_served(port, former, session)  # type: ignore[arg-type]
        assert await is_served(port, trusting(authority, tmp_path, successor.issue("client")))


@asynccontextmanager
async def management_of(world: World, listening: Listening) -> AsyncIterator[running.Bound]:
    """Serve as `listening` says."""
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving_task = asyncio.create_task(running.run(world.app, listening, stop, on_ready=bound.set_result))
    await asyncio.wait({serving_task, bound}, return_when=asyncio.FIRST_COMPLETED)
    yield bound.result()
    stop.set()
    await serving_task


@pytest.mark.requirement("S39")
@pytest.mark.parametrize("engine", ["sqlite"])
async def test_operators_who_call_from_elsewhere_show_a_certificate_and_a_token(world: World, tmp_path: Path) -> None:
    authority, operators = Authority.new(), Authority.new()
    files = write(tmp_path, authority.issue("server"), operators.pem)
    listening = Listening(None, None, management="127.0.0.1:0", management_tls=files, drain_seconds=0)
    async with management_of(world, listening) as bound:
        assert (bound.http, bound.grpc) == (None, None)
        url = f"https://localhost:{(bound.management or '').rpartition(':')[2]}/api/v2/guardian/factors"
        for signer in (None, authority):
            pair = signer.issue("stranger") if signer else None
            async with httpx2.AsyncClient(verify=trusting(authority, tmp_path, pair)) as stranger:
                with pytest.raises(httpx2.TransportError):
                    await stranger.get(url)
        async with httpx2.AsyncClient(verify=trusting(authority, tmp_path, operators.issue("olga"))) as olga:
            assert (await olga.get(url)).status_code == 401
            token, _ = world.app.operator_tokens.mint(Role.READ, HOUR)
            assert (await olga.get(url, headers={"authorization": f"Bearer {token}"})).status_code == 200


@pytest.mark.parametrize("engine", ["sqlite"])
async def test_the_socket_of_operators_is_its_users_alone(world: World, tmp_path: Path) -> None:
    path = tmp_path / "management"
    listening = Listening("127.0.0.1:0", None, management=f"unix:{path}", drain_seconds=0)
    async with management_of(world, listening) as bound:
        assert bound.management == f"unix:{path}"
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        token, _ = world.app.operator_tokens.mint(Role.READ, HOUR)
        headers = {"authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(path))) as olga:
            assert (await olga.get("http://mfa/api/v2/guardian/factors", headers=headers)).status_code == 200
        async with httpx2.AsyncClient(base_url=f"http://{bound.http}") as anybody:
            assert (await anybody.get("/api/v2/guardian/factors", headers=headers)).status_code == 404
    assert not path.exists()


@pytest.mark.requirement("S39")
@pytest.mark.parametrize("engine", ["sqlite"])
async def test_operators_call_over_grpc_with_a_certificate_and_a_token(world: World, tmp_path: Path) -> None:
    authority, operators = Authority.new(), Authority.new()
    files = write(tmp_path, authority.issue("server"), operators.pem)
    listening = Listening(None, None, admin="127.0.0.1:0", admin_tls=files, drain_seconds=0)
    token, _ = world.app.operator_tokens.mint(Role.READ, HOUR)
    by = (("authorization", f"Bearer {token}"),)
    async with management_of(world, listening) as bound:
        assert (bound.grpc, bound.more) == (None, ())
        target = f"localhost:{(bound.admin or '').rpartition(':')[2]}"
        for pair, expected in (
            (authority.issue("stranger"), grpc.StatusCode.UNAVAILABLE),
            (operators.issue("olga"), None),
        ):
            shown = grpc.ssl_channel_credentials(authority.pem, pair[1], pair[0])
            async with grpc.aio.secure_channel(target, shown) as channel:
                call = FactorServiceStub(channel).ListFactors(ListFactorsRequest(), metadata=by, timeout=10)
                if expected is None:
                    assert (await call).factors
                    public: Any = channel.unary_unary("/cofactor.v1.TokenService/GetJsonWebKeySet")
                    with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                        await public(b"", timeout=10)
                else:
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await call
                    assert caught.value.code() is expected


@pytest.mark.parametrize("engine", ["sqlite"])
async def test_the_grpc_socket_of_operators_is_its_users_alone(world: World, tmp_path: Path) -> None:
    path = tmp_path / "admin"
    async with management_of(world, Listening(None, None, admin=f"unix:{path}", drain_seconds=0)) as bound:
        assert bound.admin == f"unix:{path}"
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await FactorServiceStub(channel).ListFactors(ListFactorsRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("name", ["management", "admin"])
def test_operators_are_never_served_in_the_clear_to_others(name: str) -> None:
    given: dict[str, Any] = {name: "0.0.0.0:0"}
    with pytest.raises(PlaintextRefused, match="certificate"):
        Listening(None, None, plaintext_behind_proxy=True, **given).check()


def test_one_worker_serves_operators() -> None:
    listening = Listening(None, None, management="127.0.0.1:8081", admin="127.0.0.1:50052")
    own = [(own.management, own.admin) for own in map(listening.of_worker, (0, 1))]
    assert own == [("127.0.0.1:8081", "127.0.0.1:50052"), (None, None)]


@asynccontextmanager
async def readiness_of(world: World) -> AsyncIterator[tuple[httpx2.AsyncClient, asyncio.Event]]:
    """Serve HTTP alone; the event stops it."""
    stop, bound = asyncio.Event(), asyncio.get_running_loop().create_future()
    listening = Listening("127.0.0.1:0", None, drain_seconds=1)
    serving_task = asyncio.create_task(running.run(world.app, listening, stop, on_ready=bound.set_result))
    await asyncio.wait({serving_task, bound}, return_when=asyncio.FIRST_COMPLETED)
    async with httpx2.AsyncClient(base_url=f"http://{bound.result().http}") as client:
        yield client, stop
    stop.set()
    await serving_task


async def status_of(client: httpx2.AsyncClient, path: str) -> int:
    answer = await client.get(path)
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code


@pytest.mark.parametrize("engine", ["postgresql"])
@pytest.mark.requirement("S74")
async def test_a_process_whose_clock_is_off_lives_and_is_not_ready(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "CLOCK_EVERY", 0.01)
    async with readiness_of(world) as (client, _):
        assert await status_of(client, "/readyz") == 200
        world.clock.advance(-60)
        while await status_of(client, "/readyz") != 503:
            pass
        assert await status_of(client, "/livez") == 200


@pytest.mark.parametrize("engine", ["sqlite"])
async def test_a_process_that_drains_is_not_ready(world: World) -> None:
    async with readiness_of(world) as (client, stop):
        assert await status_of(client, "/readyz") == 200
        stop.set()
        # A connection that is open is served until its request is done; the kubelet opens new ones.
        with contextlib.suppress(httpx2.TransportError):
            while await status_of(client, "/readyz") == 200:
                pass


def test_an_address_taken_by_one_process_is_not_shared_with_another() -> None:
    with contextlib.closing(bind("127.0.0.1:0")) as held:
        for reuse_port in (False, True):
            with pytest.raises(StartFailed, match="address in use"):
                bind(name_of(held), reuse_port=reuse_port)


def test_a_dead_unix_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'socket'}"
    bind(address).close()
    with contextlib.closing(bind(address)), pytest.raises(StartFailed, match="address in use"):
        bind(address)


def test_workers_share_ports_and_count_their_metrics_ports_up() -> None:
    chosen, held = Listening("127.0.0.1:0", "[::1]:0", metrics="127.0.0.1:9464").shared()
    for sock in held:
        sock.close()
    assert chosen.reuse_port
    assert chosen.http != "127.0.0.1:0"
    assert [chosen.of_worker(number).metrics for number in (0, 1)] == ["127.0.0.1:9464", "127.0.0.1:9465"]


def test_workers_do_not_share_a_unix_socket(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="unix socket"):
        Listening(f"unix:{tmp_path / 'socket'}", None).shared()
