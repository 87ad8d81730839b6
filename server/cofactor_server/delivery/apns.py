"""Pushes to Apple's devices: APNs over HTTP/2 with an ES256 provider token."""

import json
import re
import ssl
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey

from cofactor_server.delivery.posting import Poster, failure, members
from cofactor_server.delivery.provider import NoSuchDestination, NotTaken, Outgoing
from cofactor_server.domain.challenges.challenge import CHALLENGE_LIFE
from cofactor_server.seams import MINUTE, SECOND, Clock

API = "https://api.push.apple.com"
SERVICE = "apns"
TOKEN_LIFE = 40 * MINUTE
"""Apple wants a new token after 20 minutes at the earliest and 60 at the latest."""
GUARDIAN_CATEGORY = "com.auth0.notification.authentication"
"""Names the buttons that a Guardian app shows beside a push."""
TRANSACTION = "txtkn"
"""A member that only a push to a Guardian app has, and `OBJECTS` are those that are no texts there (W13.5)."""
OBJECTS = frozenset({"s", "l"})

_DEVICE = re.compile(r"[0-9a-fA-F]{32,200}")
_GONE = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic", "ExpiredToken", "Unregistered"})
_TOKEN_OVER = frozenset({"ExpiredProviderToken"})


class Apns:
    """One app.

    Args:
        key: PEM of the team's signing key (.p8).
        key_id: Its id, ten characters.
        team_id: The team's id, ten characters.
        topic: The app's bundle id.
        trust: What certificates are believed.
        clock: Dates what is signed.
        base: Where the API is.

    Raises:
        ValueError: The key is no P-256 key.
    """

    channels = frozenset({f"push:{SERVICE}"})

    def __init__(
        self,
        key: str,
        key_id: str,
        team_id: str,
        topic: str,
        trust: ssl.SSLContext,
        clock: Clock,
        *,
        base: str = API,
    ) -> None:
        try:
            self._key = ECKey.import_key(key)
        except (ValueError, TypeError):
            raise ValueError("must be the PEM of a P-256 key") from None
        if self._key.curve_name != "P-256":
            raise ValueError("must be the PEM of a P-256 key")
        self._key_id, self._team_id, self._topic = key_id, team_id, topic
        self._poster = Poster(base, trust, http2=True)
        self._clock = clock
        self._token = ""
        self._token_until = 0

    async def carry(self, outgoing: Outgoing) -> None:
        """Push one message; see `Provider.carry`."""
        device = outgoing.to.partition(":")[2]
        if not _DEVICE.fullmatch(device):  # it becomes part of a path
            raise NoSuchDestination("not a device token")
        now = self._clock.now()
        headers = {
            "authorization": f"bearer {self._provider_token(now)}",
            "apns-id": outgoing.id,
            "apns-topic": self._topic,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": str((now + CHALLENGE_LIFE) // SECOND),
            "content-type": "application/json",
        }
        aps: dict[str, Any] = {"alert": {"title": outgoing.subject, "body": outgoing.text}, "sound": "default"}
        mfa: dict[str, Any] = dict(outgoing.payload or {})
        if TRANSACTION in mfa:
            aps["category"] = GUARDIAN_CATEGORY
            mfa = {name: json.loads(value) if name in OBJECTS else value for name, value in mfa.items()}
        body = {"aps": aps, "mfa": mfa}
        response = await self._poster.post(f"/3/device/{device}", headers=headers, content=json.dumps(body).encode())
        if response.status_code != httpx2.codes.OK:
            raise self._failure(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()

    def _provider_token(self, now: int) -> str:
        if now >= self._token_until:
            header = {"alg": "ES256", "kid": self._key_id}
            self._token = jwt.encode(header, {"iss": self._team_id, "iat": now // SECOND}, self._key)
            self._token_until = now + TOKEN_LIFE
        return self._token

    def _failure(self, response: httpx2.Response) -> Exception:
        reason = members(response).get("reason")
        said = reason if isinstance(reason, str) and reason.isalnum() else ""
        if response.status_code == httpx2.codes.GONE or said in _GONE:
            return NoSuchDestination(said)
        if said in _TOKEN_OVER:
            self._token_until = 0
            return NotTaken(said)
        return failure(response, said)
