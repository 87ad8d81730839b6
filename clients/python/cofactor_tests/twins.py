"""The client for threads and the one for asyncio, called alike: what holds of one has to hold of the other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol, TypeAlias

from cofactor import aio, client
from cofactor.client import Credentials, MfaRequired, Outcome, Tokens, bearer
from cofactor.connecting import Pairs, Transport
from cofactor.v1 import challenges_pb2, tokens_pb2

State: TypeAlias = challenges_pb2.ChallengeState.ValueType


class Twin(Protocol):
    """Either form of the client."""

    async def issue(self, request: tokens_pb2.IssueTokenRequest, **given: Any) -> Outcome: ...

    async def call(self, service: str, method: str, request: Any, token: str = "", **given: Any) -> Any: ...

    def watch(self, mfa_token: str, oob_code: str) -> AsyncIterator[State]: ...

    async def await_tokens(self, mfa_token: str, oob_code: str, binding_code: str = "") -> Tokens | MfaRequired: ...

    async def close(self) -> None: ...


class ForAsyncio:
    """`cofactor.aio`."""

    def __init__(self, target: str, credentials: Credentials, transport: Transport, **given: Any) -> None:
        self.client = aio.connect(target, credentials, transport, **given)

    async def issue(self, request: tokens_pb2.IssueTokenRequest, **given: Any) -> Outcome:
        return await self.client.issue(request, **given)

    async def call(self, service: str, method: str, request: Any, token: str = "", **given: Any) -> Any:
        rpc = getattr(getattr(self.client, service), method)
        return await rpc(request, metadata=_authority(token), **given)

    async def watch(self, mfa_token: str, oob_code: str) -> AsyncIterator[State]:
        async for change in self.client.watch(mfa_token, oob_code):
            yield change.state

    async def await_tokens(self, mfa_token: str, oob_code: str, binding_code: str = "") -> Tokens | MfaRequired:
        return await self.client.await_tokens(mfa_token, oob_code, binding_code)

    async def close(self) -> None:
        await self.client.close()


class ForThreads:
    """`cofactor.client`, in threads beside the test."""

    def __init__(self, target: str, credentials: Credentials, transport: Transport, **given: Any) -> None:
        self.client = client.connect(target, credentials, transport, **given)

    async def issue(self, request: tokens_pb2.IssueTokenRequest, **given: Any) -> Outcome:
        return await asyncio.to_thread(self.client.issue, request, **given)

    async def call(self, service: str, method: str, request: Any, token: str = "", **given: Any) -> Any:
        rpc: Callable[..., Any] = getattr(getattr(self.client, service), method)
        return await asyncio.to_thread(rpc, request, metadata=_authority(token), **given)

    async def watch(self, mfa_token: str, oob_code: str) -> AsyncIterator[State]:
        changes = self.client.watch(mfa_token, oob_code)
        while (change := await asyncio.to_thread(next, changes, None)) is not None:
            yield change.state

    async def await_tokens(self, mfa_token: str, oob_code: str, binding_code: str = "") -> Tokens | MfaRequired:
        return await asyncio.to_thread(self.client.await_tokens, mfa_token, oob_code, binding_code)

    async def close(self) -> None:
        self.client.close()


Form: TypeAlias = Callable[..., Twin]
TWINS: tuple[type[ForAsyncio], type[ForThreads]] = (ForAsyncio, ForThreads)


def _authority(token: str) -> Pairs:
    return bearer(token) if token else ()
