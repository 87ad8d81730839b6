"""Pushes to Android, and to what else Firebase reaches: FCM HTTP v1 with a service account's OAuth 2 token."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
from joserfc import jwt
from joserfc.jwk import RSAKey

from cofactor_server.delivery.posting import Poster, failure, members
from cofactor_server.delivery.provider import NoSuchDestination, NotTaken, Outgoing, ProviderRefuses
from cofactor_server.domain.challenges.challenge import CHALLENGE_LIFE
from cofactor_server.origin import is_loopback
from cofactor_server.seams import HOUR, MINUTE, SECOND, Clock

API = "https://fcm.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""RFC 7523 section 2.1."""
SERVICE = "fcm"

_GONE = frozenset({"UNREGISTERED", "SENDER_ID_MISMATCH"})


def _secure(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ValueError("a token is asked for over https")
    return url


class Fcm:
    """One Firebase project.

    Args:
        account: The service account's JSON, as Google's console gives it.
        trust: What certificates are believed.
        clock: Dates what is signed.
        base: Where the API is.

    Raises:
        ValueError: The account is not complete, or its key is none.
    """

    channels = frozenset({f"push:{SERVICE}"})

    def __init__(self, account: Mapping[str, Any], trust: ssl.SSLContext, clock: Clock, *, base: str = API) -> None:
        try:
            project, self._email = str(account["project_id"]), str(account["client_email"])
            self._token_uri = _secure(str(account["token_uri"]))
            self._key = RSAKey.import_key(str(account["private_key"]))
            self._key_id = str(account.get("private_key_id", ""))
        except (KeyError, ValueError, TypeError):
            raise ValueError("must be the JSON of a service account: a member is missing or wrong") from None
        self._path = f"/v1/projects/{quote(project, safe='')}/messages:send"
        self._messages = Poster(base, trust)
        self._tokens = Poster(self._token_uri, trust)
        self._clock = clock
        self._asking = asyncio.Lock()
        self._token = ""
        self._token_until = 0

    async def carry(self, outgoing: Outgoing) -> None:
        """Push one message; see `Provider.carry`."""
        message = {
            "token": outgoing.to.partition(":")[2],
            "data": dict(outgoing.payload or {}),
            "android": {"priority": "HIGH", "ttl": f"{CHALLENGE_LIFE // SECOND}s"},
            "apns": {
                "payload": {"aps": {"alert": {"title": outgoing.subject, "body": outgoing.text}, "sound": "default"}}
            },
        }
        headers = {"authorization": f"Bearer {await self._access_token()}", "content-type": "application/json"}
        content = json.dumps({"message": message}).encode()
        response = await self._messages.post(self._path, headers=headers, content=content)
        if response.status_code >= httpx2.codes.MULTIPLE_CHOICES:
            raise self._failure(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._messages.close()
        await self._tokens.close()

    async def _access_token(self) -> str:
        """Return an access token, asked for once an hour; nothing was sent when this fails."""
        async with self._asking:
            now = self._clock.now()
            if now < self._token_until:
                return self._token
            form = {"grant_type": GRANT, "assertion": self._assertion(now)}
            try:
                response = await self._tokens.post("", form=form)
            except Exception as error:
                raise NotTaken(f"no access token: {error}") from None
            if response.status_code != httpx2.codes.OK:
                refusal = failure(response, "from the token endpoint")
                raise refusal if isinstance(refusal, ProviderRefuses) else NotTaken(str(refusal))
            told = members(response)
            token, seconds = told.get("access_token"), told.get("expires_in")
            if not isinstance(token, str) or not isinstance(seconds, int):
                raise ProviderRefuses("the token endpoint answers with no token")
            self._token, self._token_until = token, now + seconds * SECOND - MINUTE
            return token

    def _assertion(self, now: int) -> str:
        claims = {"iss": self._email, "scope": SCOPE, "aud": self._token_uri}
        times = {"iat": now // SECOND, "exp": (now + HOUR) // SECOND}
        return jwt.encode({"alg": "RS256", "kid": self._key_id}, {**claims, **times}, self._key)

    def _failure(self, response: httpx2.Response) -> Exception:
        error = members(response).get("error")
        details = error.get("details", ()) if isinstance(error, dict) else ()
        codes = [str(d["errorCode"]) for d in details if isinstance(d, dict) and "errorCode" in d]
        if response.status_code == httpx2.codes.NOT_FOUND or _GONE & set(codes):
            return NoSuchDestination(f"HTTP {response.status_code} {' '.join(codes)}".strip())
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            self._token_until = 0  # ended before its time: the next attempt asks for another
            return NotTaken("HTTP 401")
        return failure(response, " ".join(codes))
