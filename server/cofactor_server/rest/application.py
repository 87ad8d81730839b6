"""A Starlette application whose routes carry their own description."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Endpoint = Callable[[Request], Awaitable[Response]]
Operation = Mapping[str, Any]
"""An OpenAPI Operation Object, without its description: that is the docstring of the endpoint."""


class _ExactRoute(Route):
    """A route for one method. Starlette would answer HEAD wherever GET is answered."""

    def __init__(self, method: str, path: str, endpoint: Endpoint) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.methods = {method}


class HttpApplication(Starlette):
    """Routes, and the paths of an OpenAPI 3.1 document about them."""

    def __init__(self) -> None:
        super().__init__()
        self.router.redirect_slashes = False
        self.paths: dict[str, dict[str, Any]] = {}
        """OpenAPI Path Items of the routes that have an operation, by path."""

    def add(self, method: str, path: str, endpoint: Endpoint, operation: Operation | None = None) -> None:
        """Add a route; without an `operation` it is served and not described.

        Args:
            method: An HTTP method, in upper case.
            path: The path, e.g. `/mfa/authenticators/{id}`.
            endpoint: Answers the request; its docstring becomes the operation's description.
            operation: What the document says of the route.
        """
        self.router.routes.append(_ExactRoute(method, path, endpoint))
        if operation is not None:
            item = self.paths.setdefault(path, {})
            item[method.lower()] = {**operation, "description": inspect.getdoc(endpoint) or ""}
