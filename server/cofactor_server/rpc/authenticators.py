"""AuthenticatorService over gRPC."""

# ruff: noqa: ARG002 - a servicer takes what the interface gives

from collections.abc import Sequence
from typing import Any, Protocol

from cofactor.v1 import authenticators_pb2 as pb
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceServicer

from cofactor_server.domain.authenticators import Authenticator
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.requests import Enrolled, EnrollmentRequest
from cofactor_server.errors import Unimplemented
from cofactor_server.rpc.callers import admitted
from cofactor_server.rpc.convert import authenticators as convert


class Authenticators(Protocol):
    """Keeps a user's authenticators; `services.authenticators` does it."""

    async def enroll(self, caller: Caller, request: EnrollmentRequest) -> Enrolled:
        """Begin an enrollment."""
        ...

    async def list(self, caller: Caller) -> Sequence[Authenticator]:
        """Return the user's authenticators as they are offered."""
        ...

    async def get(self, caller: Caller, authenticator_id: str, /) -> Authenticator:
        """Return one authenticator."""
        ...

    async def rename(self, caller: Caller, authenticator_id: str, name: str, /) -> Authenticator:
        """Rename one authenticator."""
        ...

    async def remove(self, caller: Caller, authenticator_id: str, /) -> None:
        """Remove one authenticator, and the one it is linked to."""
        ...


class AuthenticatorServicer(AuthenticatorServiceServicer):
    """Speaks for `Authenticators`."""

    def __init__(self, authenticators: Authenticators) -> None:
        self._authenticators = authenticators

    async def EnrollAuthenticator(
        self, request: pb.EnrollAuthenticatorRequest, context: Any
    ) -> pb.EnrollAuthenticatorResponse:
        return convert.enrolled(await self._authenticators.enroll(admitted(), convert.enrollment_request(request)))

    async def ListAuthenticators(
        self, request: pb.ListAuthenticatorsRequest, context: Any
    ) -> pb.ListAuthenticatorsResponse:
        return convert.listed(await self._authenticators.list(admitted()))

    async def GetAuthenticator(self, request: pb.GetAuthenticatorRequest, context: Any) -> pb.GetAuthenticatorResponse:
        found = await self._authenticators.get(admitted(), convert.named(request))
        return pb.GetAuthenticatorResponse(authenticator=convert.authenticator(found))

    async def UpdateAuthenticator(
        self, request: pb.UpdateAuthenticatorRequest, context: Any
    ) -> pb.UpdateAuthenticatorResponse:
        changed = await self._authenticators.rename(admitted(), *convert.renaming(request))
        return pb.UpdateAuthenticatorResponse(authenticator=convert.authenticator(changed))

    async def DeleteAuthenticator(
        self, request: pb.DeleteAuthenticatorRequest, context: Any
    ) -> pb.DeleteAuthenticatorResponse:
        await self._authenticators.remove(admitted(), convert.named(request))
        return pb.DeleteAuthenticatorResponse()

    async def PairDevice(self, request: pb.PairDeviceRequest, context: Any) -> pb.PairDeviceResponse:
        raise Unimplemented

    async def CreateDeviceNonce(
        self, request: pb.CreateDeviceNonceRequest, context: Any
    ) -> pb.CreateDeviceNonceResponse:
        raise Unimplemented

    async def UpdateDevice(self, request: pb.UpdateDeviceRequest, context: Any) -> pb.UpdateDeviceResponse:
        raise Unimplemented

    async def RemoveDevice(self, request: pb.RemoveDeviceRequest, context: Any) -> pb.RemoveDeviceResponse:
        raise Unimplemented
