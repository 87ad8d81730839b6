"""What is registered where operators call, and nowhere else (ADR-5)."""

from collections.abc import Mapping
from dataclasses import dataclass

import grpc.aio
from cofactor.admin.v1 import enrollments_pb2, factors_pb2, methods_pb2
from cofactor.admin.v1.enrollments_pb2_grpc import add_EnrollmentServiceServicer_to_server
from cofactor.admin.v1.factors_pb2_grpc import add_FactorServiceServicer_to_server
from cofactor.admin.v1.methods_pb2_grpc import add_AuthenticationMethodServiceServicer_to_server
from google.protobuf.descriptor import ServiceDescriptor

from cofactor_server.rpc.admin.factors import FactorServicer, StandingPolicies, Switches
from cofactor_server.rpc.admin.methods import AuthenticationMethodServicer, EnrollmentServicer, Methods, Tickets
from cofactor_server.rpc.callers import ADMIN_RULES, Rule, check_complete

SERVICES: tuple[ServiceDescriptor, ...] = (
    factors_pb2.DESCRIPTOR.services_by_name["FactorService"],
    methods_pb2.DESCRIPTOR.services_by_name["AuthenticationMethodService"],
    enrollments_pb2.DESCRIPTOR.services_by_name["EnrollmentService"],
)


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What the servicers speak for."""

    switches: Switches
    policies: StandingPolicies
    methods: Methods
    tickets: Tickets


def register(target: grpc.aio.Server, services: AdminServices, rules: Mapping[str, Rule] = ADMIN_RULES) -> None:
    """Register the servicers, with a server or an in-process channel.

    Raises:
        RuleMissing: A method has no row in the table of callers.
    """
    check_complete(SERVICES, rules)
    add_FactorServiceServicer_to_server(FactorServicer(services.switches, services.policies), target)
    add_AuthenticationMethodServiceServicer_to_server(AuthenticationMethodServicer(services.methods), target)
    add_EnrollmentServiceServicer_to_server(EnrollmentServicer(services.methods, services.tickets), target)
