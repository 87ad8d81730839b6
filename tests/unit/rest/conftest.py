"""The application over the in-process channel, and a client that compares each answer with /openapi.json."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from cofactor_server.rest import openapi
from cofactor_server.rest.app import create_app
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rpc.transport.local import LocalChannel

from tests.unit.rest.fake_api import FakeApi
from tests.unit.rest.schemas import faults

ISSUER = "https://mfa.example.com/"
DEVICES = ("/appliance-mfa/", "/rich-consents/", "/api/enroll", "/api/resolve-transaction", "/api/device-accounts/")
"""Paths of Guardian apps, whose errors have a shape of their own (W1.4)."""
PUBLIC = ("/oauth/", "/mfa/", *DEVICES)

Connect = Callable[..., httpx2.AsyncClient]


def _described(app: HttpApplication) -> dict[str, Any]:
    """Return the document of an edge's routes."""
    return openapi.document(app.paths, ISSUER)


class DescribedTransport(httpx2.ASGITransport):
    """Fails the test on an answer that the document does not describe, or without the headers of W1.3."""

    def __init__(self, app: HttpApplication, **options: Any) -> None:
        super().__init__(app=app, **options)
        self._document = _described(app)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        await response.aread()
        path = request.url.path
        if path.startswith(PUBLIC):
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["pragma"] == "no-cache"
        if path == "/userinfo":  # RFC 6750, unlike the contract's routes
            assert ("www-authenticate" in response.headers) == (response.status_code in (401, 403))
        else:
            assert "www-authenticate" not in response.headers
        if response.content:
            expected = "application/json; charset=utf-8" if path.startswith("/mfa/") else "application/json"
            assert response.headers["content-type"] == expected
        if response.status_code >= 400:
            said = response.json()
            description = said["message" if path.startswith(DEVICES) else "error_description"]
            assert said.get("statusCode", response.status_code) == response.status_code
            assert re.fullmatch(r"[ !#-\[\]-~]*", description), description  # RFC 6749 section 5.2
        if (operation := self._operation(request.method, path)) is not None:
            assert self._faults(operation, response) == []
        return response

    def _operation(self, method: str, path: str) -> Any:
        for template, operations in self._document["paths"].items():
            pattern = re.sub(r"\\\{id\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path):
                return operations.get(method.lower())
        return None

    def _faults(self, operation: Any, response: httpx2.Response) -> list[str]:
        described = operation["responses"]
        status = response.status_code
        entry = described.get(str(status)) or described.get(f"{status // 100}XX")
        if entry is None:
            return [f"status {status} is not described"]
        schema = entry.get("content", {}).get("application/json", {}).get("schema")
        if not response.content:
            return [] if schema is None else ["the body is missing"]
        return ["a body is not described"] if schema is None else faults(response.json(), schema, self._document)


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
async def connect(api: FakeApi) -> AsyncIterator[Connect]:
    """Make clients of applications with other settings; `client` is the peer's address."""
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(LocalChannel())
        api.register(channel)

        def make(client: tuple[str, int] | None = ("192.0.2.1", 50000), **settings: Any) -> httpx2.AsyncClient:
            app = create_app(channel, **{"issuer": ISSUER, **settings})
            transport = DescribedTransport(app, client=client)
            made = httpx2.AsyncClient(transport=transport, base_url="https://mfa.example.com")
            stack.push_async_callback(made.aclose)
            return made

        yield make


@pytest.fixture
def http(connect: Connect) -> httpx2.AsyncClient:
    return connect()
