"""Serves the HTTP edge on a socket: uvicorn in an event loop that it does not own."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from cofactor_server.rest.application import HttpApplication
from cofactor_server.rpc.transport import tls
from cofactor_server.serving.lingering import LingeringProtocol
from cofactor_server.serving.listening import BACKLOG, Listening, name_of

KEEP_ALIVE = 30
"""How many seconds an idle HTTP connection is kept open."""
CONNECTIONS = 2_048
MAX_HEADERS = 32_768
"""The maximum size of a request's head, in bytes."""


class Readiness:
    """Whether this process is ready to serve: the state of `grpc.health.v1`, for HTTP health checks."""

    def __init__(self) -> None:
        self.serving = False

    def answer(self, edge: HttpApplication) -> None:
        """Add `GET /livez`, which answers while the process runs, and `GET /readyz`, which returns 503 if not ready."""
        headers = {"cache-control": "no-store"}

        async def live(_request: Request) -> PlainTextResponse:
            return PlainTextResponse("ok", headers=headers)

        async def ready(_request: Request) -> PlainTextResponse:
            text, status = ("ok", 200) if self.serving else ("not ready", 503)
            return PlainTextResponse(text, status, headers)

        edge.add("GET", "/livez", live)
        edge.add("GET", "/readyz", ready)


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then set `begun`, after a failure too."""
        try:
            await super().startup(sockets)
        finally:
            self.begun.set()  # a failure ends the task, which `_until` watches

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `told_to_stop`."""
        yield


class HttpServer:
    """A listening HTTP server."""

    def __init__(self, server: _Uvicorn, sock: socket.socket, *, for_operators: bool) -> None:
        self.address = name_of(sock)
        self.for_operators = for_operators
        self.task = asyncio.create_task(server.serve(sockets=[sock]), name="http")
        self._server = server

    @classmethod
    async def started(
        cls, app: HttpApplication, sock: socket.socket, listening: Listening, *, for_operators: bool = False
    ) -> Self:
        """Return the server once it accepts connections."""
        options: dict[str, Any] = {}
        if listening.tls is not None:
            context = tls.following_context(listening.tls)
            options["ssl_context_factory"] = lambda _config, _default: context
        config = uvicorn.Config(
            app,
            loop="none",
            http=LingeringProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,  # the interceptor logs calls, without URLs
            server_header=False,
            proxy_headers=False,  # rest.edge reads them, from trusted proxies only
            backlog=BACKLOG,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=max(1, round(listening.drain_seconds)),
            h11_max_incomplete_event_size=MAX_HEADERS,
            **options,
        )
        server = _Uvicorn(config)
        http = cls(server, sock, for_operators=for_operators)
        await server.begun.wait()
        return http

    async def stop(self) -> None:
        """Accept no more connections, and let requests finish."""
        self._server.should_exit = True
        await asyncio.wait({self.task})
        if self.address.startswith("unix:"):
            with contextlib.suppress(FileNotFoundError):
                await asyncio.to_thread(Path(self.address.removeprefix("unix:")).unlink)
