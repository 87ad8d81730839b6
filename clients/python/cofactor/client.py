"""Calls Cofactor from threads; `cofactor.aio` is the same for asyncio.

Requests and answers are the generated messages of `cofactor.v1`. What this adds: a connection that is encrypted unless
told otherwise, credentials, a deadline for every call, repeating what may be repeated, outcomes and errors as types,
and waiting for the answer to a challenge.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

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
    if isinstance(transport, Plaintext):
        transport.check(target)
        channel = grpc.insecure_channel(target, options=options)
    else:
        channel = grpc.secure_channel(target, transport.read(), options=options)
    return Client(channel, credentials, deadline=deadline)


class Client:
    """A connection with what is called over it, for any number of threads; a context manager that closes it.

    Attributes:
        tokens: Exchanges grants for tokens; `issue` is the same with an outcome to match on.
        challenges: Creates and answers challenges; the mfa_token goes along as `metadata=bearer(mfa_token)`.
        authenticators: Enrolls, lists and removes; the token goes along likewise.
        channel: For other services. What fails over it is a `CofactorError`, too, but for streams and `.future()`.
    """

    def __init__(self, channel: grpc.Channel, credentials: Credentials | None, *, deadline: float = DEADLINE) -> None:
        self._plain = channel
        self.channel = grpc.intercept_channel(channel, _Calls(credentials.metadata if credentials else (), deadline))
        self.tokens = TokenServiceStub(self.channel)
        self.challenges = ChallengeServiceStub(self.channel)
        self.authenticators = AuthenticatorServiceStub(self.channel)

    def issue(self, request: tokens_pb2.IssueTokenRequest, *, timeout: float | None = None) -> Outcome:
        """Exchange a grant, and return what became of it.

        Args:
            request: Gets a `request_id` where that makes repeating safe; the caller's message stays as it is.
            timeout: Seconds; default: the client's deadline.

        Raises:
            CofactorError: The grant was refused, or there was no answer.
        """
        return outcome(self.tokens.IssueToken(connecting.repeatable(request), timeout=timeout))

    def watch(
        self, mfa_token: str, oob_code: str, *, patience: float = PATIENCE
    ) -> Iterator[challenges_pb2.WatchChallengeResponse]:
        """Tell the state of a challenge, now and at every change, until it is approved or final.

        A connection that is lost is made anew, after pauses that grow; each state is told once.

        Args:
            mfa_token: Of the login.
            oob_code: Names the challenge.
            patience: Seconds without hearing anything, after which Unavailable is raised.

        Raises:
            CofactorError: The login can't go on; the reason says why.
        """
        watching = Watching(patience)
        request = challenges_pb2.WatchChallengeRequest(oob_code=oob_code)
        while True:
            call: Any = self.challenges.WatchChallenge(request, metadata=bearer(mfa_token))
            lost: CofactorError | None = None
            try:
                for change in call:
                    if watching.hears(change):
                        yield change
                    if watching.over:
                        return
            except grpc.RpcError as error:
                lost = typed(error)
            finally:
                call.cancel()  # ends the stream when the caller stops listening
            time.sleep(watching.lost(lost))

    def await_tokens(
        self, mfa_token: str, oob_code: str, binding_code: str = "", *, patience: float = PATIENCE
    ) -> Tokens | MfaRequired:
        """Wait until a challenge is answered, and redeem it.

        It watches; where the server can't have it watch, it polls, no faster than the server says.

        Args:
            mfa_token: Of the login.
            oob_code: Names the challenge.
            binding_code: What the user typed, where the challenge asks for it.
            patience: Seconds without hearing anything, after which it ends.

        Raises:
            CofactorError: The user refused, the time is over, or the login can't go on; the reason says which.
        """
        try:
            for _ in self.watch(mfa_token, oob_code, patience=patience) if not binding_code else ():
                pass
        except CofactorError as error:
            if not can_poll(error):
                raise
        # Whatever the state: redeeming tells, by tokens or by the server's own words on why there are none.
        grant = tokens_pb2.MfaOobGrant(mfa_token=mfa_token, oob_code=oob_code, binding_code=binding_code)
        polling = Polling(grant, patience)
        while True:
            try:
                if found := polling.hears(self.issue(polling.request())):
                    return found
            except CofactorError as error:
                polling.fails(error)
            time.sleep(polling.interval)

    def close(self) -> None:
        """End the connection and every call over it."""
        self._plain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class _Details(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: Pairs
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Calls(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Adds credentials and deadline, and makes errors typed."""

    def __init__(self, credentials: Pairs, deadline: float) -> None:
        self._credentials = credentials
        self._deadline = deadline

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        call = continuation(self._completed(client_call_details, self._deadline), request)
        if isinstance(call, grpc.RpcError) and isinstance(call, grpc.Future) and call.done() and call.exception():
            raise typed(call) from None
        return call

    def intercept_unary_stream(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        return continuation(self._completed(client_call_details, None), request)

    def _completed(self, given: Any, deadline: float | None) -> _Details:
        return _Details(
            given.method,
            deadline if given.timeout is None else given.timeout,
            (*(given.metadata or ()), *self._credentials),
            given.credentials,
            given.wait_for_ready,
            given.compression,
        )
