"""Why a call failed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "cofactor.v1"
_DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with a field of a request."""

    field: str
    description: str


class CofactorError(Exception):
    """A call failed. Subclasses are for what programs do something about.

    Args:
        code: gRPC's.
        message: For developers; it names no secret.
        reason: The name of an `ErrorReason` without its prefix, such as `INVALID_OTP`; also one that this version does
            not know. Empty where no server of Cofactor answered.
        metadata: What else the server says about it.
        violations: The fields of the request that are wrong.
        retry_delay: Seconds after which trying again makes sense; None where waiting does not help.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
        retry_delay: float | None = None,
    ) -> None:
        super().__init__(f"{reason or code.name}: {message}" if message else reason or code.name)
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata: Mapping[str, str] = metadata or {}
        self.violations = violations
        self.retry_delay = retry_delay


class RateLimited(CofactorError):
    """Too much was asked for; `retry_delay` says how long to wait."""


class Unavailable(CofactorError):
    """No server could be reached, or it can't answer now."""


class DeadlineExceeded(CofactorError):
    """No answer came in time. Whether the call took effect is unknown."""


_CLASSES: Mapping[grpc.StatusCode, type[CofactorError]] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: RateLimited,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


class _Ended(Protocol):
    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Iterable[tuple[str, Any]] | None: ...


def typed(error: grpc.RpcError) -> CofactorError:
    """Return what an error of gRPC says; for calls of the stubs that stream, which raise gRPC's own."""
    ended = cast("_Ended", error)
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in _details(ended):
        _ = detail.Unpack(info) or detail.Unpack(bad) or detail.Unpack(retry)
    ours = info.domain == DOMAIN
    code = ended.code()
    return _CLASSES.get(code, CofactorError)(
        code,
        ended.details() or "",
        reason=info.reason if ours else "",
        metadata=dict(info.metadata) if ours else None,
        violations=tuple(Violation(found.field, found.description) for found in bad.field_violations),
        retry_delay=retry.retry_delay.ToNanoseconds() / 1e9 if retry.HasField("retry_delay") else None,
    )


def _details(ended: _Ended) -> Iterable[Any]:
    status = status_pb2.Status()
    for name, value in ended.trailing_metadata() or ():
        if name == _DETAILS:
            try:
                status.ParseFromString(value)
            except DecodeError:  # of whatever stands in between
                return ()
    return status.details
