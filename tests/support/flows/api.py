"""One way to speak to the service, over either edge: what is refused over both is refused for one reason."""

from tests.support.flows.grpc_api import GrpcApi, call, grpc_edge, refusal_of
from tests.support.flows.rest_api import AUTH0, RestApi, reason_of, refusal_in, rest_edge
from tests.support.flows.traffic import Traffic
from tests.support.flows.values import (
    TIMEOUT,
    Api,
    Challenge,
    ClientCredentials,
    Enrollment,
    MfaRequired,
    NotCarried,
    Outcome,
    Pending,
    Refused,
    Row,
    Tokens,
)

__all__ = [
    "AUTH0",
    "TIMEOUT",
    "Api",
    "Challenge",
    "ClientCredentials",
    "Enrollment",
    "GrpcApi",
    "MfaRequired",
    "NotCarried",
    "Outcome",
    "Pending",
    "Refused",
    "RestApi",
    "Row",
    "Tokens",
    "Traffic",
    "call",
    "grpc_edge",
    "reason_of",
    "refusal_in",
    "refusal_of",
    "rest_edge",
]
