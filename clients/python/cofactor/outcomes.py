"""What became of a grant, to match on."""

from dataclasses import dataclass, field
from typing import TypeAlias

import grpc

from cofactor.errors import CofactorError
from cofactor.v1 import tokens_pb2


@dataclass(frozen=True, slots=True)
class Tokens:
    """The login is complete."""

    message: tokens_pb2.Tokens = field(repr=False)


@dataclass(frozen=True, slots=True)
class MfaRequired:
    """Another factor is awaited: create a challenge, or enroll, with `message.mfa_token`."""

    message: tokens_pb2.MfaRequired = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """The challenge is not answered yet."""

    interval: float
    """Seconds until the next poll, at least."""


Outcome: TypeAlias = Tokens | MfaRequired | Pending


def outcome(response: tokens_pb2.IssueTokenResponse) -> Outcome:
    """Return the outcome that an answer holds.

    Raises:
        CofactorError: It is one that this version does not know.
    """
    match response.WhichOneof("outcome"):
        case "tokens":
            return Tokens(response.tokens)
        case "mfa_required":
            return MfaRequired(response.mfa_required)
        case "answer_pending":
            return Pending(response.answer_pending.poll_interval.ToNanoseconds() / 1e9)
    raise CofactorError(grpc.StatusCode.INTERNAL, "the answer holds no outcome that this version knows")
