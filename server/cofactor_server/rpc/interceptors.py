"""What surrounds every call: errors, access log, metrics, caller; one interceptor, because nesting four costs more.

The order, outermost first: log and metrics see the final code; errors turn whatever is raised into a status, so that
grpc.aio never sends an exception's text; the caller is admitted before the request is even parsed. A logged fault names
types and places and never an exception's message, which may hold what the request held.
"""

import asyncio
import inspect
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakSet

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from cofactor_server.domain.callers import Caller
from cofactor_server.errors import TABLE, CofactorError, Internal, InvalidRequest, Unavailable, Unimplemented
from cofactor_server.rpc import errors
from cofactor_server.rpc.callers import Admission, Rule
from cofactor_server.rpc.credentials import Metadata
from cofactor_server.rpc.metrics import Metrics
from cofactor_server.rpc.transport.bursts import Bursts

LONGEST_CHAIN = 8
"""How many of an exception's causes are logged."""

_METADATA: ContextVar[Metadata] = ContextVar("metadata", default=())
"""The call's: gRPC puts it together for its interceptors, and would do so again when the context is asked."""

_Behavior = Callable[[Any, Any], Awaitable[Any]]
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stub only
_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]

_FACTORIES: dict[tuple[bool, bool], Callable[..., _Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class _Method(NamedTuple):
    """What is known of a method once and for all."""

    name: str
    rule: Rule | None
    behavior: _Behavior
    parse: Callable[[bytes], Any] | None
    streams: bool


class Interceptor(grpc.aio.ServerInterceptor):
    """One for each server or in-process channel, as the innermost: it keeps the handlers it has found.

    Args:
        admission: Tells who calls.
        metrics: Counts.
        bursts: Shared by all that one process serves; streams take no part.
        access_log: Whether each call is logged.
    """

    def __init__(
        self, admission: Admission, metrics: Metrics, bursts: Bursts | None = None, *, access_log: bool = True
    ) -> None:
        self._admission = admission
        self._bursts = bursts or Bursts()
        self._metrics = metrics
        self._access_log = access_log
        self._log = structlog.get_logger("cofactor.rpc").bind()  # once: a lazy logger binds anew at every call
        self._handlers: dict[str, _Handler] = {}
        self._streams: set[asyncio.Task[Any]] = set()
        self._ended: WeakSet[asyncio.Task[Any]] = WeakSet()

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "_Handler | None":
        """Return the surrounded handler; None, which the server answers itself, for an unknown method."""
        _METADATA.set(handler_call_details.invocation_metadata or ())
        method: str = handler_call_details.method
        handler = self._handlers.get(method)
        if handler is None:
            found = await continuation(handler_call_details)
            if found is None:
                self._metrics.unknown()
                return None
            handler = self._handlers[method] = self._surrounded(method, found)
        return handler

    def end_streams(self) -> None:
        """End every open stream with UNAVAILABLE: else one that is never closed holds a stopping server."""
        for task in self._streams.difference(self._ended):
            self._ended.add(task)
            task.cancel()

    def _surrounded(self, name: str, found: _Handler) -> _Handler:
        asks, answers = bool(found.request_streaming), bool(found.response_streaming)
        behavior: Any = {
            (False, False): found.unary_unary,
            (False, True): found.unary_stream,
            (True, False): found.stream_unary,
            (True, True): found.stream_stream,
        }[asks, answers]
        method = _Method(
            name,
            self._admission.rule(name),
            self._streaming(behavior) if answers else behavior,
            None if asks else found.request_deserializer,
            asks or answers,
        )

        async def serve(request: Any, context: Any) -> Any:
            return await self._serve(method, request, context)

        parse = found.request_deserializer if asks else None
        return _FACTORIES[asks, answers](serve, parse, found.response_serializer)

    async def _serve(self, method: _Method, request: Any, context: Any) -> Any:
        began = time.perf_counter()
        caller: Caller | None = None
        code = "OK"
        try:
            if not method.streams:
                await self._bursts.enter()
            caller = await self._admission.admit(method.rule, context, _METADATA.get())
            response = await method.behavior(method.parse(request) if method.parse else request, context)
            if not method.streams:
                await self._bursts.finish()
            code = _code(context) or code
            return response
        except grpc.aio.AbortError:
            code = _code(context) or "UNKNOWN"
            raise
        except asyncio.CancelledError:
            if not self._ends():
                code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
                raise
            refusal: CofactorError = Unavailable()
            code = TABLE[refusal.reason].grpc
        except Exception as error:
            refusal = _refusal(error, context)
            if isinstance(refusal, Internal):
                self._log.error("rpc_failed", method=method.name, faults=_faults(error))
            code = TABLE[refusal.reason].grpc
        finally:
            if not method.streams:
                self._bursts.leave()
            seconds = time.perf_counter() - began
            self._metrics.observe(method.name, code, seconds)
            if self._access_log:
                milliseconds = round(seconds * 1_000, 3)
                self._log.info("rpc", method=method.name, code=code, ms=milliseconds, client=_client_id(caller))
        # Outside, so that what happened is counted before the caller hears of it and is no context of the abort.
        return await context.abort_with_status(errors.status(refusal))

    def _streaming(self, behavior: Callable[[Any, Any], Any]) -> _Behavior:
        """Return a coroutine function for a generator or coroutine that answers with a stream."""

        async def stream(request: Any, context: Any) -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - told to mypy: a coroutine runs in a task
            self._streams.add(task)
            try:
                messages = behavior(request, context)
                if not inspect.isasyncgen(messages):
                    await messages
                    return
                async with aclosing(messages):
                    async for message in messages:
                        await context.write(message)
            finally:
                self._streams.discard(task)

        return stream

    def _ends(self) -> bool:
        """Tell whether the running call was cancelled by `end_streams`; if so it goes on, to say goodbye."""
        task = asyncio.current_task()
        if task is None or task not in self._ended:
            return False
        self._ended.discard(task)
        task.uncancel()
        return True


def _refusal(error: Exception, context: Any) -> CofactorError:
    """Return what the caller is told about an exception."""
    if isinstance(error, CofactorError):
        return error
    if isinstance(error, DecodeError):
        return InvalidRequest()
    if isinstance(error, NotImplementedError) and _code(context) == "UNIMPLEMENTED":  # a generated default
        return Unimplemented()
    return Internal()


def _code(context: Any) -> str:
    """Return the name of the status code that was set, or nothing."""
    return getattr(context.code(), "name", "")


def _client_id(caller: Caller | None) -> str:
    """Return whose application calls, or which operator; only what was verified is logged."""
    if caller is None:
        return ""
    if caller.client is not None:
        return caller.client.id
    if caller.operator is not None:
        return caller.operator.id
    authority = caller.login or caller.access
    return authority.client_id if authority is not None else ""


def _faults(error: BaseException | None) -> list[dict[str, Any]]:
    """Return type and places of an exception and of what led to it."""
    faults: list[dict[str, Any]] = []
    while error is not None and len(faults) < LONGEST_CHAIN:
        kind = type(error)
        places = [
            f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}"
            for frame, line in traceback.walk_tb(error.__traceback__)
        ]
        faults.append({"type": f"{kind.__module__}.{kind.__qualname__}", "at": places})
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return faults
