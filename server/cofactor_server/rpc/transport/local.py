"""The in-process channel: the servicers, called through the same interceptors as on a socket, without the socket.

It answers as grpc.aio (1.80, 1.85) does, oddities included: code proven here holds over the network too. Where that one
leaves the client hanging until its deadline (a handler that cancels itself, illegal trailing metadata, an abort with
OK) it ends the call. A generated method nobody has overridden is not `async`: it runs on the loop, not in a thread.

Messages are serialized and parsed again by the stub's and the handler's functions, though nothing needs the bytes:
neither side may see what the other does to a message later, and `CopyFrom` saves 0.1 to 0.4 µs of a small message, but
needs to know that both sides mean the same class.

The file is long because the interfaces are wide: half of it is the methods that grpc.aio's abstract classes ask for.
"""

import asyncio
import functools
import inspect
import logging
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, NoReturn, TypeAlias

import grpc
import grpc.aio

from cofactor_server.origin import CURRENT_ORIGIN, Origin

WINDOW = 16  # messages a writer may be ahead of its reader: a generator that never awaits must not hold the loop

_Convert = Callable[[Any], Any] | None
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in its stubs only
_legal_key = re.compile(r"[0-9a-z_.-]+").fullmatch
_legal_text = re.compile(r"[ -~]*").fullmatch
_log = logging.getLogger(__name__)


class Metadatum(NamedTuple):
    """One pair of metadata, as grpc.aio hands it out."""

    key: str
    value: str | bytes


class _Status(NamedTuple):
    code: grpc.StatusCode
    details: str
    trailing: tuple[Metadatum, ...] = ()


_CANCELLED = _Status(grpc.StatusCode.CANCELLED, "Locally cancelled by application!")
_EXPIRED = _Status(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def _as_sent(metadata: Iterable[tuple[str, str | bytes]] | None) -> tuple[Metadatum, ...]:
    """Return the pairs as a peer would receive them; refuse, without printing its value, what no socket would carry."""
    pairs = []
    for key, value in metadata or ():
        received = value
        if not _legal_key(key):
            raise grpc.aio.InternalError(f"Illegal metadata key {key!r}")
        if key.endswith("-bin"):
            if not isinstance(value, bytes):
                raise TypeError(f"Binary metadata key {key!r} expected bytes, got {type(value)}")
        else:
            received = value.decode("latin-1") if isinstance(value, bytes) else value
            if not _legal_text(received):
                raise grpc.aio.InternalError(f"Illegal metadata value for key {key!r}")
        pairs.append(Metadatum(key, received))
    return tuple(pairs)


class _Exchange:
    """One call's state, shared by its two ends."""

    half_closed = False  # the client has no more requests
    streaming = False  # the client may read more than one response
    answered = False  # the status is the server's, not the client's own
    status: _Status | None = None
    initial: tuple[Metadatum, ...] | None = None
    handler: asyncio.Task[None] | None = None
    feeder: asyncio.Task[None] | None = None
    timer: asyncio.TimerHandle | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float | None) -> None:
        self.loop = loop
        self.deadline = None if timeout is None else loop.time() + timeout
        self.requests: deque[Any] = deque()
        self.responses: deque[Any] = deque()
        self.listeners: list[Callable[[], None]] = []
        self._waiters: list[asyncio.Future[None]] = []

    def time_remaining(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - self.loop.time())

    def change(self) -> asyncio.Future[None]:
        """Return a future of the next change; both ends wait for everything by it."""
        waiter = self.loop.create_future()
        self._waiters.append(waiter)
        return waiter

    def changed(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        if self.listeners and self.outcome() is not None:
            listeners, self.listeners = self.listeners, []
            for listener in listeners:
                self.loop.call_soon(listener)

    def outcome(self) -> _Status | None:
        """Return the status when the client may know it: it follows the last message."""
        return None if self.streaming and self.responses else self.status

    def answer(self, status: _Status) -> None:
        """End the call with the server's word, unless the client has left."""
        if self.status is None:
            self.answered = True
            self._end(status)

    def leave(self, status: _Status) -> None:
        """End the call with the client's word: what is unread is lost, and the handler stops unless it has answered."""
        if self.outcome() is None:
            self.responses.clear()
            self._end(status)
            if self.handler is not None and not self.answered:
                self.handler.cancel()

    def _end(self, status: _Status) -> None:
        self.status = status
        self.initial = self.initial or ()
        if self.timer is not None:
            self.timer.cancel()
        if self.feeder is not None:
            self.feeder.cancel()
        self.changed()

    async def send(self, request: Any) -> None:
        while len(self.requests) >= WINDOW and self.status is None:
            await self.change()
        if self.status is not None:
            raise asyncio.InvalidStateError("RPC already finished.")
        if self.half_closed:
            raise asyncio.InvalidStateError('RPC is half closed after calling "done_writing".')
        self.requests.append(request)
        self.changed()

    def half_close(self) -> None:
        self.half_closed = True
        self.changed()

    async def feed(self, requests: Any, encode: Callable[[Any], Any]) -> None:
        """Send what the client's iterator yields; an iterator that fails cancels the call, as in grpc.aio."""
        try:
            if hasattr(requests, "__aiter__"):
                async for request in requests:
                    await self.send(encode(request))
            else:
                for request in requests:
                    await self.send(encode(request))
            self.half_close()
        except Exception:
            _log.debug("The client's request iterator failed", exc_info=True)
            self.leave(_CANCELLED)


class LocalContext(grpc.aio.ServicerContext[Any, Any]):
    """What a servicer sees of an in-process call; `origin` is what `CURRENT_ORIGIN` held when the call was made."""

    def __init__(self, exchange: _Exchange, metadata: tuple[Metadatum, ...], origin: Origin | None) -> None:
        self.origin = origin
        self._exchange = exchange
        self._metadata = metadata
        self._trailing: tuple[Metadatum, ...] = ()
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._abort: grpc.aio.AbortError | None = None
        self._decode: _Convert = None
        self._encode: _Convert = None

    async def read(self) -> Any:
        exchange = self._exchange
        self._require_running()
        while not exchange.requests:
            if exchange.half_closed:
                return grpc.aio.EOF
            await exchange.change()
            self._require_running()
        raw = exchange.requests.popleft()
        exchange.changed()
        return self._decode(raw) if self._decode else raw

    async def _requests(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    async def write(self, message: Any) -> None:
        exchange = self._exchange
        self._require_running()
        raw = self._encode(message) if self._encode else message
        while len(exchange.responses) >= WINDOW:
            await exchange.change()
            self._require_running()
        exchange.responses.append(raw)
        exchange.initial = exchange.initial or ()
        exchange.changed()

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        self._require_running()
        if self._exchange.initial is not None:
            raise grpc.aio.UsageError("Send initial metadata failed: already sent")
        self._exchange.initial = _as_sent(initial_metadata)
        self._exchange.changed()

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        if self._abort is not None:
            raise grpc.aio.UsageError("Abort already called!")
        if code is grpc.StatusCode.OK:
            raise ValueError("OK is no status to abort with")
        self._trailing = _as_sent(trailing_metadata) or self._trailing
        self._code, self._details = code, details or self._details
        self._abort = grpc.aio.AbortError("Locally aborted.")
        self._exchange.answer(_Status(code, self._details, self._trailing))
        raise self._abort

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self._trailing = _as_sent(trailing_metadata)

    def trailing_metadata(self) -> Any:
        return self._trailing

    def invocation_metadata(self) -> Any:
        return self._metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> Any:
        return self._code

    def set_details(self, details: str) -> None:
        self._details = details

    def details(self) -> str:
        return self._details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Do nothing: nothing is transmitted."""

    def disable_next_message_compression(self) -> None:
        """Do nothing: nothing is transmitted."""

    def peer(self) -> str:
        return "in-process"

    def peer_identities(self) -> Iterable[bytes] | None:
        return None

    def peer_identity_key(self) -> str | None:
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {}

    def time_remaining(self) -> Any:
        return self._exchange.time_remaining()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._exchange.handler is not None:
            self._exchange.handler.add_done_callback(lambda _: callback(self))

    def done(self) -> bool:
        return self._exchange.answered

    def cancelled(self) -> bool:
        """Tell whether the servicer set CANCELLED: grpc.aio does not report the client's cancellation here either."""
        return self._code is grpc.StatusCode.CANCELLED

    def _require_running(self) -> None:
        if self._abort is not None:
            raise self._abort
        if self._exchange.answered:
            raise grpc.aio.UsageError("RPC already finished.")
        if self._exchange.status is not None:
            raise grpc.aio.InternalError("The client has left.")

    async def run(self, handler: _Handler) -> None:
        """Run the handler and answer with what it returns, or with the status it has set."""
        self._decode, self._encode = handler.request_deserializer, handler.response_serializer
        behavior: Any
        if handler.request_streaming:
            behavior = handler.stream_stream if handler.response_streaming else handler.stream_unary
            result = behavior(self._requests(), self)
        else:
            behavior = handler.unary_stream if handler.response_streaming else handler.unary_unary
            result = behavior(await self.read(), self)
        if inspect.isasyncgen(result):
            async with aclosing(result):
                async for message in result:
                    await self.write(message)
        else:
            response = await result if inspect.iscoroutine(result) else result
            if not handler.response_streaming and self._code in (None, grpc.StatusCode.OK):
                await self.write(response)
            elif response is not None and handler.response_streaming:
                raise TypeError(f"A streaming method is a coroutine or an async generator, not {type(response)}")
        self._require_running()
        self._exchange.answer(_Status(self._code or grpc.StatusCode.OK, self._details, self._trailing))

    def fail(self, error: Exception, method: str) -> None:
        """Answer for a servicer that raised: its code if it has set one, else UNKNOWN, and the exception's text."""
        self._abort = None  # its traceback leads back here: a circle that only the collector would break
        if self._exchange.status is not None:
            return
        _log.error("Unexpected [%s] raised by servicer method [%s]", type(error).__name__, method, exc_info=error)
        code = grpc.StatusCode.UNKNOWN if self._code in (None, grpc.StatusCode.OK) else self._code
        self._exchange.answer(_Status(code, f"Unexpected {type(error)}: {error}", self._trailing))


class _Call(grpc.aio.Call):
    """What the client sees of a call."""

    def __init__(self, exchange: _Exchange, encode: _Convert, decode: _Convert) -> None:
        self._exchange = exchange
        self._encode = encode or _unchanged
        self._decode = decode or _unchanged

    def cancelled(self) -> bool:
        status = self._exchange.outcome()
        return status is not None and status.code is grpc.StatusCode.CANCELLED

    def done(self) -> bool:
        return self._exchange.outcome() is not None

    def time_remaining(self) -> float | None:
        return self._exchange.time_remaining()

    def cancel(self) -> bool:
        running = not self.done()
        self._exchange.leave(_CANCELLED)
        return running

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._exchange.listeners.append(functools.partial(callback, self))
        self._exchange.changed()

    async def initial_metadata(self) -> grpc.aio.Metadata:
        while self._exchange.initial is None:
            await self._exchange.change()
        return grpc.aio.Metadata(*self._exchange.initial)

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata(*(await self._outcome()).trailing)

    async def code(self) -> grpc.StatusCode:
        return (await self._outcome()).code

    async def details(self) -> str:
        return (await self._outcome()).details

    async def wait_for_connection(self) -> None:
        """Return at once: there is nothing to connect to."""

    async def write(self, request: Any) -> None:
        if self._exchange.feeder is not None:
            raise grpc.aio.UsageError("The iterator and read/write APIs may not be mixed on a single RPC.")
        try:
            await self._exchange.send(self._encode(request))
        except asyncio.CancelledError:
            self.cancel()
            raise

    async def done_writing(self) -> None:
        self._exchange.half_close()

    async def _outcome(self) -> _Status:
        while (status := self._exchange.outcome()) is None:
            await self._exchange.change()
        return status

    def _raise_unless_ok(self, status: _Status) -> None:
        if status is _CANCELLED:
            raise asyncio.CancelledError
        if status.code is not grpc.StatusCode.OK:
            initial = grpc.aio.Metadata(*self._exchange.initial or ())
            raise grpc.aio.AioRpcError(status.code, initial, grpc.aio.Metadata(*status.trailing), status.details)


class _UnaryResponse(_Call, grpc.aio.UnaryUnaryCall[Any, Any], grpc.aio.StreamUnaryCall[Any, Any]):
    def __await__(self) -> Generator[Any, None, Any]:
        exchange = self._exchange
        try:
            while exchange.status is None:
                yield from exchange.change()
        except asyncio.CancelledError:
            self.cancel()
            raise
        self._raise_unless_ok(exchange.status)
        return self._decode(exchange.responses[0])


class _StreamResponse(_Call, grpc.aio.UnaryStreamCall[Any, Any], grpc.aio.StreamStreamCall[Any, Any]):
    def __init__(self, exchange: _Exchange, encode: _Convert, decode: _Convert) -> None:
        super().__init__(exchange, encode, decode)
        exchange.streaming = True

    def __del__(self) -> None:
        # Whoever leaves an `async for` early just drops the call; the collector may run in any thread.
        if not self.done() and not self._exchange.loop.is_closed():
            self._exchange.loop.call_soon_threadsafe(self._exchange.leave, _CANCELLED)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if (message := await self.read()) is grpc.aio.EOF:
            raise StopAsyncIteration
        return message

    async def read(self) -> Any:
        exchange = self._exchange
        try:
            while not exchange.responses:
                if exchange.status is not None:
                    self._raise_unless_ok(exchange.status)
                    return grpc.aio.EOF
                await exchange.change()
        except asyncio.CancelledError:
            self.cancel()
            raise
        raw = exchange.responses.popleft()
        exchange.changed()
        return self._decode(raw)


def _unchanged(message: Any) -> Any:
    return message


class _HandlerCallDetails(grpc.HandlerCallDetails):
    def __init__(self, method: str, invocation_metadata: Any) -> None:
        self.method = method
        self.invocation_metadata = invocation_metadata


class LocalChannel(grpc.aio.Channel, grpc.aio.Server):
    """A server to register servicers with, and the channel for stubs that call them in this process.

    Parameters:
        interceptors: as for `grpc.aio.server`: the first is the outermost, and each is asked once per call.
    """

    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor] = ()) -> None:
        self._interceptors = tuple(interceptors)
        self._registered: dict[str, _Handler] = {}
        self._generic: list[grpc.GenericRpcHandler] = []
        self._running: dict[asyncio.Task[None], _Exchange] = {}
        self._closed = asyncio.Event()

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        self._generic.extend(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, _Handler]) -> None:
        self._registered.update({f"/{service_name}/{name}": handler for name, handler in method_handlers.items()})

    def unary_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return functools.partial(self._unary, _UnaryResponse, method, request_serializer, response_deserializer)

    def unary_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return functools.partial(self._unary, _StreamResponse, method, request_serializer, response_deserializer)

    def stream_unary(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return functools.partial(self._stream, _UnaryResponse, method, request_serializer, response_deserializer)

    def stream_stream(
        self, method: str, request_serializer: Any = None, response_deserializer: Any = None, **_: Any
    ) -> Any:
        return functools.partial(self._stream, _StreamResponse, method, request_serializer, response_deserializer)

    def _unary(
        self, call: type[_Call], path: str, encode: _Convert, decode: _Convert, request: Any, **options: Any
    ) -> _Call:
        """Start a call; the request is copied now, so what the caller does to it afterwards stays with the caller."""
        raw = encode(request) if encode else request
        exchange = self._open(path, **options)
        exchange.requests.append(raw)
        exchange.half_closed = True
        return call(exchange, encode, decode)

    def _stream(
        self,
        call: type[_Call],
        path: str,
        encode: _Convert,
        decode: _Convert,
        request_iterator: Any = None,
        **options: Any,
    ) -> _Call:
        exchange = self._open(path, **options)
        if request_iterator is not None:
            exchange.feeder = exchange.loop.create_task(exchange.feed(request_iterator, encode or _unchanged))
        return call(exchange, encode, decode)

    def _open(
        self,
        path: str,
        timeout: float | None = None,
        metadata: Iterable[tuple[str, str | bytes]] | None = None,
        credentials: grpc.CallCredentials | None = None,
        **_: Any,  # wait_for_ready, compression: nothing to wait for, nothing transmitted
    ) -> _Exchange:
        """Start the handler in a task of its own: it sees the caller's context variables, but cannot set them."""
        if self._closed.is_set():
            raise grpc.aio.UsageError("Channel is closed.")
        if credentials is not None:
            raise grpc.aio.UsageError("Call credentials are for secure channels: send metadata.")
        details = _HandlerCallDetails(path, _as_sent(metadata))
        exchange = _Exchange(asyncio.get_running_loop(), timeout)
        context = LocalContext(exchange, details.invocation_metadata, CURRENT_ORIGIN.get())
        exchange.handler = exchange.loop.create_task(self._serve(details, context, exchange))
        self._running[exchange.handler] = exchange
        exchange.handler.add_done_callback(self._running.__delitem__)
        if timeout is not None:
            if timeout > 0:
                exchange.timer = exchange.loop.call_later(timeout, exchange.leave, _EXPIRED)
            else:
                exchange.leave(_EXPIRED)
        return exchange

    async def _serve(self, details: _HandlerCallDetails, context: LocalContext, exchange: _Exchange) -> None:
        try:
            handler = await self._find(0, details)
            if handler is None:
                exchange.answer(_Status(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"))
            else:
                await context.run(handler)
        except asyncio.CancelledError:
            exchange.answer(_Status(grpc.StatusCode.CANCELLED, "The handler was cancelled."))
            raise
        except Exception as error:  # an abort too, which has answered already
            context.fail(error, details.method)

    async def _find(self, position: int, details: grpc.HandlerCallDetails) -> "_Handler | None":
        if position < len(self._interceptors):
            inward = functools.partial(self._find, position + 1)
            return await self._interceptors[position].intercept_service(inward, details)
        if (registered := self._registered.get(details.method)) is not None:
            return registered
        found = (handler.service(details) for handler in self._generic)
        return next((handler for handler in found if handler is not None), None)

    async def close(self, grace: float | None = None) -> None:
        """Refuse new calls, give running ones `grace` seconds, cancel the rest; return when their handlers ended."""
        self._closed.set()
        running = {task: call for task, call in self._running.items() if task is not asyncio.current_task()}
        if running and grace:
            await asyncio.wait(running, timeout=grace)
        for call in running.values():
            call.leave(_CANCELLED)
        if running:
            await asyncio.wait(running)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: ARG002  the interface's
        return grpc.ChannelConnectivity.SHUTDOWN if self._closed.is_set() else grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        if last_observed_state is self.get_state():
            await self._closed.wait()

    async def channel_ready(self) -> None:
        """Return at once: there is nothing to connect to."""

    async def __aenter__(self) -> "LocalChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _no_socket(self, *_: object) -> NoReturn:
        raise grpc.aio.UsageError("The in-process channel has no socket to listen on.")

    add_insecure_port: Any = _no_socket
    add_secure_port: Any = _no_socket
    start: Any = _no_socket
    stop: Any = close
    wait_for_termination: Any = _no_socket
