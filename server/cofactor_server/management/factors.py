"""Factors and policies (W10.1)."""

import grpc.aio
from cofactor.admin.v1 import factors_pb2 as pb
from cofactor.admin.v1.factors_pb2_grpc import FactorServiceStub
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server.management import requests
from cofactor_server.management.errors import wrong_path
from cofactor_server.rest import credentials
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.bodies import malformed
from cofactor_server.rest.tokens import TIMEOUT

FACTORS = {
    "sms": pb.FACTOR_NAME_PHONE,
    "push-notification": pb.FACTOR_NAME_PUSH,
    "otp": pb.FACTOR_NAME_OTP,
    "email": pb.FACTOR_NAME_EMAIL,
    "duo": pb.FACTOR_NAME_DUO,
    "webauthn-roaming": pb.FACTOR_NAME_WEBAUTHN,
    "webauthn-platform": pb.FACTOR_NAME_WEBAUTHN,
    "recovery-code": pb.FACTOR_NAME_RECOVERY_CODE,
}
"""In the order that was recorded."""
_TYPES = {"sms": pb.MESSAGE_TYPE_SMS, "voice": pb.MESSAGE_TYPE_VOICE}
_POLICIES = {"all-applications": pb.POLICY_ALL_APPLICATIONS, "confidence-score": pb.POLICY_CONFIDENCE_SCORE}


class Factors:
    """The routes.

    Parameters:
        channel: to cofactor.admin.v1.
        limit: how much of a body is read, in octets.
    """

    def __init__(self, channel: grpc.aio.Channel, *, limit: int) -> None:
        self._stub = FactorServiceStub(channel)
        self._limit = limit

    def register(self, app: HttpApplication, base: str) -> None:
        """Add the routes to `app`, below `base`."""
        at = f"{base}/guardian"
        app.add("GET", f"{at}/factors", self.list)
        app.add("GET", f"{at}/factors/phone/message-types", self.message_types)
        app.add("PUT", f"{at}/factors/phone/message-types", self.set_message_types)
        app.add("PUT", f"{at}/factors/{{name}}", self.set)
        app.add("GET", f"{at}/policies", self.policies)
        app.add("PUT", f"{at}/policies", self.set_policies)

    async def list(self, request: Request) -> Response:
        """List the factors."""
        requests.truth(requests.query(request, "include_settings"), "include_settings")
        metadata = credentials.of_bearer(request)
        found = await self._stub.ListFactors(pb.ListFactorsRequest(), metadata=metadata, timeout=TIMEOUT)
        on = {factor.name: factor.enabled for factor in found.factors}
        return JSONResponse(
            [{"name": name, "enabled": on[factor], "trial_expired": False} for name, factor in FACTORS.items()]
        )

    async def set(self, request: Request) -> Response:
        """Switch one factor."""
        requests.query(request)
        metadata = credentials.of_bearer(request)
        name = requests.path(request, "name")
        if name not in FACTORS:
            raise wrong_path(f"there is no factor of this name; there are {', '.join(FACTORS)}")
        enabled = requests.flag(await requests.body(request, self._limit, {"enabled"}), "enabled")
        message = pb.SetFactorRequest(name=FACTORS[name], enabled=enabled)
        found = await self._stub.SetFactor(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse({"enabled": found.factor.enabled})

    async def message_types(self, request: Request) -> Response:
        """Tell in which ways a telephone is reached."""
        requests.query(request)
        metadata = credentials.of_bearer(request)
        found = await self._stub.GetMessageTypes(pb.GetMessageTypesRequest(), metadata=metadata, timeout=TIMEOUT)
        return JSONResponse({"message_types": [name for name, way in _TYPES.items() if way in found.types]})

    async def set_message_types(self, request: Request) -> Response:
        """Set them."""
        requests.query(request)
        metadata = credentials.of_bearer(request)
        wanted = requests.listed(await requests.body(request, self._limit, {"message_types"}), "message_types")
        if not _TYPES.keys() >= set(wanted):
            raise malformed("message_types", f"may have {' and '.join(_TYPES)}")
        message = pb.SetMessageTypesRequest(types=[_TYPES[name] for name in wanted])
        found = await self._stub.SetMessageTypes(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse({"message_types": [name for name, way in _TYPES.items() if way in found.types]})

    async def policies(self, request: Request) -> Response:
        """Tell of whom a second factor is asked."""
        requests.query(request)
        metadata = credentials.of_bearer(request)
        found = await self._stub.GetPolicies(pb.GetPoliciesRequest(), metadata=metadata, timeout=TIMEOUT)
        return JSONResponse([name for name, policy in _POLICIES.items() if policy in found.policies])

    async def set_policies(self, request: Request) -> Response:
        """Set it."""
        requests.query(request)
        metadata = credentials.of_bearer(request)
        wanted = await requests.words(request, self._limit)
        if not _POLICIES.keys() >= set(wanted):
            raise malformed("body", f"may hold {' and '.join(_POLICIES)}")
        message = pb.SetPoliciesRequest(policies=[_POLICIES[name] for name in wanted])
        found = await self._stub.SetPolicies(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse([name for name, policy in _POLICIES.items() if policy in found.policies])
