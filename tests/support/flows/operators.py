"""An operator of a deployment, over gRPC, whatever edge its users are on."""

from typing import Any

from cofactor.admin.v1 import methods_pb2 as methods
from cofactor.admin.v1.methods_pb2_grpc import AuthenticationMethodServiceStub
from cofactor_server.domain.parties.operators import Role
from cofactor_server.seams import HOUR

from tests.support.flows.grpc_api import call
from tests.support.flows.values import TIMEOUT
from tests.support.world import World

TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


class OperatorDesk:
    """What an operator does to one user's methods."""

    def __init__(self, world: World, user_id: str) -> None:
        self._stub: Any = AuthenticationMethodServiceStub(world.app.admin_channel())
        token, _ = world.app.operator_tokens.mint(Role.ADMIN, HOUR)
        self._bearer = (("authorization", f"Bearer {token}"),)
        self._user_id = user_id

    async def add(self, **method: Any) -> str:
        """Add a method, such as `totp=NewTotp(...)`, and return its id."""
        new = methods.NewAuthenticationMethod(**method)
        request = methods.AddAuthenticationMethodRequest(user_id=self._user_id, method=new)
        return str((await self._call("AddAuthenticationMethod", request)).method.id)

    async def add_app(self) -> str:
        """Add an authenticator app whose secret is `TOTP_SECRET`, and return its id."""
        return await self.add(totp=methods.NewTotp(secret=TOTP_SECRET))

    async def add_phone(self, number: str) -> str:
        """Add a telephone, and return its id."""
        return await self.add(phone=methods.NewPhone(number=number))

    async def remove(self, method_id: str) -> None:
        """Remove a method."""
        request = methods.DeleteAuthenticationMethodRequest(user_id=self._user_id, id=method_id)
        await self._call("DeleteAuthenticationMethod", request)

    async def replace_all(self) -> None:
        """Replace all methods by an authenticator app whose secret is `TOTP_SECRET`."""
        app = methods.NewAuthenticationMethod(totp=methods.NewTotp(secret=TOTP_SECRET))
        request = methods.ReplaceAuthenticationMethodsRequest(user_id=self._user_id, methods=[app])
        await self._call("ReplaceAuthenticationMethods", request)

    async def reset(self) -> None:
        """Remove all methods."""
        request = methods.DeleteAuthenticationMethodsRequest(user_id=self._user_id)
        await self._call("DeleteAuthenticationMethods", request)

    async def _call(self, name: str, request: Any) -> Any:
        return await call(getattr(self._stub, name)(request, metadata=self._bearer, timeout=TIMEOUT))
