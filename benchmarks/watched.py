"""People whose devices are prompted: written past the services, all that a run of watchers needs."""

import base64
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy
from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.proofs import Purpose
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState
from cofactor_server.domain.logins.login import FirstFactor, Login
from cofactor_server.domain.parties.users import User
from cofactor_server.factors.push import PushCredential, PushExpected
from cofactor_server.seams import MINUTE, SECOND
from cofactor_server.services.proofs.oob_codes import OobCodes
from cofactor_server.services.tokens.logins import PURPOSE
from cofactor_server.store import tables
from cofactor_server.store.transactions import rows
from cofactor_server.store.transactions.database import open_database
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.tokens import TokenSealer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.world import API, ISSUER

CHUNK = 1_000
LIFE = 9 * MINUTE
"""Of the challenges: a run is over sooner."""
SHOWN = b'{"application":"Bench"}'


@dataclass(frozen=True, slots=True)
class Prompted:
    """One user with one device, and one login that waits for it; all follow from a number."""

    number: int

    def _id(self, what: str) -> str:
        return hashlib.sha256(f"watch {what} {self.number}".encode()).hexdigest()[:32]

    @property
    def user_id(self) -> str:
        return "usr_" + self._id("user")

    @property
    def device_id(self) -> str:
        return "push|dev_" + self._id("device")[:16]

    @property
    def challenge_id(self) -> str:
        return self._id("challenge")

    def login(self, client_id: str, now: int) -> Login:
        """Return the login that was begun at `now`."""
        return Login(
            id=self._id("login"),
            user_id=self.user_id,
            epoch=1,
            client_id=client_id,
            scope="",
            audience=API,
            methods=("pwd",),
            first_factor=FirstFactor.PASSWORD,
            first_factor_at=now,
            issued_at=now,
            expires_at=now + 2 * LIFE,
        )

    def key(self) -> Ed25519PrivateKey:
        """Return the device's key."""
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(self.device_id.encode()).digest())

    def approval(self) -> tuple[bytes, bytes]:
        """Return what the device signs, and its signature."""
        payload = msgspec.json.encode(
            {
                "type": "cofactor.answer",
                "version": 1,
                "issuer": ISSUER,
                "challenge": self.challenge_id,
                "user": self.user_id,
                "device": self.device_id,
                "decision": "approve",
                "number": "",
                "shown_sha256": base64.urlsafe_b64encode(hashlib.sha256(SHOWN).digest()).decode().rstrip("="),
                "time": int(time.time()),
            }
        )
        return payload, self.key().sign(payload)


class Tokens:
    """What the client of a run was given for each of its users."""

    def __init__(self, keyring: Keyring, client_id: str, begun_at: int) -> None:
        self._sealer = TokenSealer(keyring, ISSUER)
        self._oob_codes = OobCodes(self._sealer)
        self._encode = msgspec.msgpack.Encoder().encode
        self._client_id = client_id
        self._begun_at = begun_at

    def mfa_token(self, person: Prompted) -> str:
        """Return the token of a user's login."""
        return self._sealer.seal(PURPOSE, self._encode(person.login(self._client_id, self._begun_at)))

    def oob_code(self, person: Prompted) -> str:
        """Return the name of the challenge."""
        return self._oob_codes.seal(person.challenge_id)


async def prompt(database_url: str, keyring: Keyring, client_id: str, numbers: Sequence[int], begun_at: int) -> None:
    """Write users with a device each that only approves, and a challenge that waits for it."""
    columns = Columns(keyring)
    database = open_database(database_url)

    def add(connection: sqlalchemy.Connection, chunk: Sequence[int]) -> None:
        people = [Prompted(number) for number in chunk]
        users = [rows.of_user(User(p.user_id, "default", p.user_id, "", 1, False, begun_at)) for p in people]
        connection.execute(tables.users.insert(), users)
        devices, challenges = [], []
        for p in people:
            der = p.key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            kept = msgspec.msgpack.encode(PushCredential(b"", der, approve_only=True))
            sealed = columns.seal("authenticators", "credential", p.user_id, p.device_id, kept)
            device = Authenticator(
                p.user_id, p.device_id, "push", State.ACTIVE, begun_at, sealed, confirmed_at=begun_at
            )
            devices.append(rows.of_authenticator(device))
            expected = msgspec.msgpack.encode(PushExpected(SHOWN))
            challenge = Challenge(
                user_id=p.user_id,
                id=p.challenge_id,
                client_id=client_id,
                login_id=p.login(client_id, begun_at).id,
                purpose=Purpose.LOGIN,
                authenticator_id=p.device_id,
                state=ChallengeState.PENDING,
                epoch=1,
                created_at=begun_at,
                expires_at=begun_at + LIFE,
                expected=columns.seal("challenges", "expected", p.user_id, p.challenge_id, expected),
            )
            challenges.append(rows.of_challenge(challenge))
        connection.execute(tables.authenticators.insert(), devices)
        connection.execute(tables.challenges.insert(), challenges)

    try:
        for start in range(0, len(numbers), CHUNK):
            chunk = numbers[start : start + CHUNK]
            await database.transact(lambda connection, chunk=chunk: add(connection, chunk))  # type: ignore[misc]
    finally:
        await database.close()


def now() -> int:
    """Return microseconds since the Unix epoch, in whole seconds."""
    return int(time.time()) * SECOND
