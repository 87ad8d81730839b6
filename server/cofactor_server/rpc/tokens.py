"""TokenService over gRPC."""

# ruff: noqa: ARG002 - a servicer takes what the interface gives

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from cofactor.v1 import tokens_pb2 as pb
from cofactor.v1.tokens_pb2_grpc import TokenServiceServicer

from cofactor_server.domain.callers import Caller
from cofactor_server.domain.logins.grants import Grant, Outcome
from cofactor_server.domain.requests import Introspection, UserInfo
from cofactor_server.rpc.callers import admitted
from cofactor_server.rpc.convert import tokens as convert
from cofactor_server.rpc.errors import tell


class Tokens(Protocol):
    """Issues, revokes and explains tokens; `services.login.endpoint` does it."""

    async def issue(self, caller: Caller, grant: Grant, request_id: str) -> Outcome:
        """Exchange a grant."""
        ...

    def json_web_keys(self) -> Sequence[Mapping[str, str]]:
        """Return the public keys."""
        ...

    async def revoke(self, caller: Caller, token: str) -> None:
        """Revoke a token."""
        ...

    async def introspect(self, caller: Caller, token: str) -> Introspection:
        """Tell what a token says."""
        ...

    async def allows_origin(self, origin: str, client_id: str) -> bool:
        """Tell whether an origin is one of a client's."""
        ...

    async def user_info(self, caller: Caller) -> UserInfo:
        """Tell who the user of the caller's token is."""
        ...


class TokenServicer(TokenServiceServicer):
    """Speaks for `Tokens`."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def IssueToken(self, request: pb.IssueTokenRequest, context: Any) -> pb.IssueTokenResponse:
        grant, request_id = convert.issue(request)
        outcome = await self._tokens.issue(admitted(), grant, request_id)
        tell(context, outcome.quota)
        return convert.outcome(outcome)

    async def GetJsonWebKeySet(self, request: pb.GetJsonWebKeySetRequest, context: Any) -> pb.GetJsonWebKeySetResponse:
        return convert.key_set(self._tokens.json_web_keys())

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Any) -> pb.RevokeTokenResponse:
        await self._tokens.revoke(admitted(), convert.token(request))
        return pb.RevokeTokenResponse()

    async def IntrospectToken(self, request: pb.IntrospectTokenRequest, context: Any) -> pb.IntrospectTokenResponse:
        return convert.introspection(await self._tokens.introspect(admitted(), convert.token(request)))

    async def GetUserInfo(self, request: pb.GetUserInfoRequest, context: Any) -> pb.GetUserInfoResponse:
        return convert.user_info(await self._tokens.user_info(admitted()))

    async def CheckOrigin(self, request: pb.CheckOriginRequest, context: Any) -> pb.CheckOriginResponse:
        return pb.CheckOriginResponse(allowed=await self._tokens.allows_origin(*convert.origin(request)))
