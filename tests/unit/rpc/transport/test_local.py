"""The in-process channel answers as a socket does: a real grpc.aio server keeps each promise, and LocalChannel too."""

import asyncio
import contextlib
import functools
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc
import grpc.aio
import pytest
from cofactor_server.origin import CURRENT_ORIGIN, Origin
from cofactor_server.rpc.transport.local import WINDOW, LocalChannel, LocalContext
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

SERVICE = "test.Teller"
MOOD: ContextVar[str] = ContextVar("MOOD", default="calm")
WRONG = status_pb2.Status(code=grpc.StatusCode.FAILED_PRECONDITION.value[0], message="wrong")
WRONG.details.add().Pack(error_details_pb2.ErrorInfo(reason="SPENT", domain="cofactor.v1", metadata={"id": "7"}))


class Teller:
    """A servicer that remembers: `seen` what it observed, `ended` when its waiting method was stopped."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.started = asyncio.Event()
        self.ended = asyncio.Event()

    async def Echo(self, request: StringValue, context: Any) -> StringValue:
        self.seen.append([(key, value) for key, value in context.invocation_metadata() if key != "user-agent"])
        return StringValue(value=request.value)

    async def Greet(self, request: StringValue, context: Any) -> StringValue:
        await context.send_initial_metadata((("hello", "there"), ("hello", "again"), ("hello-bin", b"\x00\xff")))
        context.set_trailing_metadata((("bye", "now"), ("bye-bin", b"\xfe")))
        return request

    async def Abort(self, request: StringValue, context: Any) -> StringValue:
        try:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing", (("why", "because"),))
        except Exception as error:
            self.seen.append((type(error), context.done(), context.code(), context.details()))
            if request.value != "swallow":
                raise
        return request

    async def AbortRich(self, request: StringValue, context: Any) -> StringValue:
        await context.abort_with_status(rpc_status.to_status(WRONG))
        return request

    async def Code(self, request: StringValue, context: Any) -> StringValue:
        context.set_code(grpc.StatusCode.ABORTED)
        context.set_details("by code")
        if request.value == "raise":
            raise ValueError("and by exception")
        return request

    async def Raise(self, request: StringValue, context: Any) -> StringValue:
        raise ValueError(request.value)

    async def Nothing(self, request: StringValue, context: Any) -> None:
        return None

    async def Wait(self, request: StringValue, context: Any) -> StringValue:
        context.add_done_callback(lambda done: self.seen.append(("done", done is context)))
        self.seen.append(context.time_remaining())
        self.started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.seen.append(("cancelled", context.done(), context.cancelled()))
            if request.value == "linger":
                await asyncio.sleep(0.05)
            self.ended.set()
            raise
        return request

    async def Count(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        try:
            for number in range(3):
                yield StringValue(value=f"{number}")
            if request.value == "abort":
                await context.abort_with_status(rpc_status.to_status(WRONG))
            if request.value == "raise":
                raise ValueError("midway")
            if request.value == "wait":
                await asyncio.sleep(30)
            context.set_trailing_metadata((("counted", "3"),))
        finally:
            self.ended.set()

    async def Flood(self, request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        try:
            while True:
                yield request
        finally:
            self.ended.set()

    async def Write(self, request: StringValue, context: Any) -> None:
        for number in range(3):
            await context.write(StringValue(value=f"{number}"))

    async def Join(self, requests: AsyncIterator[StringValue], context: Any) -> StringValue:
        return StringValue(value="".join([request.value async for request in requests]))

    async def Chat(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield StringValue(value=request.value.upper())

    async def Peek(self, request: StringValue, context: Any) -> StringValue:
        self.seen.append(getattr(context, "origin", None))
        self.seen.append(MOOD.get())
        MOOD.set("changed by the handler")
        return request


def register(teller: Teller, server: grpc.aio.Server) -> None:
    """Register as generated code does."""
    codec: Any = {"request_deserializer": StringValue.FromString, "response_serializer": StringValue.SerializeToString}
    shapes: dict[str, Any] = dict.fromkeys(("Count", "Flood", "Write"), grpc.unary_stream_rpc_method_handler)
    shapes |= {"Join": grpc.stream_unary_rpc_method_handler, "Chat": grpc.stream_stream_rpc_method_handler}
    handlers = {
        name: shapes.get(name, grpc.unary_unary_rpc_method_handler)(getattr(teller, name), **codec)
        for name in dir(teller)
        if name[0].isupper()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


class Stub:
    """Calls the teller as a generated stub does."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    def __getattr__(self, name: str) -> Any:
        shapes = {"Count": "unary_stream", "Flood": "unary_stream", "Write": "unary_stream"}
        shapes |= {"Join": "stream_unary", "Chat": "stream_stream"}
        return getattr(self.channel, shapes.get(name, "unary_unary"))(
            f"/{SERVICE}/{name}",
            request_serializer=StringValue.SerializeToString,
            response_deserializer=StringValue.FromString,
            _registered_method=True,
        )


Registration = Callable[[grpc.aio.Server], None]
Connect = Callable[..., Awaitable[Stub]]


@pytest.fixture(params=["socket", "in process"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    async with contextlib.AsyncExitStack() as stack:

        async def connected(registered: Teller | Registration, *interceptors: grpc.aio.ServerInterceptor) -> Stub:
            local = LocalChannel(interceptors)
            server = local if request.param == "in process" else grpc.aio.server(interceptors=interceptors)
            if isinstance(registered, Teller):
                register(registered, server)
            else:
                registered(server)
            if server is local:
                return Stub(await stack.enter_async_context(local))
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            stack.push_async_callback(server.stop, None)
            return Stub(await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}")))

        yield connected


@pytest.fixture
async def local() -> AsyncIterator[LocalChannel]:
    async with LocalChannel() as channel:
        yield channel


async def failure(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 2)


# Metadata


async def test_metadata_reaches_the_servicer_as_it_was_sent(connect: Connect) -> None:
    teller = Teller()
    sent = (("a", "1"), ("a", "2"), ("spaced", "x y"), ("raw-bin", b"\x00\xff"), ("octets", b"text"))
    await (await connect(teller)).Echo(StringValue(), metadata=sent)
    assert teller.seen == [[("a", "1"), ("a", "2"), ("spaced", "x y"), ("raw-bin", b"\x00\xff"), ("octets", "text")]]


async def test_a_metadata_object_is_as_good_as_pairs(connect: Connect) -> None:
    teller = Teller()
    await (await connect(teller)).Echo(StringValue(), metadata=grpc.aio.Metadata(("a", "1"), ("a", "2")))
    assert teller.seen == [[("a", "1"), ("a", "2")]]


@pytest.mark.parametrize(
    ("pair", "error"),
    [
        (("Upper", "x"), grpc.aio.InternalError),
        ((":path", "x"), grpc.aio.InternalError),
        (("a", "é"), grpc.aio.InternalError),
        (("a", "x\r\nb: y"), grpc.aio.InternalError),
        (("a-bin", "text"), TypeError),
        (("a", 1), TypeError),
    ],
)
async def test_metadata_that_http2_cannot_carry_is_refused(
    connect: Connect, pair: tuple[str, Any], error: type[Exception]
) -> None:
    teller = Teller()
    stub = await connect(teller)
    with pytest.raises(error):
        await stub.Echo(StringValue(), metadata=(pair,))
    assert teller.seen == []


async def test_initial_and_trailing_metadata_reach_the_client(connect: Connect) -> None:
    call = (await connect(Teller())).Greet(StringValue(value="x"))
    assert (await call).value == "x"
    assert list(await call.initial_metadata()) == [("hello", "there"), ("hello", "again"), ("hello-bin", b"\x00\xff")]
    assert list(await call.trailing_metadata()) == [("bye", "now"), ("bye-bin", b"\xfe")]
    assert (await call.code(), await call.details()) == (grpc.StatusCode.OK, "")


# Failures


async def test_an_abort_carries_code_details_and_metadata(connect: Connect) -> None:
    error = await failure((await connect(Teller())).Abort(StringValue()))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such thing")
    assert list(error.trailing_metadata()) == [("why", "because")]
    assert list(error.initial_metadata()) == []


@pytest.mark.parametrize("request_value", ["raise again", "swallow"])
async def test_an_abort_caught_as_an_exception_ends_the_call_all_the_same(connect: Connect, request_value: str) -> None:
    teller = Teller()
    error = await failure((await connect(teller)).Abort(StringValue(value=request_value)))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    for _ in range(900):  # over a socket the answer may be here before the handler goes on
        if teller.seen:
            break
        await asyncio.sleep(0.01)
    assert teller.seen == [(grpc.aio.AbortError, True, grpc.StatusCode.NOT_FOUND, "no such thing")]


@pytest.mark.parametrize("method", ["unary", "stream"])
async def test_rich_details_are_read_from_the_error(connect: Connect, method: str) -> None:
    stub = await connect(Teller())
    if method == "unary":
        error = await failure(stub.AbortRich(StringValue()))
    else:
        error = await failure(collect(stub.Count(StringValue(value="abort"))))
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # takes what both APIs raise
    assert status == WRONG


async def test_a_code_that_was_set_replaces_the_response(connect: Connect) -> None:
    error = await failure((await connect(Teller())).Code(StringValue()))
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "by code")


async def test_an_exception_becomes_unknown_with_its_text(connect: Connect) -> None:
    error = await failure((await connect(Teller())).Raise(StringValue(value="oops")))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "Unexpected <class 'ValueError'>: oops")


async def test_an_exception_keeps_the_code_set_before_it(connect: Connect) -> None:
    error = await failure((await connect(Teller())).Code(StringValue(value="raise")))
    text = "Unexpected <class 'ValueError'>: and by exception"
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, text)


async def test_a_servicer_that_returns_no_message_fails(connect: Connect) -> None:
    error = await failure((await connect(Teller())).Nothing(StringValue()))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert (error.details() or "").startswith("Unexpected <class 'TypeError'>")


async def test_an_unknown_method_is_unimplemented(connect: Connect) -> None:
    error = await failure((await connect(Teller())).Missing(StringValue()))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


async def test_a_generated_method_nobody_wrote_is_unimplemented(connect: Connect) -> None:
    unwritten = health_pb2_grpc.HealthServicer()
    stub = await connect(functools.partial(health_pb2_grpc.add_HealthServicer_to_server, unwritten))
    client: Any = health_pb2_grpc.HealthStub(stub.channel)
    error = await failure(client.Check(health_pb2.HealthCheckRequest()))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


# Deadlines and cancellation


async def test_the_deadline_ends_the_call_and_cancels_the_handler(connect: Connect) -> None:
    teller = Teller()
    call = (await connect(teller)).Wait(StringValue(), timeout=0.2)
    error = await failure(call)
    assert (error.code(), error.details()) == (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    await soon(teller.ended)
    for _ in range(900):
        if len(teller.seen) > 2:
            break
        await asyncio.sleep(0.01)
    assert 0 < teller.seen[0] < 1  # over a socket a millisecond may be added
    assert teller.seen[1:] == [("cancelled", False, False), ("done", True)]


async def test_without_a_deadline_no_time_remains_to_tell(connect: Connect) -> None:
    teller = Teller()
    call = (await connect(teller)).Wait(StringValue())
    await soon(teller.started)
    assert (call.time_remaining(), teller.seen) == (None, [None])


async def test_a_deadline_in_the_past_never_reaches_the_handler(connect: Connect) -> None:
    teller = Teller()
    error = await failure((await connect(teller)).Echo(StringValue(), timeout=-1))
    assert (error.code(), teller.seen) == (grpc.StatusCode.DEADLINE_EXCEEDED, [])


async def test_the_deadline_ends_a_stream(connect: Connect) -> None:
    teller = Teller()
    error = await failure(collect((await connect(teller)).Count(StringValue(value="wait"), timeout=0.2)))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await soon(teller.ended)


async def test_cancelling_the_call_cancels_the_handler(connect: Connect) -> None:
    teller = Teller()
    call = (await connect(teller)).Wait(StringValue())
    await soon(teller.started)
    assert [call.cancel(), call.cancel(), call.done(), call.cancelled()] == [True, False, True, True]
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await call.code(), await call.details()) == (
        grpc.StatusCode.CANCELLED,
        "Locally cancelled by application!",
    )
    await soon(teller.ended)


async def test_cancelling_the_awaiting_task_cancels_the_handler(connect: Connect) -> None:
    teller = Teller()
    stub = await connect(teller)
    task = asyncio.create_task(until(stub.Wait(StringValue())))
    await soon(teller.started)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await soon(teller.ended)


async def test_a_handler_slow_to_stop_does_not_hold_the_client(connect: Connect) -> None:
    teller = Teller()
    call = (await connect(teller)).Wait(StringValue(value="linger"))
    await soon(teller.started)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not teller.ended.is_set()
    await soon(teller.ended)


async def test_the_client_hears_of_the_end(connect: Connect) -> None:
    heard: list[bool] = []
    call = (await connect(Teller())).Echo(StringValue())
    call.add_done_callback(lambda ended: heard.append(ended is call))
    await call
    await asyncio.sleep(0.02)
    call.add_done_callback(lambda ended: heard.append(ended.done()))
    await asyncio.sleep(0.02)
    assert heard == [True, True]


# Streams


async def until(call: Awaitable[Any]) -> Any:
    return await call


async def collect(call: Any) -> list[str]:
    return [message.value async for message in call]


@pytest.mark.parametrize("method", ["Count", "Write"])
async def test_a_stream_arrives_whole_and_in_order(connect: Connect, method: str) -> None:
    call = getattr(await connect(Teller()), method)(StringValue())
    assert await collect(call) == ["0", "1", "2"]
    assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_can_be_read_message_by_message(connect: Connect) -> None:
    call = (await connect(Teller())).Count(StringValue())
    messages = [await call.read() for _ in range(3)]
    assert [message.value for message in messages] == ["0", "1", "2"]
    assert await call.read() is grpc.aio.EOF
    assert list(await call.trailing_metadata()) == [("counted", "3")]


@pytest.mark.parametrize(
    ("request_value", "code"), [("abort", grpc.StatusCode.FAILED_PRECONDITION), ("raise", grpc.StatusCode.UNKNOWN)]
)
async def test_a_stream_that_fails_midway_delivers_what_came_before(
    connect: Connect, request_value: str, code: grpc.StatusCode
) -> None:
    call = (await connect(Teller())).Count(StringValue(value=request_value))
    await asyncio.sleep(0.05)
    assert not call.done()
    received = [(await call.read()).value for _ in range(3)]
    error = await failure(call.read())
    assert (received, error.code(), call.done()) == (["0", "1", "2"], code, True)


async def test_a_cancelled_stream_stops_its_handler(connect: Connect) -> None:
    teller = Teller()
    call = (await connect(teller)).Count(StringValue(value="wait"))
    await call.read()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.read()
    await soon(teller.ended)


async def test_a_servicer_that_never_pauses_waits_for_its_reader(connect: Connect) -> None:
    teller = Teller()
    call = (await connect(teller)).Flood(StringValue(value="x"))
    for _ in range(WINDOW * 3):
        await call.read()
    call.cancel()
    await soon(teller.ended)


async def test_requests_may_be_iterated_or_written(connect: Connect) -> None:
    async def requests() -> AsyncIterator[StringValue]:
        for letter in "abc" * WINDOW:
            yield StringValue(value=letter)

    stub = await connect(Teller())
    assert (await stub.Join(requests())).value == "abc" * WINDOW
    assert (await stub.Join(iter([StringValue(value="d")]))).value == "d"
    call = stub.Join()
    await call.write(StringValue(value="e"))
    await call.done_writing()
    assert (await call).value == "e"
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(StringValue())


async def test_both_ends_may_stream_at_once(connect: Connect) -> None:
    call = (await connect(Teller())).Chat()
    await call.write(StringValue(value="a"))
    assert (await call.read()).value == "A"
    await call.write(StringValue(value="b"))
    assert (await call.read()).value == "B"
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_a_request_iterator_that_fails_cancels_the_call(connect: Connect) -> None:
    async def requests() -> AsyncIterator[StringValue]:
        yield StringValue(value="a")
        raise ValueError

    stub = await connect(Teller())
    with pytest.raises(asyncio.CancelledError):
        await stub.Join(requests())


# Interceptors


class Wrapper(grpc.aio.ServerInterceptor):
    """Writes down when it is asked and when the call passes through it."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        metadata = dict(handler_call_details.invocation_metadata)
        self.log.append(f"{self.name} asked {handler_call_details.method} {metadata.get('n')}")
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        inner: Any = handler.unary_stream or handler.unary_unary

        async def unary(request: StringValue, context: Any) -> StringValue:
            self.log.append(f"{self.name} in")
            response: StringValue = await inner(request, context)
            self.log.append(f"{self.name} out")
            return StringValue(value=f"{self.name}({response.value})")

        async def stream(request: StringValue, context: Any) -> AsyncIterator[StringValue]:
            async for response in inner(request, context):
                yield StringValue(value=f"{self.name}({response.value})")

        wrapped: Any = stream if handler.response_streaming else unary
        make: Any = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(wrapped, handler.request_deserializer, handler.response_serializer)


class Doorkeeper(grpc.aio.ServerInterceptor):
    """Turns away calls without a key, before the servicer is looked for."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        if dict(handler_call_details.invocation_metadata).get("key") == "broken":
            raise ValueError("broken key")
        if "key" in dict(handler_call_details.invocation_metadata):
            return await continuation(handler_call_details)

        async def refuse(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no key")

        return grpc.unary_unary_rpc_method_handler(refuse)


async def test_the_first_interceptor_is_the_outermost_and_asked_on_every_call(connect: Connect) -> None:
    log: list[str] = []
    stub = await connect(Teller(), Wrapper("A", log), Wrapper("B", log))
    answers = [(await stub.Echo(StringValue(value="x"), metadata=(("n", n),))).value for n in ("1", "2")]
    assert answers == ["A(B(x))"] * 2
    around = ["A in", "B in", "B out", "A out"]
    path = f"/{SERVICE}/Echo"
    assert log == [f"A asked {path} 1", f"B asked {path} 1", *around, f"A asked {path} 2", f"B asked {path} 2", *around]


async def test_interceptors_wrap_streams(connect: Connect) -> None:
    stub = await connect(Teller(), Wrapper("A", []), Wrapper("B", []))
    assert await collect(stub.Count(StringValue())) == ["A(B(0))", "A(B(1))", "A(B(2))"]


async def test_interceptors_are_asked_about_unknown_methods(connect: Connect) -> None:
    log: list[str] = []
    error = await failure((await connect(Teller(), Wrapper("A", log))).Missing(StringValue()))
    assert (error.code(), log) == (grpc.StatusCode.UNIMPLEMENTED, [f"A asked /{SERVICE}/Missing None"])


async def test_an_interceptor_may_answer_instead_of_the_servicer(connect: Connect) -> None:
    teller = Teller()
    stub = await connect(teller, Doorkeeper())
    error = await failure(stub.Echo(StringValue()))
    assert (error.code(), error.details(), teller.seen) == (grpc.StatusCode.UNAUTHENTICATED, "no key", [])
    assert (await stub.Echo(StringValue(value="x"), metadata=(("key", "1"),))).value == "x"


async def test_an_interceptor_that_raises_fails_the_call_like_a_servicer(connect: Connect) -> None:
    error = await failure((await connect(Teller(), Doorkeeper())).Echo(StringValue(), metadata=(("key", "broken"),)))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, "Unexpected <class 'ValueError'>: broken key")


# Servicers of others


async def test_health_is_checked_and_watched(connect: Connect) -> None:
    servicer = health.aio.HealthServicer()
    stub = await connect(functools.partial(health_pb2_grpc.add_HealthServicer_to_server, servicer))
    client: Any = health_pb2_grpc.HealthStub(stub.channel)
    assert (await client.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    watch = client.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    await servicer.enter_graceful_shutdown()
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()
    error = await failure(client.Check(health_pb2.HealthCheckRequest(service="missing")))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_services(connect: Connect) -> None:
    stub = await connect(functools.partial(reflection.enable_server_reflection, [reflection.SERVICE_NAME]))
    channel: Any = stub.channel
    client: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = client.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = [service.name async for answer in call for service in answer.list_services_response.service]
    assert names == [reflection.SERVICE_NAME]


# What only the in-process channel promises


async def test_neither_side_sees_what_the_other_does_to_a_message_later(local: LocalChannel) -> None:
    kept: list[StringValue] = []

    class Keeper(Teller):
        async def Echo(self, request: StringValue, context: Any) -> StringValue:
            kept.append(request)
            return request

    register(Keeper(), local)
    request = StringValue(value="as sent")
    call = Stub(local).Echo(request)
    request.value = "changed by the caller"
    response = await call
    response.value = "changed by the caller"
    assert kept[0].value == "as sent"


async def test_the_origin_is_read_when_the_call_is_made(local: LocalChannel) -> None:
    teller = Teller()
    register(teller, local)
    token = CURRENT_ORIGIN.set(Origin("203.0.113.7"))
    call = Stub(local).Peek(StringValue())
    CURRENT_ORIGIN.reset(token)
    await call
    await Stub(local).Peek(StringValue())
    assert teller.seen[::2] == [Origin("203.0.113.7"), None]


async def test_nothing_a_socket_peer_sends_becomes_an_origin() -> None:
    teller = Teller()
    server = grpc.aio.server()
    register(teller, server)
    port = server.add_insecure_port("127.0.0.1:0")
    token = CURRENT_ORIGIN.set(Origin("203.0.113.7"))
    try:
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await Stub(channel).Peek(StringValue(), metadata=(("origin", "203.0.113.7"),))
    finally:
        CURRENT_ORIGIN.reset(token)
        await server.stop(None)
    assert teller.seen[0] is None


async def test_the_handler_sees_the_callers_context_variables_but_cannot_set_them(local: LocalChannel) -> None:
    teller = Teller()
    register(teller, local)
    token = MOOD.set("set by the caller")
    await Stub(local).Peek(StringValue())
    assert (teller.seen[1], MOOD.get()) == ("set by the caller", "set by the caller")
    MOOD.reset(token)


async def test_an_in_process_peer_has_no_identity(local: LocalChannel) -> None:
    class Asker(Teller):
        async def Echo(self, request: StringValue, context: Any) -> StringValue:
            assert isinstance(context, LocalContext)
            identity = (context.peer_identities(), context.peer_identity_key(), context.auth_context())
            self.seen += [context.peer(), identity]
            return request

    teller = Asker()
    register(teller, local)
    await Stub(local).Echo(StringValue())
    assert teller.seen == ["in-process", (None, None, {})]


async def test_leaving_a_loop_over_a_stream_stops_its_handler(local: LocalChannel) -> None:
    teller = Teller()
    register(teller, local)
    async for _ in Stub(local).Count(StringValue(value="wait")):
        break
    await soon(teller.ended)


async def test_a_handler_that_cancels_itself_ends_the_call(local: LocalChannel) -> None:
    class Quitter(Teller):
        async def Echo(self, request: StringValue, context: Any) -> StringValue:
            raise asyncio.CancelledError

    register(Quitter(), local)
    assert (await failure(Stub(local).Echo(StringValue()))).code() is grpc.StatusCode.CANCELLED


async def test_illegal_trailing_metadata_ends_the_call(local: LocalChannel) -> None:
    class Shouter(Teller):
        async def Echo(self, request: StringValue, context: Any) -> StringValue:
            context.set_trailing_metadata((("LOUD", "secret"),))
            return request

    register(Shouter(), local)
    error = await failure(Stub(local).Echo(StringValue()))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert "secret" not in (error.details() or "")


async def test_a_streaming_method_that_is_neither_generator_nor_coroutine_fails(local: LocalChannel) -> None:
    class Lister(Teller):
        def Count(self, request: StringValue, context: Any) -> Any:
            return [request]

    register(Lister(), local)
    assert (await failure(collect(Stub(local).Count(StringValue())))).code() is grpc.StatusCode.UNKNOWN


async def test_a_closed_channel_has_stopped_its_handlers_and_takes_no_calls() -> None:
    teller = Teller()
    channel = LocalChannel()
    register(teller, channel)
    call = Stub(channel).Wait(StringValue(value="linger"))
    await soon(teller.started)
    assert channel.get_state() is grpc.ChannelConnectivity.READY
    await channel.close(grace=0.01)
    assert teller.ended.is_set()
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(grpc.aio.UsageError):
        Stub(channel).Echo(StringValue())


async def test_closing_lets_calls_finish_within_the_grace_period() -> None:
    channel = LocalChannel()
    register(Teller(), channel)
    call = Stub(channel).Echo(StringValue(value="x"))
    await channel.close(grace=1)
    assert (await call).value == "x"


async def test_a_call_leaves_nothing_for_the_garbage_collector(local: LocalChannel) -> None:
    register(Teller(), local)
    gc.collect()
    before = {id(thing) for thing in gc.get_objects() if isinstance(thing, LocalContext)}  # of other tests
    gc.disable()
    try:
        await Stub(local).Echo(StringValue(), timeout=9)
        await collect(Stub(local).Count(StringValue(), timeout=9))
        with contextlib.suppress(grpc.aio.AioRpcError):
            await Stub(local).AbortRich(StringValue(), timeout=9)
        for _ in range(100):  # until the handlers' tasks have ended
            await asyncio.sleep(0)
        left = [thing for thing in gc.get_objects() if isinstance(thing, LocalContext)]
        assert [thing for thing in left if id(thing) not in before] == []
    finally:
        gc.enable()
