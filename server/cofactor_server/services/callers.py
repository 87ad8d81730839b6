"""Turns credentials into a caller's authority."""

from cofactor_server.domain.callers import Access
from cofactor_server.domain.clients import Client
from cofactor_server.domain.logins import Login
from cofactor_server.errors import InvalidClient
from cofactor_server.seams import SECOND, Clock
from cofactor_server.services.claims import AccessTokens
from cofactor_server.services.logins import Logins
from cofactor_server.services.records import Records
from cofactor_server.store import queries
from cofactor_server.vault.digests import same, sha256

REMEMBERED = 5 * SECOND
"""How long a client that was read counts as read; every deciding transaction reads it again."""
MOST_REMEMBERED = 10_000

_NO_SECRET = sha256("")


class Callers:
    """Checks clients' credentials and users' bearer tokens."""

    def __init__(self, records: Records, logins: Logins, access_tokens: AccessTokens, clock: Clock) -> None:
        self._records = records
        self._logins = logins
        self._access_tokens = access_tokens
        self._clock = clock
        self._clients: dict[str, tuple[Client, int]] = {}

    async def client(self, client_id: str, secret: str | None) -> Client:
        """Return the client with this id, if it authenticates itself.

        Args:
            client_id: As the caller gave it.
            secret: As the caller gave it; None where a public client only names itself.

        Raises:
            InvalidClient: Unknown, a wrong secret, none where one is needed, or one where the client has none.
            Unavailable: The database is away.
        """
        client = await self._client(client_id)
        expected = client.secret_sha256 if client is not None and client.confidential else _NO_SECRET
        right = same(sha256(secret or ""), expected)
        if client is None or client.confidential == (secret is None) or not right:
            raise InvalidClient
        return client

    def login(self, mfa_token: str) -> Login:
        """Return the login an mfa_token stands for; see `Logins.open`."""
        return self._logins.open(mfa_token)

    def access(self, token: str) -> Access:
        """Return what an access token for the MFA audience allows; see `AccessTokens.access`."""
        return self._access_tokens.access(token)

    async def _client(self, client_id: str) -> Client | None:
        now = self._clock.now()
        remembered = self._clients.get(client_id)
        if remembered is not None and now < remembered[1]:
            return remembered[0]
        client = await self._records.read(queries.client, client_id)
        if client is None:
            self._clients.pop(client_id, None)
            return None
        if len(self._clients) >= MOST_REMEMBERED:
            self._clients.clear()
        self._clients[client_id] = (client, now + REMEMBERED)
        return client
