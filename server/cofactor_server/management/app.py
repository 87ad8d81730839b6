"""The Management API as one ASGI application over a channel to cofactor.admin.v1."""

from collections.abc import Sequence

import grpc.aio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cofactor_server import errors
from cofactor_server.management.enrollments import Enrollments
from cofactor_server.management.errors import answer, nowhere
from cofactor_server.management.factors import Factors
from cofactor_server.management.methods import Methods
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.bodies import MAX_BODY
from cofactor_server.rest.edge import Edge, Peers
from cofactor_server.rest.errors import Refusal, of_call, of_error

BASE = "/api/v2"


def create_management(
    channel: grpc.aio.Channel, *, max_body: int = MAX_BODY, allowed_hosts: Sequence[str] | None = None
) -> HttpApplication:
    """Return the application; it has no CORS, since no page calls it.

    Parameters:
        channel: to cofactor.admin.v1.
        max_body: octets of a body that are read.
        allowed_hosts: what Host may name, without ports; None for anything.
    """
    app = HttpApplication()
    app.add_middleware(Edge, peers=Peers(), allowed_hosts=allowed_hosts, refuse=answer)
    for kind in (errors.CofactorError, grpc.aio.AioRpcError, HTTPException):
        app.add_exception_handler(kind, _refused)
    Factors(channel, limit=max_body).register(app, BASE)
    Enrollments(channel, limit=max_body).register(app, BASE)
    Methods(channel, limit=max_body).register(app, BASE)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """Present every error that means something; others end in Edge."""
    match error:
        case errors.CofactorError():
            return answer(of_error(error), request.url.path)
        case grpc.aio.AioRpcError():
            return answer(of_call(error), request.url.path)
        case HTTPException(status_code=status, headers=headers):
            return nowhere(status, headers)
    return answer(Refusal("INVALID_REQUEST"))
