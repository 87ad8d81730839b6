"""A refusal reaches a client that is still sending its body, over a real socket."""

import asyncio
import contextlib
import http.client
import socket
from collections.abc import AsyncIterator

import pytest
from cofactor_server.management.app import create_management
from cofactor_server.rest.app import create_app
from cofactor_server.rpc.transport.local import LocalChannel
from cofactor_server.serving.http_server import HttpServer
from cofactor_server.serving.listening import Listening, bind, name_of

BODY = b"x" * 3_000_000
JSON = {"content-type": "application/json"}


@pytest.fixture(params=["rest", "management"])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    channel = LocalChannel()
    edge = (
        create_app(channel, issuer="http://127.0.0.1/", allowed_hosts=["127.0.0.1"])
        if request.param == "rest"
        else create_management(channel, allowed_hosts=["127.0.0.1"])
    )
    sock = bind("127.0.0.1:0")
    server = await HttpServer.started(edge, sock, Listening(name_of(sock), None, drain_seconds=0))
    try:
        yield sock.getsockname()[1]
    finally:
        await server.stop()


def post(port: int, path: str, headers: dict[str, str], *, chunked: bool = False) -> tuple[int, bytes]:
    """Send all of the body before anything is read, as http.client does."""
    pieces = (BODY[at : at + 50_000] for at in range(0, len(BODY), 50_000)) if chunked else BODY
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, pieces, headers, encode_chunked=chunked)
        response = connection.getresponse()
        return response.status, response.read()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nowhere", JSON, 404),
        ("/nowhere", {**JSON, "host": "elsewhere.example"}, 400),
        ("/oauth/token", JSON, 413),
        ("/oauth/token", {"content-type": "text/plain"}, 400),
        ("/userinfo", JSON, 401),
        ("/mfa/authenticators", JSON, 405),
        ("/mfa/associate", JSON, 401),
        ("/api/v2/guardian/enrollments/ticket", JSON, 401),
        ("/api/v2/guardian/factors", JSON, 405),
    ],
)
async def test_an_early_refusal_reaches_who_is_still_sending(
    port: int, request: pytest.FixtureRequest, path: str, headers: dict[str, str], status: int, chunked: bool
) -> None:
    sent = {**headers, "transfer-encoding": "chunked"} if chunked else headers
    is_of_management = path.startswith("/api/v2")
    if is_of_management != ("management" in request.node.callspec.id):
        status = status if path == "/nowhere" else 404

    found, body = await asyncio.to_thread(post, port, path, sent, chunked=chunked)

    assert found == status, body
    assert body.startswith(b"{")


@pytest.mark.parametrize("port", ["rest"], indirect=True)
async def test_the_connection_goes_on_after_a_body_that_was_read_away(port: int) -> None:
    def twice() -> list[int]:
        statuses = []
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            for _ in range(2):
                connection.request("POST", "/oauth/token", BODY, JSON)
                response = connection.getresponse()
                response.read()
                statuses.append(response.status)
        return statuses

    assert await asyncio.to_thread(twice) == [413, 413]


@pytest.mark.parametrize("port", ["rest"], indirect=True)
async def test_who_waits_for_100_continue_is_refused_without_it(port: int) -> None:
    def expect() -> bytes:
        head = b"POST /nowhere HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(head)
            return sock.recv(65_536)

    assert (await asyncio.to_thread(expect)).startswith(b"HTTP/1.1 404 ")
