"""AuthenticatorService over gRPC."""

# ruff: noqa: ARG002 - a servicer takes what the interface gives

from collections.abc import Sequence
from typing import Any, Protocol

from cofactor.v1 import authenticators_pb2 as pb
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceServicer

from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.endings import Opened
from cofactor_server.domain.authenticators.proofs import Signed
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.requests import Enrolled, EnrollmentRequest, Paired
from cofactor_server.rpc.callers import admitted
from cofactor_server.rpc.convert import authenticators as convert
from cofactor_server.rpc.convert import devices as convert_devices
from cofactor_server.rpc.errors import tell


class Authenticators(Protocol):
    """Keeps a user's authenticators; `services.authenticators.management` does it."""

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

    async def remove(self, caller: Caller, authenticator_id: str, /, *, sign_out: bool = False) -> Opened:
        """Remove one authenticator, and the one it is linked to; return what ends with it."""
        ...


class Devices(Protocol):
    """Keeps devices; `services.devices.calls` does it."""

    async def pair(self, caller: Caller, secret: str, statement: Signed, /) -> Paired:
        """Pair a device with the enrollment whose secret it read."""
        ...

    def nonce(self) -> tuple[str, int]:
        """Return a nonce for one signed call, and when it expires."""
        ...

    async def update(self, caller: Caller, statement: Signed, /) -> None:
        """Change where a device is reached."""
        ...

    async def remove(self, caller: Caller, statement: Signed, /) -> None:
        """Remove a device, and its one-time passwords."""
        ...


class AuthenticatorServicer(AuthenticatorServiceServicer):
    """Speaks for `Authenticators` and `Devices`."""

    def __init__(self, authenticators: Authenticators, devices: Devices) -> None:
        self._authenticators = authenticators
        self._devices = devices

    async def EnrollAuthenticator(
        self, request: pb.EnrollAuthenticatorRequest, context: Any
    ) -> pb.EnrollAuthenticatorResponse:
        enrolled = await self._authenticators.enroll(admitted(), convert.enrollment_request(request))
        tell(context, enrolled.quota)
        return convert.enrolled(enrolled)

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
        named, sign_out = convert.named(request), request.sign_out_everywhere
        ended = await self._authenticators.remove(admitted(), named, sign_out=sign_out)
        return pb.DeleteAuthenticatorResponse(
            ended_refresh_tokens=len(ended.refresh_tokens), ended_browsers=len(ended.browsers)
        )

    async def PairDevice(self, request: pb.PairDeviceRequest, context: Any) -> pb.PairDeviceResponse:
        return convert_devices.paired(await self._devices.pair(admitted(), *convert_devices.pairing(request)))

    async def CreateDeviceNonce(
        self, request: pb.CreateDeviceNonceRequest, context: Any
    ) -> pb.CreateDeviceNonceResponse:
        return convert_devices.nonce(*self._devices.nonce())

    async def UpdateDevice(self, request: pb.UpdateDeviceRequest, context: Any) -> pb.UpdateDeviceResponse:
        await self._devices.update(admitted(), convert_devices.statement(request))
        return pb.UpdateDeviceResponse()

    async def RemoveDevice(self, request: pb.RemoveDeviceRequest, context: Any) -> pb.RemoveDeviceResponse:
        await self._devices.remove(admitted(), convert_devices.statement(request))
        return pb.RemoveDeviceResponse()
