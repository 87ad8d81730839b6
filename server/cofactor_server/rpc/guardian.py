"""DeviceAccountService over gRPC."""

# ruff: noqa: ARG002 - a servicer takes what the interface gives

from typing import Any, Protocol

from cofactor.v1 import guardian_pb2 as pb
from cofactor.v1.guardian_pb2_grpc import DeviceAccountServiceServicer

from cofactor_server.domain.callers import Caller
from cofactor_server.domain.challenges.guardian import (
    DeviceAccount,
    DeviceAccountChange,
    EnrolledDevice,
    NewDeviceAccount,
    RichConsent,
)
from cofactor_server.rpc.callers import admitted
from cofactor_server.rpc.convert import guardian as convert


class DeviceAccounts(Protocol):
    """Keeps device accounts, and hears what their devices decide; `services.devices.guardian` does it."""

    async def enroll(self, caller: Caller, new: NewDeviceAccount, /) -> EnrolledDevice:
        """Enroll a device."""
        ...

    async def resolve(self, caller: Caller, token: str, answer: str, /) -> None:
        """Approve or deny a prompt."""
        ...

    async def update(self, caller: Caller, token: str, change: DeviceAccountChange, /) -> DeviceAccount:
        """Change a device account."""
        ...

    async def remove(self, caller: Caller, token: str, account_id: str, /) -> None:
        """Remove a device account."""
        ...

    async def consent(self, caller: Caller, consent_id: str, token: str, proof: str, /) -> RichConsent:
        """Return what the login behind a prompt asks for."""
        ...


class DeviceAccountServicer(DeviceAccountServiceServicer):
    """Speaks for `DeviceAccounts`."""

    def __init__(self, accounts: DeviceAccounts) -> None:
        self._accounts = accounts

    async def EnrollDeviceAccount(
        self, request: pb.EnrollDeviceAccountRequest, context: Any
    ) -> pb.EnrollDeviceAccountResponse:
        return convert.enrolled(await self._accounts.enroll(admitted(), convert.enrollment(request)))

    async def ResolveTransaction(
        self, request: pb.ResolveTransactionRequest, context: Any
    ) -> pb.ResolveTransactionResponse:
        await self._accounts.resolve(admitted(), *convert.resolving(request))
        return pb.ResolveTransactionResponse()

    async def UpdateDeviceAccount(
        self, request: pb.UpdateDeviceAccountRequest, context: Any
    ) -> pb.UpdateDeviceAccountResponse:
        changed = await self._accounts.update(admitted(), *convert.change(request))
        return pb.UpdateDeviceAccountResponse(account=convert.account(changed))

    async def DeleteDeviceAccount(
        self, request: pb.DeleteDeviceAccountRequest, context: Any
    ) -> pb.DeleteDeviceAccountResponse:
        await self._accounts.remove(admitted(), *convert.removal(request))
        return pb.DeleteDeviceAccountResponse()

    async def GetRichConsent(self, request: pb.GetRichConsentRequest, context: Any) -> pb.GetRichConsentResponse:
        return convert.consent(await self._accounts.consent(admitted(), *convert.consent_wanted(request)))
