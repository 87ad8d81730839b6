"""Every flow runs against one deployment, over both edges."""

from tests.support.flows.fixtures import api, given, grpc_api, log, rest_api, scopes, traffic, world

__all__ = ["api", "given", "grpc_api", "log", "rest_api", "scopes", "traffic", "world"]
