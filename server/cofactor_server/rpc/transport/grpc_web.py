"""gRPC-Web for pages, beside the REST edge: an ASGI application that passes octets on to the in-process channel.

So a call from a page meets the same interceptor, the same table of callers and the same servicers as one over HTTP/2.
Only methods of `METHODS` exist here, only public clients are heard, by their id alone, and no first factor is vouched
for (ADR-5, ADR-6 and ADR-25). Whose pages may read the answers is `rest.cors`'s part.

Both forms of PROTOCOL-WEB.md in grpc/grpc are served, binary and base64 text: one message in, messages and then the
trailers out. The answer has the form of the request.
"""

import asyncio
import base64
import re
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

import grpc
import grpc.aio
from cofactor.v1 import authenticators_pb2, challenges_pb2, tokens_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError

from cofactor_server.errors import (
    CallerNotAllowed,
    CofactorError,
    InvalidRequest,
    RequestTooLarge,
    UnsupportedGrantType,
)
from cofactor_server.rpc import errors

BINARY_TYPES = frozenset({"application/grpc-web", "application/grpc-web+proto"})
TEXT_TYPES = frozenset({"application/grpc-web-text", "application/grpc-web-text+proto"})
MAX_MESSAGE = 64 * 1_024
"""Octets, as for bodies of the REST edge."""
TIMEOUT = 10.0
"""Seconds for a call that answers once and names no deadline; also the longest it may name."""
LONGEST_STREAM = 15 * 60.0
"""Seconds: longer than any challenge lives."""
PASSED_ON = ("cofactor-client-id", "authorization", "accept-language")
"""Headers that become metadata; whatever else is sent stays outside."""
NOT_FOR_PAGES = ("cofactor-client-secret", "cofactor-client-assertion", "cofactor-forwarded-for")

METHODS: Mapping[ServiceDescriptor, tuple[str, ...]] = {
    tokens_pb2.DESCRIPTOR.services_by_name["TokenService"]: (
        "IssueToken",
        "RevokeToken",
        "GetUserInfo",
        "GetJsonWebKeySet",
    ),
    challenges_pb2.DESCRIPTOR.services_by_name["ChallengeService"]: (
        "CreateChallenge",
        "WatchChallenge",
        "AnswerChallenge",
    ),
    authenticators_pb2.DESCRIPTOR.services_by_name["AuthenticatorService"]: (
        "EnrollAuthenticator",
        "ListAuthenticators",
        "GetAuthenticator",
        "UpdateAuthenticator",
        "DeleteAuthenticator",
    ),
}
"""What a page has use for. Devices, resource servers, operators and tests are no pages: for them there is nothing."""

_DATA, _TRAILERS = 0x00, 0x80
_HEAD = 5
_UNITS = {"H": 3_600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_timeout = re.compile(r"([0-9]{1,8})([HMSmun])").fullmatch
_base64_pieces = re.compile(rb"[A-Za-z0-9+/]+={0,2}").findall
_printable = re.compile(r"[ -~]*").fullmatch

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _Left(Exception):
    """The page is gone; nobody is left to be answered."""


class _Status(NamedTuple):
    code: grpc.StatusCode
    message: str
    trailing: Iterable[tuple[str, str | bytes]]


class PageMethod:
    """One method, as an ASGI application.

    Args:
        method: What it is called and says.
        channel: Of this process.
    """

    def __init__(self, method: MethodDescriptor, channel: grpc.aio.Channel) -> None:
        self.path = f"/{method.containing_service.full_name}/{method.name}"
        self._once = not method.server_streaming
        # Messages are octets on both sides: what a method says is nothing to this edge.
        self._call: Any = (channel.unary_unary if self._once else channel.unary_stream)(self.path)
        self._parse = tokens_pb2.IssueTokenRequest.FromString if method.name == "IssueToken" else None

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        headers = _headers(scope)
        scope.setdefault("state", {})["client_id"] = headers.get("cofactor-client-id", "")  # whose answer, for CORS
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in BINARY_TYPES | TEXT_TYPES:
            await _refuse_type(send)
            return
        as_text = kind in TEXT_TYPES
        answer = _Answer(send, as_text=as_text)
        try:
            metadata, timeout = _metadata(headers), self._timeout(headers)
            message = self._checked(await _message(headers, receive, as_text=as_text))
        except _Left:
            return
        except CofactorError as refusal:
            told = errors.status(refusal)
            await answer.end(_Status(told.code, told.details, told.trailing_metadata or ()))
            return
        call = self._call(message, metadata=metadata, timeout=timeout)
        gone = asyncio.create_task(_until_gone(receive))
        gone.add_done_callback(lambda _: call.cancel())
        try:
            status = await self._answered(call, answer)
            if not gone.done():
                await answer.end(status)
        except asyncio.CancelledError:
            if not gone.done():  # the server stops; else the page has left, and the call with it
                raise
        finally:
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone
            call.cancel()

    async def _answered(self, call: Any, answer: "_Answer") -> _Status:
        """Pass on what is answered, and return how the call ended."""
        try:
            if self._once:
                await answer.message(await call)
            else:
                await answer.begin()  # at once: a page learns that it listens before there is anything to tell
                async for message in call:
                    await answer.message(message)
        except grpc.aio.AioRpcError as error:
            return _Status(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
        return _Status(grpc.StatusCode.OK, "", tuple(await call.trailing_metadata() or ()))

    def _checked(self, message: bytes) -> bytes:
        """Return the message; of a grant what was looked at, so that nothing else can be read out of the octets."""
        if self._parse is None:
            return message
        try:
            request = self._parse(message)
        except DecodeError:
            raise InvalidRequest from None
        if request.WhichOneof("grant") == "vouched":
            raise UnsupportedGrantType
        return request.SerializeToString()

    def _timeout(self, headers: Mapping[str, str]) -> float:
        longest = TIMEOUT if self._once else LONGEST_STREAM
        stated = headers.get("grpc-timeout")
        if stated is None:
            return longest
        found = _timeout(stated)
        if found is None:
            raise InvalidRequest(violations=(("grpc-timeout", "is no duration"),))
        return min(longest, int(found[1]) * _UNITS[found[2]])


def page_methods(channel: grpc.aio.Channel) -> list[PageMethod]:
    """Return what pages may call, each to be served at its `path` by POST."""
    return [PageMethod(service.methods_by_name[name], channel) for service, names in METHODS.items() for name in names]


class _Answer:
    """The answer to one request: messages, then trailers, each in a frame."""

    def __init__(self, send: _Send, *, as_text: bool) -> None:
        self._send = send
        self._as_text = as_text
        self._begun = False

    async def begin(self) -> None:
        if not self._begun:
            self._begun = True
            headers = [
                (
                    b"content-type",
                    b"application/grpc-web-text+proto" if self._as_text else b"application/grpc-web+proto",
                ),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),  # proxies that collect answers would keep a watcher waiting
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def message(self, octets: bytes) -> None:
        await self.begin()
        await self._frame(_DATA, octets, more=True)

    async def end(self, status: _Status) -> None:
        await self.begin()
        lines = [f"grpc-status: {status.code.value[0]}\r\n"]
        if status.message:
            lines.append(f"grpc-message: {quote(status.message, safe=_UNQUOTED)}\r\n")
        for key, value in status.trailing:
            shown = base64.b64encode(value).decode().rstrip("=") if isinstance(value, bytes) else value
            lines.append(f"{key}: {shown}\r\n")
        await self._frame(_TRAILERS, "".join(lines).encode("ascii"), more=False)

    async def _frame(self, kind: int, octets: bytes, *, more: bool) -> None:
        body = struct.pack(">BI", kind, len(octets)) + octets
        if self._as_text:
            body = base64.b64encode(body)  # each frame by itself, so that a page can read it before the next one comes
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


_UNQUOTED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
"""Of a message; the rest is percent-encoded (PROTOCOL-HTTP2.md, `Percent-Encoded`)."""


def _headers(scope: _Scope) -> dict[str, str]:
    """Return the headers by name; one that is given twice with different values has no value that can be used."""
    found: dict[str, str] = {}
    for key, value in scope["headers"]:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1").strip()
        found[name] = text if found.get(name, text) == text else "\0"
    return found


def _metadata(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what the servicers hear of the headers.

    Raises:
        CallerNotAllowed: There is what a page can't keep, or must not state.
        InvalidRequest: A header can't be passed on.
    """
    if any(name in headers for name in NOT_FOR_PAGES) or headers.get("authorization", "").lower().startswith("basic"):
        raise CallerNotAllowed
    metadata = [(name, headers[name]) for name in PASSED_ON if name in headers]
    wrong = tuple((name, "is not one text in ASCII") for name, value in metadata if not _printable(value))
    if wrong:
        raise InvalidRequest(violations=wrong)
    return metadata


async def _message(headers: Mapping[str, str], receive: _Receive, *, as_text: bool) -> bytes:
    """Read the one message of a request.

    Raises:
        RequestTooLarge: It is longer than `MAX_MESSAGE`; the rest is not read.
        InvalidRequest: The body is something else.
        _Left: The page went away while sending.
    """
    if headers.get("grpc-encoding", "identity") != "identity":
        raise InvalidRequest(violations=(("grpc-encoding", "must be identity"),))
    limit = _HEAD + MAX_MESSAGE
    body = _decode(await _body(receive, (limit + 2) // 3 * 4)) if as_text else await _body(receive, limit)
    if len(body) < _HEAD:
        raise _malformed("is shorter than the head of a frame")
    kind, length = struct.unpack_from(">BI", body)
    if length > MAX_MESSAGE:
        raise RequestTooLarge
    if kind != _DATA:
        raise _malformed("is no frame with an uncompressed message")
    if len(body) != _HEAD + length:
        raise _malformed("is not exactly one frame")
    return bytes(body[_HEAD:])


async def _body(receive: _Receive, limit: int) -> bytearray:
    body, more = bytearray(), True
    while more:
        part = await receive()
        if part["type"] == "http.disconnect":
            raise _Left
        body += part.get("body", b"")
        more = part.get("more_body", False)
        if len(body) > limit:
            raise RequestTooLarge
    return body


def _decode(text: bytearray) -> bytearray:
    """Decode one or more pieces of base64, each of which may have its own padding."""
    pieces = _base64_pieces(text)
    if b"".join(pieces) != text:
        raise _malformed("is not base64")
    try:
        return bytearray().join(base64.b64decode(piece, validate=True) for piece in pieces)
    except ValueError:
        raise _malformed("is not base64") from None


def _malformed(problem: str) -> InvalidRequest:
    return InvalidRequest(violations=(("body", problem),))


async def _until_gone(receive: _Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse_type(send: _Send) -> None:
    headers = [
        (b"content-type", b"text/plain"),
        (b"accept-post", ", ".join(sorted(BINARY_TYPES | TEXT_TYPES)).encode()),
    ]
    await send({"type": "http.response.start", "status": 415, "headers": headers})
    await send({"type": "http.response.body", "body": b"gRPC-Web is served here\n"})
