"""A real HTTP/2 server over TLS, which remembers what it was sent."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from tests.unit.delivery.gateway import Answer, Fault, Received


class Http2Gateway:
    """As `Gateway`, over HTTP/2."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.plan: list[Answer | Fault] = [Answer(200)]
        self.url = ""
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def close(self) -> None:
        """Hang up, and wait until nothing is left."""
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*(task for task in self._open if task is not None), return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[asyncio.current_task()] = writer
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        heads: dict[int, dict[str, str]] = {}
        bodies: dict[int, bytes] = {}
        try:
            writer.write(connection.data_to_send())
            while octets := await reader.read(65_536):
                for event in connection.receive_data(octets):
                    match event:
                        case RequestReceived():
                            heads[event.stream_id] = {str(name): str(value) for name, value in event.headers}
                        case DataReceived():
                            bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        case StreamEnded():
                            head = heads.pop(event.stream_id)
                            body = bodies.pop(event.stream_id, b"")
                            self.received.append(Received(head[":method"], head[":path"], head, body))
                            self._answer(connection, event.stream_id, writer)
                writer.write(connection.data_to_send())
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _answer(self, connection: H2Connection, stream_id: int, writer: asyncio.StreamWriter) -> None:
        match self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]:
            case Fault.CUT:
                writer.transport.abort()
            case Answer(status, body):
                connection.send_headers(stream_id, [(":status", str(status)), ("content-type", "application/json")])
                connection.send_data(stream_id, json.dumps(body).encode(), end_stream=True)


@asynccontextmanager
async def http2_gateway(context: ssl.SSLContext) -> AsyncIterator[Http2Gateway]:
    """Run one; `context` shows its certificate."""
    context.set_alpn_protocols(["h2"])
    found = Http2Gateway()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=context)
    found.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        await found.close()
