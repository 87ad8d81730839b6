"""What surrounds every call."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from cofactor.v1 import tokens_pb2
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.logins.grants import Grant, Outcome
from cofactor_server.errors import InvalidOtp, Unavailable
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from tests.unit.rpc.worlds import SERVER, Edge, by, on_a_socket, refusal

ISSUE = "/cofactor.v1.TokenService/IssueToken"
OTP = "492039"
GRANT = tokens_pb2.IssueTokenRequest(mfa_otp=tokens_pb2.MfaOtpGrant(mfa_token="mfa-token-7", otp=OTP))


def count(edge: Edge, method: str, code: str) -> float:
    value = edge.registry.get_sample_value("cofactor_rpc_calls_total", {"method": method, "code": code})
    timed = edge.registry.get_sample_value("cofactor_rpc_seconds_count", {"method": method, "code": code})
    assert value == timed or method == "unknown"
    return value or 0


@pytest.mark.requirement("S113")
@pytest.mark.parametrize("fault", [RuntimeError, KeyError, TimeoutError, NotImplementedError, Exception, grpc.RpcError])
async def test_a_fault_tells_the_caller_a_fixed_text_and_the_log_its_place(edge: Edge, fault: type[Exception]) -> None:
    edge.world.failure = fault(OTP, "mfa-token-7")
    with capture_logs() as logs:
        code, details = await refusal(edge.tokens.IssueToken(GRANT, metadata=by(SERVER)))
    assert (code, details["text"], details["ErrorInfo"].reason) == ("INTERNAL", "Internal error.", "INTERNAL")
    failed = next(line for line in logs if line["event"] == "rpc_failed")
    assert "worlds.py" in failed["faults"][0]["at"][-1]
    assert OTP not in str(logs)
    assert "mfa-token-7" not in str(logs)


async def test_the_causes_of_a_fault_are_logged_by_type_and_place(edge: Edge) -> None:
    try:
        try:
            raise ValueError(OTP)
        except ValueError as cause:
            raise RuntimeError(OTP) from cause
    except RuntimeError as error:
        edge.world.failure = error
    with capture_logs() as logs:
        await refusal(edge.tokens.IssueToken(GRANT, metadata=by(SERVER)))
    failed = next(line for line in logs if line["event"] == "rpc_failed")
    assert [fault["type"] for fault in failed["faults"]] == ["builtins.RuntimeError", "builtins.ValueError"]
    assert OTP not in str(logs)


@pytest.mark.requirement("S113")
async def test_the_access_log_tells_method_code_time_and_client_and_nothing_more(edge: Edge) -> None:
    edge.world.failure = InvalidOtp()
    with capture_logs() as logs:
        await refusal(edge.tokens.IssueToken(GRANT, metadata=by(SERVER)))
        await refusal(edge.tokens.IssueToken(GRANT))
    assert [{k: v for k, v in line.items() if k != "ms"} for line in logs] == [
        {"event": "rpc", "log_level": "info", "method": ISSUE, "code": "UNAUTHENTICATED", "client": client}
        for client in ("backend", "")
    ]


async def test_calls_are_counted_by_method_and_code(edge: Edge) -> None:
    await edge.tokens.IssueToken(GRANT, metadata=by(SERVER))
    edge.world.failure = InvalidOtp()
    await refusal(edge.tokens.IssueToken(GRANT, metadata=by(SERVER)))
    edge.world.failure = RuntimeError()
    await refusal(edge.tokens.IssueToken(GRANT, metadata=by(SERVER)))
    assert [count(edge, ISSUE, code) for code in ("OK", "UNAUTHENTICATED", "INTERNAL", "UNKNOWN")] == [1, 1, 1, 0]


async def test_unknown_methods_share_one_label(edge: Edge) -> None:
    for name in ("A", "B"):
        assert (await refusal(edge.raw(f"/cofactor.v1.TokenService/{name}", b"")))[0] == "UNIMPLEMENTED"
    assert count(edge, "unknown", "UNIMPLEMENTED") == 2


@pytest.mark.parametrize("octets", [b"\xff\xff", b"\x22\x05\x0a\x03\xed\xa0\x80"], ids=["corrupt", "lone surrogate"])
async def test_what_is_not_protobuf_is_a_malformed_request(edge: Edge, octets: bytes) -> None:
    code, details = await refusal(edge.raw(ISSUE, octets, metadata=by(SERVER)))
    assert (code, details["ErrorInfo"].reason, edge.world.asked) == ("INVALID_ARGUMENT", "INVALID_REQUEST", [])


async def test_nobody_learns_from_a_malformed_request_without_credentials(edge: Edge) -> None:
    _, details = await refusal(edge.raw(ISSUE, b"\xff\xff"))
    assert details["ErrorInfo"].reason == "INVALID_CLIENT"


async def test_an_abort_of_a_foreign_servicer_passes_unchanged(edge: Edge) -> None:
    stub: Any = health_pb2_grpc.HealthStub(edge.channel)
    code, details = await refusal(stub.Check(health_pb2.HealthCheckRequest(service="nobody's")))
    assert (code, "ErrorInfo" in details) == ("NOT_FOUND", False)
    await until(lambda: count(edge, "/grpc.health.v1.Health/Check", "NOT_FOUND") == 1)


async def test_a_generated_default_is_unimplemented_and_no_fault(edge: Edge) -> None:
    with capture_logs() as logs:
        code, details = await refusal(edge.raw("/grpc.health.v1.Health/List", b""))
    assert (code, details["ErrorInfo"].reason) == ("UNIMPLEMENTED", "UNIMPLEMENTED")
    assert [line["event"] for line in logs] == ["rpc"]


async def test_streams_of_both_directions_are_surrounded(edge: Edge) -> None:
    channel: Any = edge.channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([asked]))
    names = {service.name async for answer in call for service in answer.list_services_response.service}
    assert "cofactor.v1.TokenService" in names
    assert count(edge, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "OK") == 1


async def until(true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - what is waited for is counted by others
            await asyncio.sleep(0.01)


async def hang(edge: Edge) -> list[Any]:
    """Make the service wait for ever; return what became of it."""
    ends: list[Any] = []

    async def issue(caller: Caller, grant: Grant, request_id: str) -> Outcome:
        ends.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        raise AssertionError

    edge.world.issue = issue  # type: ignore[method-assign]
    return ends


async def test_a_client_that_leaves_cancels_its_call(edge: Edge) -> None:
    ends = await hang(edge)
    call = edge.tokens.IssueToken(GRANT, metadata=by(SERVER))
    task = asyncio.ensure_future(call)
    await until(lambda: ends)
    call.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: count(edge, ISSUE, "CANCELLED"))
    assert ends == ["begun", "cancelled"]


async def test_a_call_past_its_deadline_is_cancelled_and_counted_as_such(edge: Edge) -> None:
    ends = await hang(edge)
    code, _ = await refusal(edge.tokens.IssueToken(GRANT, metadata=by(SERVER), timeout=0.2))
    assert code == "DEADLINE_EXCEEDED"
    await until(lambda: count(edge, ISSUE, "DEADLINE_EXCEEDED") + count(edge, ISSUE, "CANCELLED"))
    assert ends == ["begun", "cancelled"]


@pytest.mark.parametrize("fault", [None, Unavailable, RuntimeError])
async def test_a_generator_ends_with_the_status_of_what_it_raised(edge: Edge, fault: type[Exception] | None) -> None:
    closed = []

    async def watch(request: Message, context: Any) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        try:
            yield health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
            if fault is not None:
                raise fault
        finally:
            closed.append(True)

    method = "/grpc.health.v1.Health/Watch"
    handler = grpc.unary_stream_rpc_method_handler(
        watch,
        health_pb2.HealthCheckRequest.FromString,
        health_pb2.HealthCheckResponse.SerializeToString,
    )
    edge.interceptor._handlers[method] = edge.interceptor._surrounded(method, handler)
    channel: Any = edge.channel
    call = channel.unary_stream(
        method,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest())
    answers = [(await call.read()).status]
    text = ""
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        text = error.details() or ""
    assert (answers, closed) == ([health_pb2.HealthCheckResponse.SERVING], [True])
    expected: dict[Any, str] = {None: "", Unavailable: str(Unavailable()), RuntimeError: "Internal error."}
    assert text == expected[fault]


async def test_a_fault_before_the_service_has_the_fixed_text_too() -> None:
    async with on_a_socket() as edge:
        edge.world.client = None  # type: ignore[method-assign, assignment]
        code, details = await refusal(edge.tokens.IssueToken(GRANT, metadata=by(SERVER)))
        assert (code, details["text"]) == ("INTERNAL", "Internal error.")
