"""PolicyService over gRPC."""

# ruff: noqa: ARG002 - a servicer takes what the interface gives

from typing import Any, Protocol

from cofactor.v1 import policies_pb2 as pb
from cofactor.v1.policies_pb2_grpc import PolicyServiceServicer

from cofactor_server.domain.callers import Caller
from cofactor_server.domain.logins.explanations import DecisionQuestion, Explanation
from cofactor_server.rpc.callers import admitted
from cofactor_server.rpc.convert import policies as convert


class Explaining(Protocol):
    """Explains decisions; `services.login.explanation` does it."""

    async def explain(self, caller: Caller, asked: DecisionQuestion) -> Explanation:
        """Explain a login that nobody attempts."""
        ...


class PolicyServicer(PolicyServiceServicer):
    """Speaks for `Explaining`."""

    def __init__(self, explaining: Explaining) -> None:
        self._explaining = explaining

    async def ExplainDecision(self, request: pb.ExplainDecisionRequest, context: Any) -> pb.ExplainDecisionResponse:
        return convert.explained(await self._explaining.explain(admitted(), convert.question(request)))
