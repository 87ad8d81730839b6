"""Refusals in the shape of the Management API (W10)."""

import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from cofactor_server import errors
from cofactor_server.rest.errors import Refusal

ENROLLMENT_NOT_FOUND = "enrollment_not_found"
PART = "part"
"""In a refusal's metadata: what of the request is wrong, if not its body."""

_PARTS = {"": ("invalid_body", "Payload"), "query": ("invalid_query_string", "Query"), "uri": ("invalid_uri", "Path")}
_MALFORMED = frozenset({"INVALID_REQUEST", "MISSING_PARAMETER"})
_TEXTS: Mapping[str, str] = {
    "BEARER_MISSING": "Missing authentication",
    "BEARER_INVALID": "Invalid token",
    "CALLER_NOT_ALLOWED": "This token may not do this: it would see or set a secret.",
    "NOT_FOUND": "The user does not exist.",
    "AUTHENTICATOR_NOT_FOUND": "Enrollment not found",
    "AUTHENTICATOR_REGISTERED": "The user has this authentication method already.",
    "LAST_AUTHENTICATOR": "The user's last authentication method is kept: add another first, or reset the user.",
    "TOO_MANY_AUTHENTICATORS": "The user has as many authentication methods as allowed.",
}
_CODES: Mapping[str, str] = {
    "INSUFFICIENT_SCOPE": "insufficient_scope",
    "CALLER_NOT_ALLOWED": "insufficient_scope",
    "NOT_FOUND": "inexistent_user",
    "AUTHENTICATOR_NOT_FOUND": ENROLLMENT_NOT_FOUND,
    "AUTHENTICATOR_UNDELETABLE": "invalid_uri",
    "FACTOR_DISABLED": "invalid_body",
    "PHONE_NUMBER_INVALID": "invalid_body",
    "REQUEST_TOO_LARGE": "invalid_body",
    "TOO_MANY_REQUESTS": "too_many_requests",
    "TOO_MANY_MESSAGES": "too_many_requests",
}
_STATUSES: Mapping[str, int] = {
    "AUTHENTICATOR_REGISTERED": 409,
    "LAST_AUTHENTICATOR": 409,
    "TOO_MANY_AUTHENTICATORS": 403,
    "AUTHENTICATOR_UNDELETABLE": 400,
    "FACTOR_DISABLED": 400,
    "PHONE_NUMBER_INVALID": 400,
}
_LONGEST = 400
_unprintable = re.compile(r"[^ -~]")


def wrong_query(problem: str) -> errors.InvalidRequest:
    """Return the refusal of a query; `problem` is ours and never quotes it."""
    return errors.InvalidRequest(violations=(("", problem),), part="query")


def wrong_path(problem: str) -> errors.InvalidRequest:
    """Return the refusal of a path, likewise."""
    return errors.InvalidRequest(violations=(("", problem),), part="uri")


def answer(refusal: Refusal, path: str = "") -> JSONResponse:
    """Return the response of a refusal; `path` is what was asked for."""
    status = _STATUSES.get(refusal.reason, errors.TABLE[refusal.reason].http)
    code, text = _code_and_text(refusal)
    if refusal.reason == "NOT_FOUND" and "/guardian/factors/" in path:
        code, text = "", "The phone factor is not served."
    body: dict[str, Any] = {"statusCode": status, "error": HTTPStatus(status).phrase, "message": text}
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        body["attributes"] = {"error": text}
        headers["www-authenticate"] = "Bearer" if refusal.reason == "BEARER_MISSING" else 'Bearer error="invalid_token"'
    elif code:
        body["errorCode"] = code
    if refusal.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(refusal.retry_after)))
    if refusal.reason == "REQUEST_TOO_LARGE":
        headers["connection"] = "close"  # the rest of the body is of no use to anybody
    return JSONResponse(body, status, headers)


def nowhere(status: int, headers: Mapping[str, str] | None) -> JSONResponse:
    """Return the answer where nothing is served, or not by this method."""
    phrase = HTTPStatus(status).phrase
    return JSONResponse({"statusCode": status, "error": phrase, "message": phrase}, status, headers)


def _code_and_text(refusal: Refusal) -> tuple[str, str]:
    reason = refusal.reason
    if reason in _MALFORMED:
        code, of = _PARTS.get(refusal.metadata.get(PART, ""), _PARTS[""])
        return code, f"{of} validation error: '{_printable(_problem(refusal))}'."
    return _CODES.get(reason, ""), _printable(_TEXTS.get(reason) or _text(refusal))


def _problem(refusal: Refusal) -> str:
    if refusal.reason == "MISSING_PARAMETER":
        return f"Missing required property: {_member(refusal.metadata.get('parameter', ''))}"
    wrong = [f"{_member(name)} {why}" if name else why for name, why in refusal.violations]
    return "; ".join(wrong) or "it is malformed"


def _text(refusal: Refusal) -> str:
    try:
        return errors.text(refusal.reason, refusal.metadata)
    except KeyError:  # a server of another version fills the text otherwise
        return "The request is refused."


def _member(path: str) -> str:
    return path.rpartition(".")[2]


def _printable(text: str) -> str:
    return _unprintable.sub("?", text)[:_LONGEST]
