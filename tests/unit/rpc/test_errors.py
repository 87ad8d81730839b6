"""Refusals as gRPC shows them."""

import inspect
from typing import Any

import grpc
import pytest
from cofactor.v1 import errors_pb2, tokens_pb2
from cofactor_server import errors as domain_errors
from cofactor_server.errors import (
    TABLE,
    CofactorError,
    InvalidOtp,
    InvalidRequest,
    MissingParameter,
    TooManyFailedCodes,
    UnauthorizedClient,
)
from cofactor_server.rpc import errors
from google.rpc import error_details_pb2, status_pb2

from tests.unit.rpc.worlds import SERVER, Edge, by, refusal

PREFIX = "ERROR_REASON_"
GRANT = tokens_pb2.IssueTokenRequest(mfa_otp=tokens_pb2.MfaOtpGrant(mfa_token="t", otp="492039"))


def test_the_proto_and_the_table_have_the_same_reasons() -> None:
    in_proto = {name.removeprefix(PREFIX) for name, _ in errors_pb2.ErrorReason.items()} - {"UNSPECIFIED"}
    assert in_proto == set(TABLE)


def test_every_error_class_has_a_row_of_its_own() -> None:
    classes = [
        value
        for _, value in inspect.getmembers(domain_errors, inspect.isclass)
        if issubclass(value, CofactorError) and value is not CofactorError
    ]
    reasons = [value.reason for value in classes]
    assert len(reasons) == len(set(reasons))
    assert set(TABLE) - set(reasons) == {"MFA_REQUIRED", "AUTHORIZATION_PENDING"}  # outcomes over gRPC


@pytest.mark.parametrize("reason", TABLE)
def test_every_row_has_a_status_that_grpc_knows(reason: str) -> None:
    assert grpc.StatusCode[TABLE[reason].grpc] is not grpc.StatusCode.OK


async def test_a_refusal_names_its_reason_domain_and_metadata(edge: Edge) -> None:
    edge.world.failure = UnauthorizedClient(grant_type="password")
    code, details = await refusal(edge.tokens.IssueToken(GRANT, metadata=by(SERVER)))
    info = details["ErrorInfo"]
    assert code == "PERMISSION_DENIED"
    assert (info.reason, info.domain) == ("UNAUTHORIZED_CLIENT", "cofactor.v1")
    assert info.metadata == {"grant_type": "password"}
    assert details["text"] == "Grant type 'password' not allowed for the client."
    assert details.keys() == {"text", "ErrorInfo"}


async def test_waiting_is_advised_only_where_it_helps(edge: Edge) -> None:
    edge.world.failure = TooManyFailedCodes(retry_after=12.3456)
    code, details = await refusal(edge.tokens.IssueToken(GRANT, metadata=by(SERVER)))
    assert code == "RESOURCE_EXHAUSTED"
    delay = details["RetryInfo"].retry_delay
    assert (delay.seconds, delay.nanos) == (12, 346_000_000)
    edge.world.failure = InvalidOtp(hint="check_clock")
    code, details = await refusal(edge.tokens.IssueToken(GRANT, metadata=by(SERVER)))
    assert code == "UNAUTHENTICATED"
    assert "RetryInfo" not in details
    assert details["ErrorInfo"].metadata == {"hint": "check_clock"}


async def test_a_malformed_request_lists_each_field(edge: Edge) -> None:
    grant = tokens_pb2.IssueTokenRequest(
        mfa_otp=tokens_pb2.MfaOtpGrant(mfa_token="t", otp="4" * 33), request_id="too short"
    )
    code, details = await refusal(edge.tokens.IssueToken(grant, metadata=by(SERVER)))
    assert code == "INVALID_ARGUMENT"
    assert [v.field for v in details["BadRequest"].field_violations] == ["otp", "request_id", "request_id"]
    assert edge.world.asked == []


async def test_a_missing_parameter_is_named(edge: Edge) -> None:
    grant = tokens_pb2.IssueTokenRequest(mfa_otp=tokens_pb2.MfaOtpGrant(otp="492039"))
    _, details = await refusal(edge.tokens.IssueToken(grant, metadata=by(SERVER)))
    assert details["ErrorInfo"].metadata == {"parameter": "mfa_token"}
    assert details["text"] == "Missing required parameter: mfa_token"


@pytest.mark.parametrize("seconds", [0, -1, 0.0001, 59.999, 3600])
def test_a_retry_delay_is_never_shorter_than_asked_for(seconds: float) -> None:
    trailing: Any = errors.status(TooManyFailedCodes(retry_after=seconds)).trailing_metadata
    status = status_pb2.Status.FromString(dict(trailing)["grpc-status-details-bin"])
    info = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.retry_delay.ToTimedelta().total_seconds() >= max(0, seconds)


@pytest.mark.parametrize("error", [InvalidRequest(violations=(("otp", "is bad"),)), MissingParameter(parameter="otp")])
def test_a_status_holds_the_text_and_code_of_the_table(error: CofactorError) -> None:
    status = errors.status(error)
    assert (status.code, status.details) == (grpc.StatusCode.INVALID_ARGUMENT, str(error))
