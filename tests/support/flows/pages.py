"""A page's side of gRPC-Web, frame by frame: nothing here is a client library."""

import asyncio
import base64
import struct
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from cofactor_server.rest.application import HttpApplication
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tests.support.world import ISSUER, World

BINARY = "application/grpc-web+proto"
TEXT = "application/grpc-web-text+proto"
SECONDS = 30.0
"""How long a test waits for what has to come."""


def frame(octets: bytes, kind: int = 0) -> bytes:
    """Return one frame, PROTOCOL-WEB.md."""
    return struct.pack(">BI", kind, len(octets)) + octets


def decode(text: bytes) -> bytes:
    """Decode pieces of base64, each with its own padding, four characters at a time."""
    return b"".join(base64.b64decode(text[at : at + 4], validate=True) for at in range(0, len(text), 4))


@dataclass
class Ended:
    """How a call ended."""

    http: int
    headers: dict[str, str]
    messages: list[bytes] = field(repr=False)
    trailers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def code(self) -> int:
        """The gRPC code."""
        return int(self.trailers["grpc-status"])

    @property
    def text(self) -> str:
        return unquote(self.trailers.get("grpc-message", ""))

    @property
    def reason(self) -> str:
        """The reason in ErrorInfo; empty for success."""
        return str(self.detail(error_details_pb2.ErrorInfo()).reason)

    def detail(self, wanted: Any) -> Any:
        """Fill a message with the detail of its type."""
        packed = self.trailers.get("grpc-status-details-bin", "")
        status = status_pb2.Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
        for detail in status.details:
            detail.Unpack(wanted)
        return wanted


class Stream:
    """One request while it is being answered."""

    def __init__(self, edge: HttpApplication, scope: dict[str, Any], parts: Sequence[bytes], *, whole: bool) -> None:
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for number, part in enumerate(parts, 1):
            self._sent.put_nowait({"type": "http.request", "body": part, "more_body": number < len(parts) or not whole})
        self._read = bytearray()
        self.start: dict[str, Any] = {}
        self.done = False
        self.served = asyncio.create_task(self._serve(edge, scope))

    async def _serve(self, edge: HttpApplication, scope: dict[str, Any]) -> None:
        async def send(message: MutableMapping[str, Any]) -> None:
            await self._received.put(dict(message))

        await edge(scope, self._sent.get, send)

    def leave(self) -> None:
        """Go away, as a closed tab does."""
        self._sent.put_nowait({"type": "http.disconnect"})

    async def frame(self) -> tuple[int, bytes]:
        """Return the next frame's kind and octets."""
        head = await self._octets(5)
        kind, length = struct.unpack(">BI", head)
        return kind, await self._octets(length)

    async def part(self) -> bytes:
        """Return the next part of the body as it was sent."""
        async with asyncio.timeout(SECONDS):
            while not self._read:
                self._take(await self._received.get())
        part = bytes(self._read)
        self._read.clear()
        return part

    async def rest(self) -> bytes:
        """Return everything that is still to come."""
        async with asyncio.timeout(SECONDS):
            await self.served
        while not self._received.empty():
            self._take(self._received.get_nowait())
        rest = bytes(self._read)
        self._read.clear()
        return rest

    async def _octets(self, count: int) -> bytes:
        async with asyncio.timeout(SECONDS):
            while len(self._read) < count:
                self._take(await self._received.get())
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self._read += message.get("body", b"")
            self.done = not message.get("more_body", False)


class Page:
    """Calls as a page of an origin does."""

    def __init__(self, world: World, client_id: str = "", origin: str = "") -> None:
        self.edge = world.app.http()
        self.named = {"cofactor-client-id": client_id} if client_id else {}
        self.origin = {"origin": origin} if origin else {}

    def open(
        self,
        path: str,
        *parts: bytes,
        whole: bool = True,
        method: str = "POST",
        kind: str = BINARY,
        bearer: str = "",
        **headers: str,
    ) -> Stream:
        """Send a request of these parts; an underscore in the name of a header is a hyphen."""
        said = {"content-type": kind, "x-grpc-web": "1", "host": "auth.example.test", **self.named, **self.origin}
        if bearer:
            said["authorization"] = f"Bearer {bearer}"
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in said.items() if value],
            "client": ("203.0.113.7", 4711),
            "server": (ISSUER, 443),
        }
        return Stream(self.edge, scope, parts or (b"",), whole=whole)

    async def send(self, path: str, *parts: bytes, **how: Any) -> Ended:
        """Send a request, and return how it ended."""
        stream = self.open(path, *parts, **how)
        body = await stream.rest()
        headers = {name.decode().lower(): value.decode() for name, value in stream.start["headers"]}
        messages, trailers = [], {}
        if headers.get("content-type") in (BINARY, TEXT):
            rest = body if headers["content-type"] == BINARY else decode(body)
            while rest:
                kind, length = struct.unpack_from(">BI", rest)
                octets, rest = rest[5 : 5 + length], rest[5 + length :]
                if kind == 0x80:
                    assert not rest, "trailers come last"
                    lines = octets.decode("ascii").removesuffix("\r\n").split("\r\n")
                    trailers = dict(line.split(": ", 1) for line in lines)
                else:
                    assert kind == 0
                    messages.append(octets)
        return Ended(stream.start["status"], headers, messages, trailers, body)

    async def call(self, method: str, request: Message, **how: str) -> Ended:
        """Call `Service/Method` with a message."""
        return await self.send(f"/cofactor.v1.{method}", frame(request.SerializeToString()), **how)
