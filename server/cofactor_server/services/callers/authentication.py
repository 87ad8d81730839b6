"""Verifies credentials and returns the caller's authority."""

from collections.abc import Set

from cofactor_server.domain.callers import Access
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.clients import Client, Method
from cofactor_server.domain.parties.operators import Operator
from cofactor_server.errors import InvalidClient
from cofactor_server.seams import SECOND, Clock
from cofactor_server.services.callers.client_assertions import Assertions
from cofactor_server.services.callers.operator_tokens import OperatorTokens
from cofactor_server.services.proofs.switches import Switches
from cofactor_server.services.tokens.claims import AccessTokens
from cofactor_server.services.tokens.logins import Logins
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import queries
from cofactor_server.vault import client_keys
from cofactor_server.vault.digests import same, sha256

REMEMBERED = 5 * SECOND
"""The cache TTL of a client; every deciding transaction reads the client again."""
MOST_REMEMBERED = 10_000

_NO_SECRET = sha256("")


class Callers:
    """Checks clients' credentials and users' bearer tokens."""

    def __init__(
        self,
        *,
        records: Records,
        logins: Logins,
        access_tokens: AccessTokens,
        assertions: Assertions,
        operator_tokens: OperatorTokens,
        switches: Switches,
        clock: Clock,
    ) -> None:
        self._records = records
        self._operator_tokens = operator_tokens
        self._switches = switches
        self._assertions = assertions
        self._logins = logins
        self._access_tokens = access_tokens
        self._clock = clock
        self._clients: dict[str, tuple[Client, int]] = {}

    async def client(self, client_id: str | None, secret: str | None, sans: Set[str], assertion: str | None) -> Client:
        """Return the client with this id, if it authenticates with its registered method and no second one.

        A client that authenticates with a certificate has no secret, and is refused if it sends one too
        (RFC 6749 section 2.3). For a client that authenticates with a secret, a certificate proves nothing.

        Args:
            client_id: The client id as sent; None for clients that sign an assertion, which names them.
            secret: The client secret as sent; None for none.
            sans: Subject alternative names, in the form of `Client.tls_san`, of the certificate that TLS verified.
            assertion: The signed client assertion (RFC 7523 section 2.2); None for none.

        Raises:
            InvalidClient: The client is unknown, its secret is wrong, missing or unexpected, the certificate is not
                its own, or the assertion is another client's, for another audience, expired, or used before.
            Unavailable: The database is unavailable.
        """
        client_id = client_id or (client_keys.names(assertion) if assertion else "")
        client = await self._client(client_id)
        expected = client.secret_sha256 if client is not None and client.secret_sha256 else _NO_SECRET
        right = same(sha256(secret or ""), expected)
        if client is None:
            raise InvalidClient
        match client.method:
            case Method.SECRET if secret is not None and right and assertion is None:
                return client
            case Method.TLS if secret is None and assertion is None and client.tls_san in sans:
                return client
            case Method.KEY if secret is None and assertion is not None:
                if await self._assertions.check(client, assertion):
                    return client
            case Method.NONE if secret is None and assertion is None:
                return client
        raise InvalidClient

    def login(self, mfa_token: str) -> Login:
        """Return the login of an mfa_token; see `Logins.open`."""
        return self._logins.open(mfa_token)

    def access(self, token: str) -> Access:
        """Return the authority of an access token for the MFA audience; see `AccessTokens.access`."""
        return self._access_tokens.access(token)

    def identity(self, token: str) -> Access:
        """Return the authority of an access token for user info; see `AccessTokens.identity`."""
        return self._access_tokens.identity(token)

    def operator(self, token: str) -> Operator:
        """Return the operator that a token identifies; see `OperatorTokens.open`."""
        return self._operator_tokens.open(token)

    async def follow_switches(self) -> None:
        """Refresh which factors operators have switched off; see `Switches.follow`."""
        await self._switches.follow()

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
