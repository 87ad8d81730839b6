"""A whole deployment for a test: a real database, the real application, a clock that the test moves."""

import base64
import hmac
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cofactor_server.app import Application, Configuration, opened
from cofactor_server.domain.authenticators.proofs import Message
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.parties.apis import Api as ResourceServer
from cofactor_server.domain.parties.clients import MFA_GRANTS, Client, GrantType
from cofactor_server.domain.parties.users import MfaPolicy, User
from cofactor_server.errors import DeliveryFailed
from cofactor_server.factors.registry import Registered
from cofactor_server.hooks.target import HookTarget
from cofactor_server.seams import SECOND, SystemEntropy
from cofactor_server.services.operators.users_and_clients import NewClient, NewUser
from cofactor_server.store.transactions.group_commit import Limits
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.passwords import PasswordCost

ISSUER = "https://auth.example.test/"
API = "https://api.example.test/"
PASSWORD = "correct horse battery staple"
CHEAP = PasswordCost(time_cost=1, memory_kib=8, parallelism=1)
USER_GRANTS = frozenset({GrantType.PASSWORD, GrantType.PASSWORD_REALM, GrantType.REFRESH_TOKEN}) | MFA_GRANTS


class MovableClock:
    """A clock that stands on now and goes only where the test moves it."""

    def __init__(self) -> None:
        self._now = time.time_ns() // 1_000

    def now(self) -> int:
        """Return microseconds since the Unix epoch."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move by `seconds`, backwards if negative."""
        self._now += int(seconds * SECOND)


@dataclass
class Outbox:
    """Remembers what was sent."""

    sent: list[Message] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    """Channels over which nothing gets through."""

    async def send(self, message: Message) -> None:
        """Remember it."""
        if message.channel in self.down:
            raise DeliveryFailed
        self.sent.append(message)

    def carries(self, channel: str) -> bool:
        """Whether messages can be sent over a channel: over all."""
        return True

    async def close(self) -> None:
        """Keep what is remembered."""


@dataclass
class World:
    """One deployment, with what a test wants to know of it."""

    app: Application
    clock: MovableClock
    outbox: Outbox
    database_url: str
    keyring: Keyring

    async def client(self, **given: object) -> tuple[Client, str]:
        """Create a client; by default a confidential one with every grant but vouching."""
        defaults: dict[str, object] = {"name": "Shop", "grant_types": USER_GRANTS, "audiences": (API,)}
        return await self.app.operators.create_client(NewClient(**{**defaults, **given}))  # type: ignore[arg-type]

    async def api(self, *scopes: str, audience: str = API) -> None:
        """Register an API with its scopes."""
        await self.app.apis.create(ResourceServer(audience, "API", 0, scopes))

    async def user(
        self,
        subject: str = "alice@example.test",
        *,
        realm: str = "default",
        mfa_policy: MfaPolicy | None = None,
        email: str = "",
        email_verified: bool = False,
    ) -> User:
        """Create a user whose password is `PASSWORD`."""
        new = NewUser(realm, subject, PASSWORD, subject, mfa_policy, email, email_verified)
        return await self.app.operators.create_user(new)

    def otp(self, secret: str, *, steps: int = 0, period: int = 30, digits: int = 6, algorithm: str = "SHA1") -> str:
        """Return the code an authenticator app shows now, or `steps` later."""
        return totp(secret, self.clock.now() // SECOND + steps * period, period, digits, algorithm)


def totp(secret: str, at: int, period: int = 30, digits: int = 6, algorithm: str = "SHA1") -> str:
    """Return an RFC 6238 code, computed independently of the server's library.

    Args:
        secret: Base32 without padding.
        at: Seconds since the Unix epoch.
        period: Seconds.
        digits: Of the code.
        algorithm: Hash under the HMAC.
    """
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    mac = hmac.new(key, struct.pack(">Q", at // period), algorithm.lower()).digest()
    offset = mac[-1] & 15
    number = struct.unpack(">I", mac[offset : offset + 4])[0] & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def deployment(**given: object) -> Deployment:
    """Return the deployment most tests run in: MFA always, TOTP and recovery codes on."""
    defaults: dict[str, object] = {
        "issuer": ISSUER,
        "friendly_name": "Example",
        "mfa_policy": MfaPolicy.ALWAYS,
        "kinds": frozenset({"totp", "recovery-code"}),
        "refusal_pause": SECOND // 5,
    }
    return Deployment(**{**defaults, **given})  # type: ignore[arg-type]


@asynccontextmanager
async def world_on(
    database_url: str,
    *,
    clock: MovableClock | None = None,
    keyring: Keyring | None = None,
    factors: Sequence[Registered] = (),
    limits: Limits | None = None,
    access_log: bool = False,
    listen_url: str = "",
    hook: HookTarget | None = None,
    **given: object,
) -> AsyncIterator[World]:
    """Open a deployment on a database; a second one with the same clock and keyring is its replica."""
    clock = clock or MovableClock()
    keyring = keyring or Keyring(Keyring.generate(SystemEntropy()), clock)
    outbox = Outbox()
    configuration = Configuration(
        database_url=database_url,
        listen_url=listen_url,
        keyring=keyring,
        deployment=deployment(**given),
        clock=clock,
        factors=factors,
        sender=outbox,
        password_cost=CHEAP,
        limits=limits or Limits(),
        hook=hook,
        access_log=access_log,
    )
    async with opened(configuration) as app:
        yield World(app, clock, outbox, database_url, keyring)
