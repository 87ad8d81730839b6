"""The users of a run, and what they send: both follow from a number, so that no process has to tell another."""

import base64
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import sqlalchemy
from cofactor.v1 import tokens_pb2 as pb
from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.logins.login import MFA_TOKEN_LIFE, FirstFactor, Login
from cofactor_server.domain.parties.users import User
from cofactor_server.factors.totp import TotpCredential
from cofactor_server.seams import SECOND, SystemEntropy, new_id_in_order
from cofactor_server.services.tokens.logins import PURPOSE
from cofactor_server.store import tables
from cofactor_server.store.transactions import rows
from cofactor_server.store.transactions.database import open_database
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.tokens import TokenSealer

from tests.support.world import API, ISSUER, totp

SCOPE = "read:messages"
CHUNK = 5_000


class Clock:
    """The machine's clock, some whole minutes ahead: a new minute makes every user's next code a fresh one."""

    def __init__(self) -> None:
        self.ahead = 0

    def now(self) -> int:
        """Return microseconds since the Unix epoch."""
        return time.time_ns() // 1_000 + self.ahead


@dataclass(frozen=True, slots=True)
class Person:
    """One user with one authenticator app."""

    user_id: str
    authenticator_id: str
    secret: bytes
    source: str


def person(number: int) -> Person:
    """Return a user, always the same for a number; ids are spread like drawn ones."""
    drawn = hashlib.sha256(b"bench %d" % number).digest()
    user_id, secret = "usr_" + drawn[:16].hex(), hashlib.sha1(drawn).digest()
    source = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return Person(user_id, f"totp|dev_{drawn[16:24].hex()}", secret, source)


async def enroll(database_url: str, keyring: Keyring, people: int) -> None:
    """Write that many users with an active authenticator app each, past the services: they'd take an hour."""
    columns = Columns(keyring)
    created_at = time.time_ns() // 1_000 - 86_400 * SECOND
    database = open_database(database_url)

    def add(connection: sqlalchemy.Connection, numbers: Sequence[int]) -> None:
        users, authenticators = [], []
        for number in numbers:
            p = person(number)
            users.append(rows.of_user(User(p.user_id, "default", f"u{number}@example.test", "", 1, False, created_at)))
            credential = msgspec.msgpack.encode(TotpCredential(p.secret))
            sealed = columns.seal("authenticators", "credential", p.user_id, p.authenticator_id, credential)
            mine = Authenticator(
                p.user_id, p.authenticator_id, "totp", State.ACTIVE, created_at, sealed, confirmed_at=created_at
            )
            authenticators.append(rows.of_authenticator(mine))
        connection.execute(tables.users.insert(), users)
        connection.execute(tables.authenticators.insert(), authenticators)

    try:
        for start in range(0, people, CHUNK):
            numbers = range(start, min(people, start + CHUNK))
            await database.transact(lambda connection, numbers=numbers: add(connection, numbers))  # type: ignore[misc]
    finally:
        await database.close()


def load_keyring(path: Path) -> Keyring:
    """Return the run's keyring, which each process reads from a file."""
    return Keyring.load(path, Clock())


def requests(keyring: Keyring, clock: Clock, client_id: str, people: int) -> Iterator[tuple[bytes, str]]:
    """Yield one request for every user, serialized, and the address it comes from.

    Codes are those of the step that will be the middle one of the three accepted for the next half minute.
    """
    sealer, entropy = TokenSealer(keyring, ISSUER), SystemEntropy()
    encode = msgspec.msgpack.Encoder().encode
    now = clock.now()
    for number in range(people):
        p = person(number)
        began = now - people + number  # each at an instant of its own, as logins do, and redeemed in that order
        login = Login(
            id=new_id_in_order(entropy, began),
            user_id=p.user_id,
            epoch=1,
            client_id=client_id,
            scope=SCOPE,
            audience=API,
            methods=("pwd",),
            first_factor=FirstFactor.PASSWORD,
            first_factor_at=began,
            issued_at=began,
            expires_at=began + MFA_TOKEN_LIFE,
        )
        otp = totp(base64.b32encode(p.secret).decode(), now // SECOND)
        grant = pb.MfaOtpGrant(mfa_token=sealer.seal(PURPOSE, encode(login)), otp=otp)
        yield pb.IssueTokenRequest(mfa_otp=grant).SerializeToString(), p.source
