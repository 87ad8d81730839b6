"""An operator's hook: a real server that answers what a test tells it to, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc.aio
from cofactor.hooks.v1 import decisions_pb2 as pb
from cofactor_server.hooks.target import HookTarget

METHOD = "/cofactor.hooks.v1.PolicyDecisionService/Decide"
AS_RULED = pb.DecideResponse(as_ruled=pb.AsRuled())
SKIP = pb.DecideResponse(skip_mfa=pb.SkipMfa())

Says = pb.DecideResponse | bytes | grpc.StatusCode | Literal["nothing"]


def require(*acr_values: str, two_kinds: bool = False, kinds: Sequence[str] = ()) -> pb.DecideResponse:
    return pb.DecideResponse(require_mfa=pb.RequireMfa(acr_values=acr_values, two_kinds=two_kinds, kinds=kinds))


def deny(note: str = "") -> pb.DecideResponse:
    return pb.DecideResponse(deny=pb.Deny(note=note))


@dataclass
class HookServer(grpc.GenericRpcHandler):
    """Octets it sends as they are; a status it ends the call with; `nothing` it says for as long as anybody listens."""

    says: Says = field(default_factory=lambda: AS_RULED)
    asked: list[pb.DecideRequest] = field(default_factory=list)
    at_ask: Any = None
    """An awaitable function that is called before it answers."""
    address: str = ""
    server: grpc.aio.Server | None = None

    @property
    def target(self) -> HookTarget:
        return HookTarget(f"dns:///{self.address}")

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        assert handler_call_details.method == METHOD
        return grpc.unary_unary_rpc_method_handler(self._decide, pb.DecideRequest.FromString, lambda answer: answer)

    async def _decide(self, request: pb.DecideRequest, context: Any) -> bytes:
        self.asked.append(request)
        if self.at_ask is not None:
            await self.at_ask()
        match self.says:
            case pb.DecideResponse() as answer:
                return answer.SerializeToString()
            case bytes() as octets:
                return octets
            case grpc.StatusCode() as code:
                await context.abort(code, "alice@example.test is not welcome")
        await asyncio.Event().wait()
        raise AssertionError

    async def stop(self) -> None:
        assert self.server is not None
        await self.server.stop(0)


@asynccontextmanager
async def hook_server(credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[HookServer]:
    """Listen on a port of the loopback, with TLS if there are credentials."""
    hook, server = HookServer(), grpc.aio.server()
    server.add_generic_rpc_handlers((hook,))
    anywhere = "127.0.0.1:0"
    port = server.add_secure_port(anywhere, credentials) if credentials else server.add_insecure_port(anywhere)
    hook.server, hook.address = server, f"127.0.0.1:{port}"
    await server.start()
    try:
        yield hook
    finally:
        await server.stop(0)
