"""Refusals as HTTP has them: reason, row of the table, JSON; in OAuth's shape or, for Guardian apps, in theirs."""

import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from starlette.responses import JSONResponse

from cofactor_server import errors

MAX_DESCRIPTION = 400
RATES = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
"""Told by the gRPC API in metadata of the same names; in lower case, by which a library looks them up (W1.3)."""
PUSH_REJECTED_AS_GRANT = replace(errors.TABLE["CHALLENGE_DENIED"], http=403, oauth="invalid_grant")
"""A refused push as documents and mobile SDKs have it, beside what was recorded (W17.1)."""

# What gRPC itself answers, without an ErrorInfo, when the call never reached a servicer.
_UNEXPLAINED = {
    grpc.StatusCode.UNAVAILABLE: "UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "TOO_MANY_REQUESTS",
    grpc.StatusCode.UNIMPLEMENTED: "UNIMPLEMENTED",
}
_DEVICE_PATHS = (
    "/appliance-mfa/",
    "/rich-consents/",
    "/api/enroll",
    "/api/resolve-transaction",
    "/api/device-accounts/",
)
# W13 has the codes; of the statuses those that differ from the table's.
_DEVICE_CODES: Mapping[str, str] = {
    "PAIRING_NOT_FOUND": "enrollment_transaction_not_found",
    "AUTHENTICATOR_REGISTERED": "enrollment_conflict",
    "TOO_MANY_AUTHENTICATORS": "already_enrolled",
    "FACTOR_DISABLED": "feature_disabled",
    "INVALID_REQUEST": "invalid_body",
    "MISSING_PARAMETER": "invalid_body",
    "REQUEST_TOO_LARGE": "invalid_body",
    "BEARER_MISSING": "invalid_token",
    "DEVICE_INVALID": "invalid_token",
    "INSUFFICIENT_AUTHENTICATION": "insufficient_scope",
    "AUTHENTICATOR_NOT_FOUND": "device_account_not_found",
    "TRANSACTION_NOT_FOUND": "login_transaction_not_found",
    "NOT_FOUND": "method_not_found",
    "METHOD_NOT_ALLOWED": "method_not_found",
}
_DEVICE_STATUSES: Mapping[str, int] = {"TOO_MANY_AUTHENTICATORS": 409, "FACTOR_DISABLED": 403}
TOLD = ("hint", "enrollment_way", "contact")
"""Metadata of a refusal that is a member of its body, beside those of OAuth."""
_unprintable = re.compile(r'[^ -~]|["\\]')  # RFC 6749 section 5.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, from whichever side."""

    reason: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Iterable[tuple[str, str]] = ()
    retry_after: float | None = None
    rates: Mapping[str, str] = field(default_factory=dict)
    """Headers that tell of a budget."""


def of_error(error: errors.CofactorError) -> Refusal:
    """Return what this edge itself has found wrong."""
    return Refusal(error.reason, error.metadata, error.violations, error.retry_after)


def of_call(error: grpc.aio.AioRpcError) -> Refusal:
    """Return what the gRPC API has answered; a fault it does not explain is INTERNAL, and its message stays here."""
    info, retry, request = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RetryInfo(),
        error_details_pb2.BadRequest(),
    )
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an AioRpcError has what is read of a Call
        for detail in status.details if status else ():
            _ = detail.Unpack(info) or detail.Unpack(retry) or detail.Unpack(request)
    except (ValueError, DecodeError):  # details of somebody else
        _log.warning("The details of an error with code %s cannot be read", error.code().name)
    reason = info.reason if info.domain == errors.DOMAIN and info.reason in errors.TABLE else ""
    if not reason:
        reason = _UNEXPLAINED.get(error.code(), "INTERNAL")
        if reason == "INTERNAL":
            _log.error("The gRPC API answered %s without a known reason", error.code().name)
    delay = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return Refusal(
        reason,
        dict(info.metadata),  # a protobuf map invents the keys it is asked for
        [(violation.field, violation.description) for violation in request.field_violations],
        delay if delay > 0 else None,
        _rates(error.trailing_metadata()),
    )


async def answered(call: Any) -> tuple[Any, dict[str, str]]:
    """Return what a call of the gRPC API answers, and the headers that tell of its budget; a refusal is raised."""
    response = await call
    return response, _rates(await call.trailing_metadata())


def _rates(metadata: Any) -> dict[str, str]:
    return {key: str(value) for key, value in metadata or () if key in RATES}


def answer(
    refusal: Refusal, headers: Mapping[str, str] | None = None, *, row: errors.Row | None = None, path: str = ""
) -> JSONResponse:
    """Return the response: the row's status and code, its text, and `hint` and Retry-After where known.

    Parameters:
        refusal: why the request is refused.
        headers: further ones.
        row: instead of the table's; its text is the same.
        path: what was asked for, which says whose shape the answer has.
    """
    row = row or errors.TABLE[refusal.reason]
    text = _printable(_describe(refusal))
    status = row.http
    body: dict[str, str | int]
    if is_for_devices(path):
        status = _DEVICE_STATUSES.get(refusal.reason, status)
        code = _DEVICE_CODES.get(refusal.reason, row.oauth)
        body = {"statusCode": status, "error": HTTPStatus(status).phrase, "message": text, "errorCode": code}
    else:
        body = {"error": row.oauth, "error_description": text}
        body |= {name: _printable(told) for name in TOLD if (told := refusal.metadata.get(name))}
    headers = {**(headers or {}), **refusal.rates}
    if refusal.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(refusal.retry_after)))
    if refusal.reason == "REQUEST_TOO_LARGE":
        headers["connection"] = "close"  # the rest of the body is of no use to anybody
    return JSONResponse(body, status, headers)


def is_for_devices(path: str) -> bool:
    """Tell whether a path is of the wire of Guardian apps."""
    return path.startswith(_DEVICE_PATHS)


def _describe(refusal: Refusal) -> str:
    if refusal.reason == "MISSING_PARAMETER" and "parameter" in refusal.metadata:
        # gRPC names a field by its path, such as mfa_otp.otp
        return errors.text(refusal.reason, {"parameter": _member(refusal.metadata["parameter"])})
    try:
        text = errors.text(refusal.reason, refusal.metadata)
    except KeyError:  # a server of another version fills the text otherwise
        text = re.sub(r"\s*\{\w+\}", "", errors.TABLE[refusal.reason].text) or "The request is refused."
    wrong = [f"{_member(name)}: {why}" if name else why for name, why in refusal.violations]
    return " ".join([text, "; ".join(wrong)]) if wrong else text


def _member(path: str) -> str:
    return path.rpartition(".")[2]


def _printable(text: str) -> str:
    return _unprintable.sub("?", text)[:MAX_DESCRIPTION]
