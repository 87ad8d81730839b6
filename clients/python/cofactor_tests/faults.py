"""A server that answers as it is told to: what a real one does only on a bad day."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc.aio
from cofactor.v1 import challenges_pb2, tokens_pb2
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

Answer: TypeAlias = Message | grpc.StatusCode | status_pb2.Status
State: TypeAlias = challenges_pb2.ChallengeState.ValueType


def pending(seconds: float = 1) -> tokens_pb2.IssueTokenResponse:
    """Return that a challenge is not answered."""
    interval = duration_pb2.Duration(nanos=int(seconds * 1e9) % 10**9, seconds=int(seconds))
    return tokens_pb2.IssueTokenResponse(answer_pending=tokens_pb2.AnswerPending(poll_interval=interval))


def done() -> tokens_pb2.IssueTokenResponse:
    """Return tokens."""
    return tokens_pb2.IssueTokenResponse(tokens=tokens_pb2.Tokens(access_token="a.b.c", token_type="Bearer"))


def refusal(
    code: grpc.StatusCode, reason: str, *, domain: str = "cofactor.v1", after: int | None = None
) -> status_pb2.Status:
    """Return a status with details."""
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata={"hint": "why"})]
    if after is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=after)))
    packed = [any_pb2.Any() for _ in details]
    for box, detail in zip(packed, details, strict=True):
        box.Pack(detail)
    return status_pb2.Status(code=code.value[0], message="Said so.", details=packed)


@dataclass
class Faulty:
    """Gives one answer after the other; the last one again and again."""

    issues: Sequence[Answer] = ()
    watches: Sequence[Sequence[State | grpc.StatusCode]] = ()
    asked: list[tokens_pb2.IssueTokenRequest] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    watched: int = 0
    error: Exception | None = None
    """How the last call failed."""

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """Return what serves the two methods."""
        issue = grpc.unary_unary_rpc_method_handler(self._issue, tokens_pb2.IssueTokenRequest.FromString, _serialized)
        watch = grpc.unary_stream_rpc_method_handler(
            self._watch, challenges_pb2.WatchChallengeRequest.FromString, _serialized
        )
        return [
            grpc.method_handlers_generic_handler("cofactor.v1.TokenService", {"IssueToken": issue}),
            grpc.method_handlers_generic_handler("cofactor.v1.ChallengeService", {"WatchChallenge": watch}),
        ]

    async def _issue(self, request: tokens_pb2.IssueTokenRequest, context: Any) -> Any:
        self.asked.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        answer = self.issues[min(len(self.asked), len(self.issues)) - 1]
        if isinstance(answer, status_pb2.Status):
            await context.abort_with_status(rpc_status.to_status(answer))
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "as told")
        return answer

    async def _watch(self, request: Any, context: Any) -> AsyncIterator[challenges_pb2.WatchChallengeResponse]:
        self.watched += 1
        if not self.watches:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")
        for said in self.watches[min(self.watched, len(self.watches)) - 1]:
            if isinstance(said, grpc.StatusCode):
                await context.abort(said, "as told")
            else:
                yield challenges_pb2.WatchChallengeResponse(state=said)


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


@asynccontextmanager
async def serving(faulty: Faulty) -> AsyncIterator[str]:
    """Serve, and return the target."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(faulty.handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
