"""A real HTTP server on loopback that remembers what it was sent, and fails on demand."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qs


class Fault(Enum):
    """What it does instead of answering, once it has the whole request."""

    HANG = "hang"
    CUT = "cut"


@dataclass(frozen=True)
class Answer:
    """What it answers."""

    status: int = 201
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """Its fields; each may be there once."""
        fields = parse_qs(self.body.decode(), keep_blank_values=True, strict_parsing=True)
        assert all(len(values) == 1 for values in fields.values())
        return {name: values[0] for name, values in fields.items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Gateway:
    """The server; `plan` is used up answer by answer, and its last one stays."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.plan: list[Answer | Fault] = [Answer()]
        self.url = ""
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    def will(self, *plan: Answer | Fault) -> None:
        """Say what the next requests meet."""
        self.plan = list(plan)

    async def close(self) -> None:
        """Hang up, and wait until nothing is left."""
        for writer in self._open.values():
            writer.close()
        await asyncio.gather(*(task for task in self._open if task is not None), return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[asyncio.current_task()] = writer
        try:
            while (received := await _read(reader)) is not None:
                self.received.append(received)
                match self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]:
                    case Fault.HANG:
                        await reader.read()
                        return
                    case Fault.CUT:
                        writer.transport.abort()
                        return
                    case Answer() as answer:
                        writer.write(_octets(answer))
                        await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("ascii").strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body)


def _octets(answer: Answer) -> bytes:
    body = json.dumps(answer.body).encode()
    lines = [f"HTTP/1.1 {answer.status} x", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def gateway() -> AsyncIterator[Gateway]:
    """Run one."""
    found = Gateway()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        await found.close()


async def unused_url() -> str:
    """Return a URL where nobody listens."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"http://127.0.0.1:{port}"
