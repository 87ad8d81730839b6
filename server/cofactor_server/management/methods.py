"""A user's authentication methods (W10.3)."""

from collections.abc import Callable, Mapping
from typing import Any

import grpc.aio
from cofactor.admin.v1 import methods_pb2 as pb
from cofactor.admin.v1.methods_pb2_grpc import AuthenticationMethodServiceStub
from google.protobuf.field_mask_pb2 import FieldMask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cofactor_server.management import requests, shapes
from cofactor_server.rest import credentials
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rest.bodies import Body, malformed
from cofactor_server.rest.tokens import TIMEOUT

LONGEST_NAME = 20
_LONGEST = 320
_PREFERRED = ("sms", "voice")
_MEMBERS: Mapping[str, frozenset[str]] = {
    "totp": frozenset({"type", "name", "totp_secret"}),
    "phone": frozenset({"type", "name", "phone_number", "preferred_authentication_method"}),
    "email": frozenset({"type", "name", "email"}),
}
_EVERY = frozenset[str]().union(*_MEMBERS.values())


class Methods:
    """The routes.

    Parameters:
        channel: to cofactor.admin.v1.
        limit: how much of a body is read, in octets.
    """

    def __init__(self, channel: grpc.aio.Channel, *, limit: int) -> None:
        self._stub = AuthenticationMethodServiceStub(channel)
        self._limit = limit

    def register(self, app: HttpApplication, base: str) -> None:
        """Add the routes to `app`, below `base`."""
        at = f"{base}/users/{{id}}/authentication-methods"
        app.add("GET", at, self.list)
        app.add("POST", at, self.add)
        app.add("PUT", at, self.replace)
        app.add("DELETE", at, self.remove_all)
        app.add("GET", f"{at}/{{method_id}}", self.get)
        app.add("PATCH", f"{at}/{{method_id}}", self.change)
        app.add("DELETE", f"{at}/{{method_id}}", self.remove)

    async def list(self, request: Request) -> Response:
        """List a user's methods, page by page: beyond the last page there is an empty one."""
        query = requests.query(request, "page", "per_page", "include_totals")
        totals = requests.truth(query, "include_totals")
        requests.page(query, ())
        message = pb.ListAuthenticationMethodsRequest(user_id=requests.path(request))
        metadata = credentials.of_bearer(request)
        found = await self._stub.ListAuthenticationMethods(message, metadata=metadata, timeout=TIMEOUT)
        some, start, size = requests.page(query, found.methods)
        shown = [shapes.method(method) for method in some]
        if not totals:
            return JSONResponse(shown)
        return JSONResponse({"authenticators": shown, "total": len(found.methods), "start": start, "limit": size})

    async def get(self, request: Request) -> Response:
        """Show one method."""
        requests.query(request)
        message = pb.GetAuthenticationMethodRequest(
            user_id=requests.path(request), id=requests.path(request, "method_id")
        )
        metadata = credentials.of_bearer(request)
        found = await self._stub.GetAuthenticationMethod(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse(shapes.method(found.method))

    async def add(self, request: Request) -> Response:
        """Add a method that is confirmed already."""
        requests.query(request)
        metadata, user_id = credentials.of_bearer(request), requests.path(request)
        body = await requests.body(request, self._limit, _EVERY)
        message = pb.AddAuthenticationMethodRequest(user_id=user_id, method=_wanted(body))
        made = await self._stub.AddAuthenticationMethod(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse(shapes.created(made.method), 201)

    async def replace(self, request: Request) -> Response:
        """Replace all methods; whoever sets them is answered without masks."""
        requests.query(request)
        metadata, user_id = credentials.of_bearer(request), requests.path(request)
        items = await requests.objects(request, self._limit, _EVERY)
        wanted = [_wanted(item) for item in items]
        message = pb.ReplaceAuthenticationMethodsRequest(user_id=user_id, methods=wanted)
        made = await self._stub.ReplaceAuthenticationMethods(message, metadata=metadata, timeout=TIMEOUT)
        shown = [shapes.created(method) for method in made.methods]
        for method, asked in zip(shown, wanted, strict=True):
            if asked.HasField("totp"):
                method["totp_secret"] = asked.totp.secret
        return JSONResponse(shown)

    async def change(self, request: Request) -> Response:
        """Rename a method, or have one way to reach a telephone offered first."""
        requests.query(request)
        metadata, user_id = credentials.of_bearer(request), requests.path(request)
        body = await requests.body(request, self._limit, {"name", "preferred_authentication_method"})
        method = pb.AuthenticationMethod(
            id=requests.path(request, "method_id"), name=_name(body), preferred=_preferred(body)
        )
        given = [name for name, value in (("name", method.name), ("preferred", method.preferred)) if value]
        if not given:
            raise malformed("body", "must have one member at least")
        message = pb.UpdateAuthenticationMethodRequest(
            user_id=user_id, method=method, update_mask=FieldMask(paths=given)
        )
        changed = await self._stub.UpdateAuthenticationMethod(message, metadata=metadata, timeout=TIMEOUT)
        return JSONResponse(shapes.method(changed.method))

    async def remove(self, request: Request) -> Response:
        """Remove a method and what it is linked to."""
        requests.query(request)
        message = pb.DeleteAuthenticationMethodRequest(
            user_id=requests.path(request), id=requests.path(request, "method_id")
        )
        metadata = credentials.of_bearer(request)
        await self._stub.DeleteAuthenticationMethod(message, metadata=metadata, timeout=TIMEOUT)
        return Response(status_code=204)

    async def remove_all(self, request: Request) -> Response:
        """Reset a user."""
        requests.query(request)
        message = pb.DeleteAuthenticationMethodsRequest(user_id=requests.path(request))
        metadata = credentials.of_bearer(request)
        await self._stub.DeleteAuthenticationMethods(message, metadata=metadata, timeout=TIMEOUT)
        return Response(status_code=204)


def _wanted(body: Body) -> pb.NewAuthenticationMethod:
    kind = body.text("type")
    make = _MAKERS.get(kind)
    if make is None:
        raise malformed("type", f"must be one of {', '.join(_MAKERS)}")
    requests.closed(body, _MEMBERS[kind])
    wanted = pb.NewAuthenticationMethod(name=_name(body))
    make(wanted, body)
    return wanted


def _totp(wanted: pb.NewAuthenticationMethod, body: Body) -> None:
    wanted.totp.secret = _required(body, "totp_secret")


def _phone(wanted: pb.NewAuthenticationMethod, body: Body) -> None:
    wanted.phone.number = _required(body, "phone_number")
    wanted.phone.preferred = _preferred(body)


def _email(wanted: pb.NewAuthenticationMethod, body: Body) -> None:
    wanted.email.address = _required(body, "email")


_MAKERS: Mapping[str, Callable[[pb.NewAuthenticationMethod, Body], Any]] = {
    "phone": _phone,
    "email": _email,
    "totp": _totp,
}


def _required(body: Body, name: str) -> str:
    value = requests.text(body, name, longest=_LONGEST)
    if not value:
        raise malformed(name, "is required for this type")
    return value


def _name(body: Body) -> str:
    return requests.text(body, "name", longest=LONGEST_NAME)


def _preferred(body: Body) -> str:
    value = body.text("preferred_authentication_method")
    if value and value not in _PREFERRED:
        raise malformed("preferred_authentication_method", f"must be {' or '.join(_PREFERRED)}")
    return value
