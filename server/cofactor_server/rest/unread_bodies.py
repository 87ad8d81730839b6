"""Reads what is left of a refused request's body, so that the client gets the answer.

A server that closes a connection with unread bytes resets it. A client that is still sending then sees a broken pipe
and not the answer (RFC 9112 section 9.6). So the answer goes out first, and the connection ends after the client has
sent its body, or after a bound in bytes and time.
"""

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

MAX_BYTES = 16 * 1024 * 1024
"""Bytes that are read and thrown away."""
MAX_SECONDS = 10.0
"""Seconds that reading them may take."""


class UnreadBody:
    """One request's body and answer: `receive` and `send` take the place of the server's own."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._send = send
        self._pending = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._awaits_continue = headers.get("expect", "").lower() == "100-continue"

    async def receive(self) -> Message:
        """Return the next part of the body."""
        self._awaits_continue = False  # the server tells the client to go on
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._pending = False
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer; before its end, read what the client is still sending."""
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        # A client that waits for 100 Continue sends no body after a refusal (RFC 9110 section 10.1.1).
        if not is_last or not self._pending or self._awaits_continue:
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        with suppress(TimeoutError):
            await asyncio.wait_for(self._read_on(), MAX_SECONDS)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read_on(self) -> None:
        left = MAX_BYTES
        while self._pending and left > 0:
            left -= len((await self.receive()).get("body", b""))
