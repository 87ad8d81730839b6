"""Runs one serving process: HTTP and gRPC in one event loop, from ready to drained."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import grpc.aio
import prometheus_client
import structlog
from grpc_health.v1 import health

from cofactor_server.app import Application
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rpc import server as rpc
from cofactor_server.rpc.transport.tls import TlsFiles
from cofactor_server.serving.http_server import HttpServer, Readiness
from cofactor_server.serving.listening import Listening, StartFailed, bind, joined
from cofactor_server.settings import split_address

log = structlog.get_logger("cofactor")


@dataclass(frozen=True, slots=True)
class Bound:
    """The addresses that a process actually listens on."""

    http: str | None
    grpc: str | None
    more: tuple[str, ...] = ()
    """Further addresses of gRPC."""
    management: str | None = None
    """The address of operators' calls over HTTP."""
    admin: str | None = None
    """The address of operators' calls over gRPC."""


def nothing_more(_: grpc.aio.Server) -> None:
    """Register no further services."""


@contextlib.contextmanager
def told_to_stop(parent: int | None = None) -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set; a second signal has its default effect.

    Args:
        parent: A file descriptor that becomes readable when the supervising process has ended, which counts as a
            signal.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def told() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)
        if parent is not None:
            loop.remove_reader(parent)

    for number in signals:
        loop.add_signal_handler(number, told)
    if parent is not None:
        loop.add_reader(parent, told)
    try:
        yield stop
    finally:
        told()


def collect_rarely() -> None:
    """Exclude objects that live as long as the process from garbage collection, and collect the rest less often.

    Calls leave no reference cycles, and a collection in the middle of a batch delays every call in it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)


async def run(
    application: Application,
    listening: Listening,
    stop: asyncio.Event,
    *,
    http: HttpApplication | None = None,
    http_socket: socket.socket | None = None,
    more: Sequence[Listening] = (),
    register: Callable[[grpc.aio.Server], None] = nothing_more,
    on_ready: Callable[[Bound], None] = lambda _: None,
) -> None:
    """Serve until `stop` is set, then let running calls finish.

    Args:
        application: The open application; its opener closes it.
        listening: The listen addresses.
        stop: Ends serving when set.
        http: The HTTP edge; None for the application's own.
        http_socket: A socket for HTTP that is already bound; None to bind `listening.http`.
        more: Further listeners for gRPC.
        register: Adds further services to each gRPC server.
        on_ready: Called once, when calls are answered.

    Raises:
        StartFailed: An address can't be bound.
        PlaintextRefused: Others could read the traffic.
        TlsUnusable: The certificates can't be used.
    """
    servicer = health.aio.HealthServicer()
    await rpc.announce(servicer, serving=False)
    readiness, ready = Readiness(), asyncio.Event()

    async def report(serving: bool) -> None:
        readiness.serving = serving
        await rpc.announce(servicer, serving=serving)
        if serving:
            ready.set()

    parts: list[_Grpc | HttpServer] = []
    with contextlib.ExitStack() as stack:
        if listening.metrics is not None:
            stack.enter_context(_metrics(application, listening.metrics))
        try:
            if listening.grpc is not None:
                for place in (listening, *more):
                    part = await _Grpc.started(application, place, servicer, register)
                    parts.append(part)  # one by one, so that started parts are stopped if the next one fails
            if listening.http is not None:
                sock = http_socket or bind(listening.http, reuse_port=listening.reuse_port)
                edge = http or application.http()
                readiness.answer(edge)
                parts.append(await HttpServer.started(edge, sock, listening))
            if listening.management is not None:
                own = replace(listening, tls=listening.management_tls)
                sock = bind(listening.management, private=True)
                parts.append(await HttpServer.started(application.management(), sock, own, for_operators=True))
            if listening.admin is not None:
                parts.append(await _Grpc.of_operators(application, listening.admin, listening))
            await _until(stop, ready, parts, application, report, on_ready)
        finally:
            log.info("stopping")
            readiness.serving = False
            application.end_streams()
            await asyncio.gather(*(part.stop() for part in parts))


async def _until(
    stop: asyncio.Event,
    ready: asyncio.Event,
    parts: "list[_Grpc | HttpServer]",
    application: Application,
    report: Callable[[bool], Any],
    on_ready: Callable[[Bound], None],
) -> None:
    """Return when `stop` is set; raise the error of a part that ended before that."""
    upkeep = asyncio.create_task(application.upkeep.run(report), name="upkeep")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    answers = asyncio.create_task(ready.wait(), name="ready")
    lasting = {upkeep, stopped, *(part.task for part in parts if isinstance(part, HttpServer))}
    try:
        await asyncio.wait({answers, *lasting}, return_when=asyncio.FIRST_COMPLETED)
        if ready.is_set():
            collect_rarely()
            on_ready(_bound(parts))
            await asyncio.wait(lasting, return_when=asyncio.FIRST_COMPLETED)
        for task in lasting:
            if task.done():
                task.result()
    finally:
        for task in (upkeep, stopped, answers):
            task.cancel()
        await asyncio.gather(upkeep, stopped, answers, return_exceptions=True)


def _bound(parts: "list[_Grpc | HttpServer]") -> Bound:
    http = [part.address for part in parts if isinstance(part, HttpServer) and not part.for_operators]
    grpc = [part.address for part in parts if isinstance(part, _Grpc) and not part.for_operators]
    management = [part.address for part in parts if isinstance(part, HttpServer) and part.for_operators]
    admin = [part.address for part in parts if isinstance(part, _Grpc) and part.for_operators]
    return Bound(
        next(iter(http), None),
        next(iter(grpc), None),
        tuple(grpc[1:]),
        next(iter(management), None),
        next(iter(admin), None),
    )


class _Grpc:
    """A listening gRPC server."""

    def __init__(
        self, server: grpc.aio.Server, stop: Callable[[], Any], address: str, *, for_operators: bool = False
    ) -> None:
        self._server = server
        self.stop = stop
        self.address = address
        self.for_operators = for_operators

    @classmethod
    async def started(
        cls,
        application: Application,
        listening: Listening,
        servicer: health.aio.HealthServicer,
        register: Callable[[grpc.aio.Server], None],
    ) -> Self:
        address = listening.grpc or ""
        interceptor = application.interceptor()
        server = rpc.build_server(
            application.services,
            interceptor,
            health_servicer=servicer,
            reflect=listening.reflection,
            reuse_port=listening.reuse_port,
        )
        register(server)
        behind_proxy = listening.plaintext_behind_proxy
        address = await _listening(server, address, listening.tls, plaintext_behind_proxy=behind_proxy)
        return cls(server, lambda: rpc.drain(server, interceptor, servicer, listening.drain_seconds), address)

    @classmethod
    async def of_operators(cls, application: Application, address: str, listening: Listening) -> Self:
        """Serve only the operators' services; a unix socket accepts only this operating-system user."""
        server = application.admin_server()
        before = os.umask(0o177)
        try:
            address = await _listening(server, address, listening.admin_tls)
        finally:
            os.umask(before)
        return cls(server, lambda: server.stop(listening.drain_seconds), address, for_operators=True)


async def _listening(
    server: grpc.aio.Server, address: str, files: TlsFiles | None, *, plaintext_behind_proxy: bool = False
) -> str:
    """Start a server, and return the address that it actually listens on."""
    try:
        port = rpc.listen(server, address, files, plaintext_behind_proxy=plaintext_behind_proxy)
    except RuntimeError:
        raise StartFailed(f"{address}: address in use, or not this machine's") from None
    await server.start()
    return address if address.startswith("unix:") else joined(split_address(address)[0], port)


@contextlib.contextmanager
def _metrics(application: Application, address: str) -> Iterator[None]:
    """Serve Prometheus metrics from a separate thread, so that they can be read while the event loop is busy."""
    host, port = split_address(address)
    try:
        server, thread = prometheus_client.start_http_server(port, host, application.metrics)
    except OSError:
        raise StartFailed(f"{address}: address in use") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
