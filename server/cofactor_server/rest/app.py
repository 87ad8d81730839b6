"""The HTTP edge as one ASGI application over a gRPC channel. Run it without access logs and without proxy headers."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import grpc.aio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route

from cofactor_server import errors
from cofactor_server.rest import openapi
from cofactor_server.rest.application import Endpoint, HttpApplication
from cofactor_server.rest.authenticators import Authenticators
from cofactor_server.rest.bodies import MAX_BODY
from cofactor_server.rest.challenges import Challenges
from cofactor_server.rest.cors import Cors
from cofactor_server.rest.discovery import Discovery
from cofactor_server.rest.edge import Edge, Peers
from cofactor_server.rest.errors import PUSH_REJECTED_AS_GRANT, Refusal, answer, of_call, of_error
from cofactor_server.rest.guardian import DeviceAccounts
from cofactor_server.rest.tickets import Tickets
from cofactor_server.rest.tokens import Tokens
from cofactor_server.rest.user_info import UserInfo

PushRejected: TypeAlias = Literal["access_denied", "invalid_grant"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_BY_STATUS = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "REQUEST_TOO_LARGE"}


def create_app(
    channel: grpc.aio.Channel,
    *,
    issuer: str,
    trusted_proxies: Sequence[str] = (),
    max_body: int = MAX_BODY,
    allowed_hosts: Sequence[str] | None = None,
    push_rejected: PushRejected = "access_denied",
    guardian_host: bool = False,
    draw: Callable[[str], str] | None = None,
) -> HttpApplication:
    """Return the application.

    Parameters:
        channel: to the gRPC API: the in-process channel, or one whose server takes this edge for one.
        issuer: ends with a slash, e.g. `https://mfa.example.com/`.
        trusted_proxies: CIDRs or addresses whose X-Forwarded-For is believed, and `unix` for a unix socket's peer.
        max_body: octets of a body that are read.
        allowed_hosts: what Host may name, without ports; None for anything.
        push_rejected: which error a refused push is.
        guardian_host: whether Guardian apps know a host of its own for their wire.
        draw: returns a text as a QR code, in SVG; None for none.

    Raises:
        ValueError: the issuer lacks its slash, or a trusted proxy is no network.
    """
    if not issuer.endswith("/"):
        raise ValueError("the issuer must end with a slash")
    app = HttpApplication()
    app.state.push_rejected = push_rejected
    app.add_middleware(Cors, channel=channel)
    app.add_middleware(Edge, peers=Peers(trusted_proxies), allowed_hosts=allowed_hosts)
    app.add_exception_handler(errors.CofactorError, _refused)
    app.add_exception_handler(grpc.aio.AioRpcError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    Tokens(channel, limit=max_body).register(app)
    Discovery(channel, issuer=issuer).register(app)
    UserInfo(channel).register(app)
    Challenges(channel, limit=max_body).register(app)
    Authenticators(channel, limit=max_body).register(app)
    Tickets(channel, limit=max_body, draw=draw).register(app)
    DeviceAccounts(channel, limit=max_body, own_host=guardian_host).register(app)
    app.router.routes.append(Route("/openapi.json", _serve(openapi.document(app.paths, issuer))))
    return app


def _serve(document: openapi.Document) -> Endpoint:
    async def get(_request: Request) -> Response:
        return JSONResponse(document)

    return get


async def _refused(request: Request, error: Exception) -> Response:
    """Present every error that means something; others end in Edge."""
    path = request.url.path
    match error:
        case errors.CofactorError():
            return answer(of_error(error), path=path)
        case grpc.aio.AioRpcError():
            refusal = of_call(error)
            as_grant = refusal.reason == "CHALLENGE_DENIED" and request.app.state.push_rejected == "invalid_grant"
            return answer(refusal, row=PUSH_REJECTED_AS_GRANT if as_grant else None, path=path)
        case HTTPException(status_code=405):
            return answer(Refusal("METHOD_NOT_ALLOWED"), {"allow": _allowed(request)}, path=path)
        case HTTPException():
            return answer(Refusal(_BY_STATUS.get(error.status_code, "INVALID_REQUEST")), path=path)
    return answer(Refusal("INVALID_REQUEST"), path=path)


def _allowed(request: Request) -> str:
    """Return the methods of every route of the path, which Starlette takes from the first alone."""
    routes: list[BaseRoute] = request.app.routes
    return ", ".join(
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    )
