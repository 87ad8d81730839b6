"""Calls Cofactor from asyncio; `cofactor.client` is the same for threads, and says what is what."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self, cast

import grpc.aio

from cofactor import connecting
from cofactor.connecting import DEADLINE, Credentials, Pairs, Plaintext, PlaintextRefused, Tls, Transport, bearer
from cofactor.errors import CofactorError, DeadlineExceeded, RateLimited, Unavailable, Violation, typed
from cofactor.outcomes import MfaRequired, Outcome, Pending, Tokens, outcome
from cofactor.v1 import challenges_pb2, tokens_pb2
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
from cofactor.v1.challenges_pb2_grpc import ChallengeServiceStub
from cofactor.v1.tokens_pb2_grpc import TokenServiceStub
from cofactor.waiting import PATIENCE, Polling, Watching, can_poll

__all__ = [
    "Client",
    "CofactorError",
    "Credentials",
    "DeadlineExceeded",
    "MfaRequired",
    "Outcome",
    "Pending",
    "Plaintext",
    "PlaintextRefused",
    "RateLimited",
    "Tls",
    "Tokens",
    "Unavailable",
    "Violation",
    "bearer",
    "connect",
    "typed",
]


def connect(
    target: str,
    credentials: Credentials | None = None,
    transport: Transport = Tls(),  # noqa: B008 - a frozen value
    *,
    deadline: float = DEADLINE,
) -> "Client":
    """Return a client of the server at `target`, such as `mfa.example.com:443`; it connects at its first call.

    Args:
        target: In gRPC's syntax of names.
        credentials: Who the client is; None for calls that need none.
        transport: `Tls(…)`, or `Plaintext()` to this machine.
        deadline: Seconds that a unary call may take, unless the call itself says `timeout=`.

    Raises:
        PlaintextRefused: Secrets would leave this machine in the clear.
        OSError: A file of `transport` can't be read.
    """
    options = connecting.options(transport)
    metadata = credentials.metadata if credentials else ()
    interceptors = [_Unary(metadata, deadline), _Streams(metadata)]
    if isinstance(transport, Plaintext):
        transport.check(target)
        return Client(grpc.aio.insecure_channel(target, options=options, interceptors=interceptors))
    return Client(grpc.aio.secure_channel(target, transport.read(), options=options, interceptors=interceptors))


class Client:
    """A connection with what is called over it; an asynchronous context manager that closes it.

    Attributes:
        tokens: Exchanges grants for tokens; `issue` is the same with an outcome to match on.
        challenges: Creates and answers challenges; the mfa_token goes along as `metadata=bearer(mfa_token)`.
        authenticators: Enrolls, lists and removes; the token goes along likewise.
        channel: For other services. What fails over it is a `CofactorError`, too, but for streams.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.tokens = TokenServiceStub(channel)
        self.challenges = ChallengeServiceStub(channel)
        self.authenticators = AuthenticatorServiceStub(channel)

    async def issue(self, request: tokens_pb2.IssueTokenRequest, *, timeout: float | None = None) -> Outcome:  # noqa: ASYNC109 - gRPC's word
        """Exchange a grant, and return what became of it, as `cofactor.client.Client.issue` does."""
        return outcome(await self.tokens.IssueToken(connecting.repeatable(request), timeout=timeout))

    async def watch(
        self, mfa_token: str, oob_code: str, *, patience: float = PATIENCE
    ) -> AsyncIterator[challenges_pb2.WatchChallengeResponse]:
        """Tell the state of a challenge until it is approved or final, as `cofactor.client.Client.watch` does."""
        watching = Watching(patience)
        request = challenges_pb2.WatchChallengeRequest(oob_code=oob_code)
        while True:
            call = self.challenges.WatchChallenge(request, metadata=bearer(mfa_token))
            lost: CofactorError | None = None
            try:
                async for change in call:
                    if watching.hears(change):
                        yield change
                    if watching.over:
                        return
            except grpc.aio.AioRpcError as error:
                lost = typed(error)
            finally:
                call.cancel()
            await asyncio.sleep(watching.lost(lost))

    async def await_tokens(
        self, mfa_token: str, oob_code: str, binding_code: str = "", *, patience: float = PATIENCE
    ) -> Tokens | MfaRequired:
        """Wait until a challenge is answered, and redeem it, as `cofactor.client.Client.await_tokens` does."""
        try:
            if not binding_code:
                async for _ in self.watch(mfa_token, oob_code, patience=patience):
                    pass
        except CofactorError as error:
            if not can_poll(error):
                raise
        grant = tokens_pb2.MfaOobGrant(mfa_token=mfa_token, oob_code=oob_code, binding_code=binding_code)
        polling = Polling(grant, patience)
        while True:
            try:
                if found := polling.hears(await self.issue(polling.request())):
                    return found
            except CofactorError as error:
                polling.fails(error)
            await asyncio.sleep(polling.interval)

    async def close(self) -> None:
        """End the connection and every call over it."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds credentials and deadline, and makes errors typed."""

    def __init__(self, credentials: Pairs, deadline: float) -> None:
        self._credentials = credentials
        self._deadline = deadline

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        timeout = self._deadline if client_call_details.timeout is None else client_call_details.timeout
        call = await continuation(_with(client_call_details, self._credentials, timeout), request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise typed(error) from None
        return call


class _Streams(grpc.aio.UnaryStreamClientInterceptor):
    """Adds credentials."""

    def __init__(self, credentials: Pairs) -> None:
        self._credentials = credentials

    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        timeout = client_call_details.timeout
        return await continuation(_with(client_call_details, self._credentials, timeout), request)


def _with(given: Any, credentials: Pairs, timeout: float | None) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(given.metadata or ()), *credentials)
    return cast("grpc.aio.ClientCallDetails", given._replace(timeout=timeout, metadata=metadata))
