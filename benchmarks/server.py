"""The process that is measured: Cofactor, or an empty handler behind the same transport."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec
import structlog
import uvloop
from cofactor.v1 import tokens_pb2 as pb
from cofactor.v1.tokens_pb2_grpc import TokenServiceServicer, add_TokenServiceServicer_to_server
from cofactor_server.app import Configuration, opened
from cofactor_server.domain.parties.clients import MFA_GRANTS, Capability
from cofactor_server.rpc.server import build_server, listen, new_server
from cofactor_server.services.operators.users_and_clients import NewClient
from cofactor_server.serving.running import collect_rarely
from cofactor_server.store.transactions.group_commit import Limits
from cofactor_server.vault.keyring import Keyring
from google.protobuf import duration_pb2
from grpc_health.v1 import health

from benchmarks.people import SCOPE, Clock
from tests.support.world import API, deployment


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is to be."""

    core: int
    database_url: str = ""
    """Empty for the empty handler."""
    keyring: str = ""
    token_length: int = 0
    """Of the empty handler's access token."""
    wait: float = Limits().wait
    kinds: tuple[str, ...] = ("totp", "recovery-code")
    listen_url: str = ""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself once it listens."""

    port: int
    client_id: str = ""
    client_secret: str = ""


class Empty(TokenServiceServicer):
    """Answers at once, always the same."""

    def __init__(self, token_length: int) -> None:
        self._answer = pb.IssueTokenResponse(
            tokens=pb.Tokens(
                access_token="x" * token_length,
                token_type="Bearer",
                expires_in=duration_pb2.Duration(seconds=86_400),
                scope=SCOPE,
            )
        )

    async def IssueToken(self, request: pb.IssueTokenRequest, context: Any) -> pb.IssueTokenResponse:
        return self._answer


def bare_server(token_length: int) -> grpc.aio.Server:
    """Return a server with the transport settings of ours and nothing else of it."""
    server = new_server()
    add_TokenServiceServicer_to_server(Empty(token_length), server)  # type: ignore[abstract]  # one method is called
    return server


@asynccontextmanager
async def serving(task: Task, clock: Clock) -> AsyncIterator[Ready]:
    """Run the server."""
    if not task.database_url:
        server = bare_server(task.token_length)
        port = listen(server, "127.0.0.1:0")
        await server.start()
        yield Ready(port=port)
        await server.stop(0)
        return
    configuration = Configuration(
        database_url=task.database_url,
        keyring=Keyring.load(Path(task.keyring), clock),
        deployment=deployment(kinds=frozenset(task.kinds)),
        listen_url=task.listen_url,
        clock=clock,
        limits=Limits(wait=task.wait),
        access_log=False,
    )
    async with opened(configuration) as app:
        client, secret = await app.operators.create_client(
            NewClient(
                "Bench",
                grant_types=MFA_GRANTS,
                capabilities=frozenset({Capability.FORWARD_SOURCE}),
                audiences=(API,),
                algorithm="ES256",
            )
        )
        server = build_server(app.services, app.interceptor(), health_servicer=health.aio.HealthServicer())
        port = listen(server, "127.0.0.1:0")
        await server.start()
        yield Ready(port=port, client_id=client.id, client_secret=secret)
        await server.stop(0)


async def main() -> None:
    """Serve until standard input ends; each line of it moves the clock to so many microseconds ahead."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    os.sched_setaffinity(0, {task.core})
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output speaks to the parent
    clock = Clock()
    async with serving(task, clock) as ready:
        collect_rarely()
        print(msgspec.json.encode(ready).decode(), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            clock.ahead = int(line)
            print("{}", flush=True)


if __name__ == "__main__":
    uvloop.run(main())
