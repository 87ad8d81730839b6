"""Answers that reach a caller who is still sending: connections are closed in stages (RFC 9112 section 9.6).

Most refusals are known before the body is read: too large, no such path, no credentials, too many connections. Uvicorn
closes at once where it says `Connection: close`. The kernel resets a connection that is closed with bytes unread, and
the reset can take the answer with it: the caller sees a broken pipe instead of a 413. So what still comes is read and
thrown away, up to a number of bytes and for a time.
"""

import asyncio
from typing import Any, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

DISCARDED = 16 * 1_024 * 1_024
"""Bytes of a refused request that are read after its answer; a caller who sends more is cut off."""
FAREWELL = 0.5
"""Seconds for the same where the server stops: less than its shortest grace."""


class _Connection(h11.Connection):
    """Closes after a final answer to a caller who waits for `100 Continue`.

    It may send its body or leave it out (RFC 9110 section 10.1.1). The bytes that follow could be that body or the next
    request, and must be taken for neither.
    """

    def send(self, event: Any) -> Any:
        """Return the bytes of an event."""
        if isinstance(event, h11.Response) and self.they_are_waiting_for_100_continue:
            headers = [*event.headers.raw_items(), (b"connection", b"close")]
            event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
        return super().send(event)


class _Transport:
    """The transport that uvicorn writes to; closing it is left to the protocol."""

    def __init__(self, transport: asyncio.Transport, protocol: "LingeringProtocol") -> None:
        self._protocol = protocol
        self.write = transport.write
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def close(self) -> None:
        self._protocol.close()

    def is_closing(self) -> bool:
        return self._protocol.is_closing()


class LingeringProtocol(H11Protocol):
    """Uvicorn's protocol on h11, for `uvicorn.Config(http=…)`. It reads on for `timeout_keep_alive` seconds at most."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = _Connection(h11.SERVER, config.h11_max_incomplete_event_size or 16_384)
        self._socket: asyncio.Transport = None  # type: ignore[assignment]  # until a connection is made, as uvicorn's
        self._left: int | None = None
        """Bytes that may still be thrown away; None while a request is read as usual."""
        self._last = False
        """Whether the connection ends after that."""
        self._timer: asyncio.TimerHandle | None = None
        self._stops = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport, and give uvicorn one that is closed in stages."""
        self._socket = transport
        super().connection_made(cast(asyncio.Transport, _Transport(transport, self)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Read a request, or throw away what is left of one."""
        if self._left is None:
            super().data_received(data)
            return
        self._left -= len(data)
        if self._left < 0:
            self._socket.close()
        elif self.conn.their_state is not h11.ERROR:  # else nobody knows where the request ends
            self._discard(data)

    def shutdown(self) -> None:
        """End when the server stops."""
        self._stops = True
        if self._last:
            self._close_later()
        else:
            super().shutdown()

    def is_closing(self) -> bool:
        """Tell whether the connection takes no more requests."""
        return self._last or self._socket.is_closing()

    def close(self) -> None:
        """Close, but let a caller who is still sending read the answer first."""
        unread = self.conn.their_state in (h11.SEND_BODY, h11.ERROR)
        if self._left is not None or not unread or self._socket.is_closing():
            self._socket.close()
            return
        self._left, self._last = DISCARDED, True
        self._unset_keepalive_if_required()
        self._close_later()
        # None before the first request. As where a connection is lost: the application has nobody to answer.
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self._socket.can_write_eof():  # TLS can't: there the caller goes by the answer's length
            self._socket.write_eof()
        self.flow.resume_reading()

    def _close_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(FAREWELL if self._stops else self.timeout_keep_alive, self._socket.close)

    def on_response_complete(self) -> None:
        """Bound what is still to come of a request that is answered, where the connection stays open."""
        unread = self.conn.their_state is h11.SEND_BODY  # of this request: uvicorn goes on to the next one
        super().on_response_complete()  # its timer for idle connections bounds the time
        if unread and not self.is_closing():
            self._left = DISCARDED

    def _discard(self, data: bytes) -> None:
        self.conn.receive_data(data)
        try:
            event = self.conn.next_event()
            while isinstance(event, h11.Data):
                event = self.conn.next_event()
        except h11.RemoteProtocolError:  # an answer was given: there is no other
            self._socket.close()
            return
        if not isinstance(event, h11.EndOfMessage):
            return
        if self._last:
            self._socket.close()
            return
        self._left = None
        self.conn.start_next_cycle()
        self.handle_events()
