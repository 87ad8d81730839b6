"""Which web pages may read the answers: CORS by the origins that clients were given (W1.3)."""

import grpc.aio
from cofactor.v1 import tokens_pb2 as pb
from cofactor.v1 import tokens_pb2_grpc
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TIMEOUT = 2.0  # seconds

_PATHS = ("/oauth/token", "/oauth/revoke", "/userinfo")
_BELOW = ("/mfa/", "/.well-known/")
_OWN_PAGE = "/mfa/enrollment"
"""Everything else has nothing for pages of others: introspection is for confidential clients, the page of tickets for
itself, the demo for nobody."""

_GRPC_WEB = "/cofactor.v1."

_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, PATCH, DELETE",
    "access-control-allow-headers": "Authorization, Content-Type, Auth0-Client, DPoP",
    "access-control-max-age": "600",
}
_PREFLIGHT_GRPC_WEB = {
    **_PREFLIGHT,
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": (
        "Authorization, Content-Type, Grpc-Timeout, X-Grpc-Web, X-User-Agent, cofactor-client-id"
    ),
}
_EXPOSED = (
    "Location, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, Retry-After, DPoP-Nonce, WWW-Authenticate"
)
_EXPOSED_GRPC_WEB = "grpc-status, grpc-message, grpc-status-details-bin"


class Cors:
    """ASGI middleware. It allows no cookies: nothing here is on the authority of any."""

    def __init__(self, app: ASGIApp, channel: grpc.aio.Channel) -> None:
        self._app = app
        self._stub = tokens_pb2_grpc.TokenServiceStub(channel)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not _is_for_pages(scope["path"]):
            await self._app(scope, receive, send)
            return
        grpc_web = scope["path"].startswith(_GRPC_WEB)
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        preflight = scope["method"] == "OPTIONS" and origin and "access-control-request-method" in headers
        # It names no client: whether this one has the origin is told by the answer that follows.
        if preflight and await self._allows(origin, ""):
            answer = Response(status_code=204, headers=_PREFLIGHT_GRPC_WEB if grpc_web else _PREFLIGHT)
            _allow(answer.headers, origin)
            await answer(scope, receive, send)
            return

        async def decorated(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                if origin and await self._allows(origin, scope.get("state", {}).get("client_id", "")):
                    _allow(answered, origin)
                    answered["access-control-expose-headers"] = _EXPOSED_GRPC_WEB if grpc_web else _EXPOSED
                else:
                    answered.add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, decorated)

    async def _allows(self, origin: str, client_id: str) -> bool:
        request = pb.CheckOriginRequest(origin=origin, client_id=client_id)
        try:
            return (await self._stub.CheckOrigin(request, timeout=TIMEOUT)).allowed
        except grpc.aio.AioRpcError:  # what can't be an origin, or nobody knows
            return False


def _is_for_pages(path: str) -> bool:
    if path == _OWN_PAGE or path.startswith(f"{_OWN_PAGE}/"):
        return False
    return path in _PATHS or path.startswith((*_BELOW, _GRPC_WEB))


def _allow(headers: MutableHeaders, origin: str) -> None:
    headers["access-control-allow-origin"] = origin
    headers.add_vary_header("Origin")
