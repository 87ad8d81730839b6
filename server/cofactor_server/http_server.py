"""The HTTP edge on a socket: uvicorn in somebody else's loop, with certificates that follow their files."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import structlog
import uvicorn
from fastapi import FastAPI

from cofactor_server.listening import BACKLOG, Listening, name_of
from cofactor_server.rpc import tls

KEEP_ALIVE = 30
"""Seconds that an idle HTTP connection is kept."""
CONNECTIONS = 2_048
MAX_HEADERS = 32_768
"""Octets of a request's head."""
CERTIFICATES_EVERY = 10.0
"""Seconds between looks at the files of HTTPS; gRPC looks at every handshake."""

log = structlog.get_logger("cofactor")


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and tell."""
        try:
            await super().startup(sockets)
        finally:
            self.begun.set()  # a failure is the task's, which `_until` looks at

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `told_to_stop`."""
        yield


class HttpServer:
    """The HTTP server, listening."""

    def __init__(self, server: _Uvicorn, sock: socket.socket, follower: asyncio.Task[None] | None) -> None:
        self.address = name_of(sock)
        self.task = asyncio.create_task(server.serve(sockets=[sock]), name="http")
        self._server = server
        self._follower = follower

    @classmethod
    async def started(cls, app: FastAPI, sock: socket.socket, listening: Listening) -> Self:
        """Return the server when it takes connections."""
        options: dict[str, Any] = {}
        follower = None
        if listening.tls is not None:
            context = tls.server_context(listening.tls)
            options["ssl_context_factory"] = lambda _config, _default: context
            follower = asyncio.create_task(_follow(listening.tls, context), name="certificates")
        config = uvicorn.Config(
            app,
            loop="none",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,  # the interceptor's has no URL in it
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
        http = cls(server, sock, follower)
        await server.begun.wait()
        return http

    async def stop(self) -> None:
        """Take no more connections, and let requests finish."""
        self._server.should_exit = True
        if self._follower is not None:
            self._follower.cancel()
        await asyncio.wait({self.task})
        if self.address.startswith("unix:"):
            with contextlib.suppress(FileNotFoundError):
                await asyncio.to_thread(Path(self.address.removeprefix("unix:")).unlink)


async def _follow(files: tls.TlsFiles, context: ssl.SSLContext) -> None:
    """Put new certificates into a context in use. An authority that is taken out of its file stays until a restart."""
    seen = _stamps(files)
    while True:
        await asyncio.sleep(CERTIFICATES_EVERY)
        if (now := _stamps(files)) == seen:
            continue
        try:
            tls.server_context(files)  # first into one that nobody uses: half a pair must not get into the other
            context.load_cert_chain(files.certificate, files.key, password="")
            if files.client_ca is not None:
                context.load_verify_locations(files.client_ca)
        except (tls.TlsUnusable, OSError) as error:
            log.error("tls_files_unusable", reason=type(error).__name__)
            continue
        seen = now
        log.info("tls_files_reloaded", certificate=str(files.certificate))


def _stamps(files: tls.TlsFiles) -> list[tuple[int, int, int]]:
    stamps = []
    for path in tls.paths(files):
        with contextlib.suppress(OSError):
            status = path.stat()
            stamps.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return stamps
