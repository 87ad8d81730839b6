"""A refusal as gRPC shows it: `google.rpc.Status` with ErrorInfo, and RetryInfo and BadRequest where they apply."""

import math

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from cofactor_server.errors import DOMAIN, TABLE, CofactorError


def status(error: CofactorError) -> grpc.Status:
    """Return what `context.abort_with_status` sends for `error`."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.metadata))
    ]
    if error.retry_after is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=_delay(error.retry_after)))
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=problem)
            for field, problem in error.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    packed = [any_pb2.Any() for _ in details]
    for envelope, detail in zip(packed, details, strict=True):
        envelope.Pack(detail)
    code, _ = grpc.StatusCode[TABLE[error.reason].grpc].value
    return rpc_status.to_status(status_pb2.Status(code=code, message=str(error), details=packed))


def _delay(seconds: float) -> duration_pb2.Duration:
    """Return whole milliseconds, never fewer than were asked for: a caller who waits this long is not too early."""
    milliseconds = max(0, math.ceil(seconds * 1_000))
    return duration_pb2.Duration(seconds=milliseconds // 1_000, nanos=milliseconds % 1_000 * 1_000_000)
