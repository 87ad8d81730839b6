"""A signed POST to a gateway of the operator's own, for any channel; docs/operations.md describes it."""

import hmac
import json
import ssl
from urllib.parse import urlsplit

import httpx2

from cofactor_server.delivery.posting import Poster, failure
from cofactor_server.delivery.provider import NoSuchDestination, Outgoing
from cofactor_server.seams import SECOND, Clock

TIMESTAMP = "cofactor-timestamp"
"""Seconds since the Unix epoch."""
SIGNATURE = "cofactor-signature"
"""`v1=` and the hexadecimal HMAC-SHA256 of the timestamp, a full stop and the body."""

KEY_OCTETS = 32
"""What a key has at least."""
UNKNOWN_DESTINATION = 422
"""The status by which a receiver says that nothing arrives there."""
CHANNELS = frozenset({"sms", "voice", "email"})


class Webhook:
    """One receiver.

    Args:
        url: Where messages are posted.
        key: Shared with the receiver, of 32 octets or more.
        trust: What certificates are believed.
        clock: Dates what is signed.

    Raises:
        ValueError: The key is too short.
    """

    channels = CHANNELS

    def __init__(self, url: str, key: bytes, trust: ssl.SSLContext, clock: Clock) -> None:
        if len(key) < KEY_OCTETS:
            raise ValueError(f"the key must have {KEY_OCTETS} octets or more")
        parts = urlsplit(url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._poster = Poster(f"{parts.scheme}://{parts.netloc}", trust)
        self._key = key
        self._clock = clock

    async def carry(self, outgoing: Outgoing) -> None:
        """Post one message; see `Provider.carry`."""
        message = {
            "id": outgoing.id,
            "channel": outgoing.channel,
            "to": outgoing.to,
            "subject": outgoing.subject,
            "text": outgoing.text,
            "locale": outgoing.locale,
        }
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = str(self._clock.now() // SECOND)
        mac = hmac.digest(self._key, timestamp.encode() + b"." + body, "sha256").hex()
        headers = {"content-type": "application/json", TIMESTAMP: timestamp, SIGNATURE: f"v1={mac}"}
        response = await self._poster.post(self._path, headers=headers, content=body)
        status = response.status_code
        if status == UNKNOWN_DESTINATION:
            raise NoSuchDestination("HTTP 422")
        # 409: it has the message of this id already.
        if status >= httpx2.codes.MULTIPLE_CHOICES and status != httpx2.codes.CONFLICT:
            raise failure(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()
