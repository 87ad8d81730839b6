"""FactorService over gRPC."""

# ruff: noqa: ARG002 - a servicer takes what the interface gives

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from cofactor.admin.v1 import factors_pb2 as pb
from cofactor.admin.v1.factors_pb2_grpc import FactorServiceServicer

from cofactor_server.domain.authenticators.switches import Switch
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.rpc.admin import convert


class Switches(Protocol):
    """Keeps the switches; `services.proofs.switches` does it."""

    async def every(self) -> Mapping[Switch, bool]:
        """Return of every switch whether it is on."""
        ...

    async def turn(self, switch: Switch, *, on: bool) -> None:
        """Switch a factor."""
        ...

    async def message_types(self) -> Sequence[Switch]:
        """Return the ways in which telephones are reached."""
        ...

    async def set_message_types(self, ways: Collection[Switch], /) -> Sequence[Switch]:
        """Set them, and return them."""
        ...


class StandingPolicies(Protocol):
    """Keeps what is asked of everybody; `services.policy.rules` does it."""

    async def standing(self) -> frozenset[MfaPolicy]:
        """Return it."""
        ...

    async def set_standing(self, asks: Collection[MfaPolicy], /) -> frozenset[MfaPolicy]:
        """Set it, and return it."""
        ...


class FactorServicer(FactorServiceServicer):
    """Speaks for `Switches` and `StandingPolicies`."""

    def __init__(self, switches: Switches, policies: StandingPolicies) -> None:
        self._switches = switches
        self._policies = policies

    async def ListFactors(self, request: pb.ListFactorsRequest, context: Any) -> pb.ListFactorsResponse:
        on = await self._switches.every()
        factors = [pb.Factor(name=name, enabled=on[switch]) for name, switch in convert.FACTORS.items()]
        return pb.ListFactorsResponse(factors=factors)

    async def SetFactor(self, request: pb.SetFactorRequest, context: Any) -> pb.SetFactorResponse:
        switch = convert.switch(request.name)
        await self._switches.turn(switch, on=request.enabled)
        enabled = (await self._switches.every())[switch]
        return pb.SetFactorResponse(factor=pb.Factor(name=request.name, enabled=enabled))

    async def GetMessageTypes(self, request: pb.GetMessageTypesRequest, context: Any) -> pb.GetMessageTypesResponse:
        return pb.GetMessageTypesResponse(types=convert.ways_to_wire(await self._switches.message_types()))

    async def SetMessageTypes(self, request: pb.SetMessageTypesRequest, context: Any) -> pb.SetMessageTypesResponse:
        ways = await self._switches.set_message_types(convert.ways(request.types))
        return pb.SetMessageTypesResponse(types=convert.ways_to_wire(ways))

    async def GetPolicies(self, request: pb.GetPoliciesRequest, context: Any) -> pb.GetPoliciesResponse:
        return pb.GetPoliciesResponse(policies=convert.policies_to_wire(await self._policies.standing()))

    async def SetPolicies(self, request: pb.SetPoliciesRequest, context: Any) -> pb.SetPoliciesResponse:
        standing = await self._policies.set_standing(convert.policies(request.policies))
        return pb.SetPoliciesResponse(policies=convert.policies_to_wire(standing))
