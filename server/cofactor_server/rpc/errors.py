"""A refusal as gRPC shows it: `google.rpc.Status` with ErrorInfo, and RetryInfo, QuotaFailure, BadRequest where apt."""

import math
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from cofactor_server.errors import DOMAIN, TABLE, CofactorError, Quota


def status(error: CofactorError) -> grpc.Status:
    """Return what `context.abort_with_status` sends for `error`."""
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=dict(error.metadata))
    ]
    if error.retry_after is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=_delay(error.retry_after)))
    if error.quota is not None and not error.quota.remaining and error.retry_after is not None:
        quota = error.quota
        violation = error_details_pb2.QuotaFailure.Violation(
            subject=quota.name, description=str(error), quota_id=quota.name, quota_value=quota.limit
        )
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
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
    told = rpc_status.to_status(status_pb2.Status(code=code, message=str(error), details=packed))
    if error.quota is None:
        return told
    return _Told(told.code, told.details, (*told.trailing_metadata, *rates(error.quota)))


@dataclass(frozen=True)
class _Told(grpc.Status):
    """What `abort_with_status` reads of a status."""

    code: grpc.StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def tell(context: Any, quota: Quota | None) -> None:
    """Tell of the budget that a call which succeeds is counted in, as a refusal does."""
    if quota is not None:
        context.set_trailing_metadata(rates(quota))


def rates(quota: Quota) -> tuple[tuple[str, str], ...]:
    """Return the metadata that tells of a budget, by the names of HTTP, which copies them (W1.3)."""
    return (
        ("x-ratelimit-limit", str(quota.limit)),
        ("x-ratelimit-remaining", str(quota.remaining)),
        ("x-ratelimit-reset", str(quota.resets_at)),
    )


def _delay(seconds: float) -> duration_pb2.Duration:
    """Return whole milliseconds, never fewer than were asked for: a caller who waits this long is not too early."""
    milliseconds = max(0, math.ceil(seconds * 1_000))
    return duration_pb2.Duration(seconds=milliseconds // 1_000, nanos=milliseconds % 1_000 * 1_000_000)
