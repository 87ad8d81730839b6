"""POST to a provider over HTTP, and what each way of failing tells of the message."""

import ssl
from collections.abc import Mapping
from typing import Any

import httpx2

from cofactor_server.delivery.provider import Failure, MaybeTaken, NotTaken, ProviderRefuses

CONNECT_SECONDS = 4.0
IDLE_SECONDS = 15.0
"""An idle connection is dropped before the peer drops it: a message that meets a closing one would be in doubt."""

# Nothing of the request had left: no connection, or none that was free.
_BEFORE = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


class Poster:
    """A client of one provider; opened at the first message, in the loop that sends it.

    Args:
        base: URL, without a slash at its end.
        trust: What certificates are believed.
        http2: Whether to speak HTTP/2, and nothing else.
    """

    def __init__(self, base: str, trust: ssl.SSLContext, *, http2: bool = False) -> None:
        self._base = base.rstrip("/")
        self._trust = trust
        self._http2 = http2
        self._opened: httpx2.AsyncClient | None = None

    async def post(
        self,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        form: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> httpx2.Response:
        """Return the response, whatever its status.

        Raises:
            NotTaken: The request did not leave.
            MaybeTaken: It left, and no whole answer came.
        """
        try:
            return await self._client().post(
                self._base + path, headers=headers, content=content, data=form, auth=auth or httpx2.USE_CLIENT_DEFAULT
            )
        except _BEFORE as error:
            raise NotTaken(f"no connection: {type(error).__name__}") from None
        except httpx2.HTTPError as error:
            raise MaybeTaken(f"no answer: {type(error).__name__}") from None

    async def close(self) -> None:
        """Close the connections."""
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None

    def _client(self) -> httpx2.AsyncClient:
        if self._opened is None:
            self._opened = httpx2.AsyncClient(
                verify=self._trust,
                http1=not self._http2,
                http2=self._http2,
                # The sender has a deadline over everything.
                timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
                limits=httpx2.Limits(max_connections=50, keepalive_expiry=IDLE_SECONDS),
                headers={"user-agent": "Cofactor"},
            )
        return self._opened


def failure(response: httpx2.Response, said: str = "") -> Failure:
    """Return what a status that is no success says of the message.

    Args:
        response: Of 300 or more.
        said: The provider's own error code, for the log; never its text, which may quote the message.
    """
    status = response.status_code
    text = f"HTTP {status} {said}".strip()
    if status in (httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE):
        return NotTaken(text, _seconds(response.headers.get("retry-after", "")))
    if status >= httpx2.codes.INTERNAL_SERVER_ERROR or status == httpx2.codes.REQUEST_TIMEOUT:
        return MaybeTaken(text)
    return ProviderRefuses(text)


def members(response: httpx2.Response) -> Mapping[str, Any]:
    """Return the members of a JSON object; none where the body is something else."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _seconds(value: str) -> float:
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0
