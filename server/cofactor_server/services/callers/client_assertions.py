"""Verifies client assertions: the method private_key_jwt (OpenID Connect Core section 9, W1.5)."""

from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.encoding import base64url
from cofactor_server.domain.logins.login import CLOCK_LEEWAY
from cofactor_server.domain.parties.clients import Client
from cofactor_server.seams import MINUTE, SECOND, Clock
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import accounts
from cofactor_server.vault import client_keys
from cofactor_server.vault.client_keys import AssertionInvalid
from cofactor_server.vault.digests import sha256

LONGEST_LIFE = 5 * MINUTE
LONGEST_ID = 512
"""The maximum length of a `jti`, in characters."""


class Assertions:
    """Verifies assertions, and accepts each once (replay protection)."""

    def __init__(self, deployment: Deployment, records: Records, clock: Clock) -> None:
        self._audiences = (deployment.issuer, deployment.token_endpoint)
        self._records = records
        self._clock = clock

    async def check(self, client: Client, assertion: str) -> bool:
        """Whether the assertion is signed by the client for this server, is current, and was not used before.

        Raises:
            Unavailable: The database is unavailable, so it is unknown whether the assertion was used.
        """
        try:
            claims = client_keys.verify(client.jwks, assertion)
        except AssertionInvalid:
            return False
        expires_at = self._until(client, claims)
        if not expires_at:
            return False
        # A digest bounds the length of the `jti` that a client chooses; it is unique per client.
        token_id = f"assertion:{base64url(sha256(str(claims['jti'])))}"
        return await self._records.change(accounts.spend, client.id, token_id, expires_at + CLOCK_LEEWAY)

    def _until(self, client: Client, claims: dict[str, object]) -> int:
        """Return when the assertion expires, in microseconds; 0 if a claim is invalid.

        `aud` must be a single string: with several audiences, another one could present the assertion here (ADR-25).
        """
        jti = claims.get("jti")
        if claims.get("iss") != client.id or claims.get("sub") != client.id or claims.get("aud") not in self._audiences:
            return 0
        if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_ID or not jti.isprintable():
            return 0
        now = self._clock.now()
        try:
            expires_at = _instant(claims["exp"])
            began = [_instant(claims[name]) for name in ("iat", "nbf") if name in claims]
        except (KeyError, ValueError):
            return 0
        if max(began, default=now) > now + CLOCK_LEEWAY:
            return 0
        timely = now < expires_at <= min((now, *began)) + LONGEST_LIFE + CLOCK_LEEWAY
        return expires_at if timely else 0


def _instant(value: object) -> int:
    """Return a NumericDate (RFC 7519 section 2) in microseconds; raise ValueError if it is invalid or too large."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
        return int(value * SECOND)
    raise ValueError
