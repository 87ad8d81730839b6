"""Answers that are given before a request was read: they reach callers who are still sending, over real sockets."""

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cofactor_server.management.app import create_management
from cofactor_server.rest.app import create_app
from cofactor_server.rest.application import HttpApplication
from cofactor_server.rpc.transport.grpc_web import page_methods
from cofactor_server.rpc.transport.local import LocalChannel
from cofactor_server.serving import http_server, lingering
from cofactor_server.serving.http_server import HttpServer
from cofactor_server.serving.listening import Listening, bind, name_of
from starlette.routing import Route

from tests.support.authorities import Authority, write

BODY = bytes(3_000_000)
FORM, JSON, WEB = "application/x-www-form-urlencoded", "application/json", "application/grpc-web+proto"
WATCH = "/cofactor.v1.ChallengeService/WatchChallenge"


@contextlib.contextmanager
def serving(edge: HttpApplication, files: Any = None) -> Iterator[int]:
    """Serve at a port, in a thread with the loop that `cofactor serve` has: transports are the loop's."""
    ready: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        sock = bind("127.0.0.1:0")
        listening = Listening(name_of(sock), None, tls=files, drain_seconds=0)
        server = await HttpServer.started(edge, sock, listening)
        stop = asyncio.Event()
        ready.set_result((sock.getsockname()[1], asyncio.get_running_loop(), stop))
        await stop.wait()
        await server.stop()

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(lambda: uvloop.run(serve()))
        port, loop, stop = ready.result(30)
        try:
            yield port
        finally:
            loop.call_soon_threadsafe(stop.set)
            running.result(30)


def pieces(body: bytes) -> Iterator[bytes]:
    """Yield a body in parts, which `http.client` sends chunked."""
    for begin in range(0, len(body), 65_536):
        yield body[begin : begin + 65_536]


def sent(
    port: int,
    path: str,
    headers: dict[str, str],
    *,
    method: str = "POST",
    body: Any = BODY,
    context: ssl.SSLContext | None = None,
) -> tuple[int, bytes, str]:
    """Send all of a body and only then read: return status, content and what the answer says of the connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    if context is not None:
        connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, named, encode_chunked=not isinstance(body, bytes))
        response = connection.getresponse()
        return response.status, response.read(), response.headers.get("connection", "")
    finally:
        connection.close()


EARLY: dict[str, tuple[str, str, str, dict[str, str], int]] = {
    "too large": ("rest", "POST", "/oauth/token", {"content_type": JSON}, 413),
    "nowhere": ("rest", "POST", "/nowhere", {"content_type": JSON}, 404),
    "by another method": ("rest", "PUT", "/oauth/token", {"content_type": JSON}, 405),
    "of another type": ("rest", "POST", "/oauth/token", {"content_type": "text/plain"}, 400),
    "without credentials": ("rest", "POST", "/mfa/associate", {"content_type": JSON}, 401),
    "of another type, from a page": ("rest", "POST", WATCH, {"content_type": JSON}, 415),
    "too large, from a page": ("rest", "POST", WATCH, {"content_type": WEB}, 200),
    "for another host": ("strict", "POST", "/oauth/token", {"content_type": FORM}, 400),
    "of operators, too large": ("management", "PUT", "/api/v2/guardian/policies", {"content_type": JSON}, 413),
    "of operators, nowhere": ("management", "POST", "/api/v2/nowhere", {"content_type": JSON}, 404),
    "of operators, by another method": ("management", "POST", "/api/v2/guardian/policies", {}, 405),
    "one too many": ("full", "POST", "/oauth/token", {"content_type": FORM}, 503),
    "broken head": ("rest", "POST", "/oauth/token", {"content_length": "many"}, 400),
}


def public(**options: Any) -> HttpApplication:
    """Return the public edge with nobody behind it: what is tested is answered before anybody is asked."""
    channel = LocalChannel()
    edge = create_app(channel, issuer="https://mfa.example.com/", **options)
    edge.router.routes.extend(Route(method.path, method, methods=["POST"]) for method in page_methods(channel))
    return edge


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], HttpApplication]:
    """Return the application of a case."""

    def edge(name: str) -> HttpApplication:
        match name:
            case "management":
                return create_management(LocalChannel())
            case "full":
                monkeypatch.setattr(http_server, "CONNECTIONS", 1)
            case "strict":
                return public(allowed_hosts=["mfa.example.com"])
        return public()

    return edge


@pytest.mark.parametrize("connection", ["keep-alive", "close", "chunked and close"])
@pytest.mark.parametrize("case", EARLY)
def test_an_early_answer_reaches_a_caller_who_sends_three_megabytes(
    edge: Callable[[str], HttpApplication], case: str, connection: str
) -> None:
    which, method, path, headers, status = EARLY[case]
    if which == "management":
        headers = {**headers, "authorization": "Bearer token"}
    body = pieces(BODY) if connection.startswith("chunked") and "content_length" not in headers else BODY
    with serving(edge(which)) as port:
        headers = {**headers, "connection": connection.rpartition(" ")[2]}
        answer = sent(port, path, headers, method=method, body=body)
    assert answer[0] == status, answer
    if status == 413:
        assert b"invalid_" in answer[1]


def test_an_early_answer_reaches_a_caller_over_tls(tmp_path: Path) -> None:
    authority = Authority.new()
    context = ssl.create_default_context(cadata=authority.pem.decode())
    with serving(public(), write(tmp_path, authority.issue("server"))) as port:
        status, content, connection = sent(port, "/oauth/token", {"content_type": JSON}, context=context)
    assert (status, json.loads(content)["error"], connection) == (413, "invalid_request", "close")


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: x", "content-type: application/json", *lines, "", ""]).encode()


def swallowed(sock: socket.socket) -> int:
    """Send until the other side wants no more, and return how many bytes it took."""
    taken = 0
    try:
        while taken < 100_000_000:
            sock.sendall(bytes(65_536))
            taken += 65_536
    except OSError:
        pass
    return taken


@pytest.mark.parametrize("path", ["/oauth/token", "/nowhere"])
def test_no_more_is_read_of_a_refused_request_than_a_number_of_bytes(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(lingering, "DISCARDED", 4_000_000)

    def send(port: int) -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(head(path, "content-length: 1000000000"))
            return swallowed(sock)

    with serving(public()) as port:
        taken = send(port)
    assert 4_000_000 <= taken < 30_000_000  # with what the kernel's buffers hold


@pytest.mark.parametrize("path", ["/oauth/token", "/nowhere"])
def test_no_longer_is_waited_for_a_refused_request_than_for_an_idle_caller(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(http_server, "KEEP_ALIVE", 1)

    def drip(port: int) -> float:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(head(path, "content-length: 1000000"))
            began = time.monotonic()
            while time.monotonic() - began < 9:
                try:
                    sock.sendall(b"x")
                except OSError:
                    break
                time.sleep(0.05)
            return time.monotonic() - began

    with serving(public()) as port:
        assert 0.5 < drip(port) < 5


def read_all(sock: socket.socket) -> bytes:
    content = b""
    while part := sock.recv(65_536):
        content += part
    return content


def test_a_caller_who_waits_for_100_continue_hears_the_answer_and_no_second_request_is_made_of_its_body() -> None:
    def send(port: int) -> tuple[bytes, bytes]:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(head("/nowhere", "content-length: 48", "expect: 100-continue"))
            heard = sock.recv(65_536)
            sock.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n".ljust(48) + head("/oauth/token"))
            return heard, read_all(sock)

    with serving(public()) as port:
        heard, later = send(port)
    assert heard.startswith(b"HTTP/1.1 404 ")
    assert b"connection: close\r\n" in heard.lower()
    assert b"HTTP/1.1" not in later


def test_a_body_that_is_wanted_is_asked_for_by_100_continue() -> None:
    def send(port: int) -> list[bytes]:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(head("/oauth/token", "content-length: 2", "expect: 100-continue", "connection: close"))
            heard = [sock.recv(65_536)]
            sock.sendall(b"{}")
            return [*heard, read_all(sock)]

    with serving(public()) as port:
        asked, answered = send(port)
    assert asked.startswith(b"HTTP/1.1 100 ")
    assert answered.startswith(b"HTTP/1.1 400 ")


def test_a_connection_is_used_again_after_an_early_answer_and_a_pipelined_request_is_whole() -> None:
    def send(port: int) -> list[int]:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(head("/nowhere", "content-length: 200000") + bytes(100_000))
            time.sleep(0.3)  # it is answered by now
            sock.sendall(bytes(100_000) + head("/oauth/token", "content-length: 2") + b"{")
            time.sleep(0.3)
            sock.sendall(b"}" + head("/nowhere", "content-length: 0", "connection: close"))
            content = read_all(sock)
        return [int(part[:3]) for part in content.split(b"HTTP/1.1 ")[1:]]

    with serving(public()) as port:
        assert send(port) == [404, 400, 404]


def test_a_server_that_stops_waits_for_no_refused_request() -> None:
    with contextlib.ExitStack() as stack:
        with serving(public()) as port:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            sock.sendall(head("/oauth/token", "content-length: 1000000"))
            assert sock.recv(65_536).startswith(b"HTTP/1.1 413 ")
            began = time.monotonic()
        assert time.monotonic() - began < 5
