"""Imports hardware tokens with secrets from their manufacturer and binds them to users, all or none (S193)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cofactor_server.domain.authenticators.authenticator import NAME_LENGTH, Authenticator, State, id_of, new_suffix
from cofactor_server.domain.authenticators.kinds import HOTP
from cofactor_server.domain.parties.users import User
from cofactor_server.errors import InvalidRequest
from cofactor_server.factors.hotp import hotp_credential
from cofactor_server.seams import Clock, Entropy
from cofactor_server.services.messages.notices import Recipients
from cofactor_server.services.proofs.credentials import Credentials
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import bindings


@dataclass(frozen=True, slots=True)
class Seed:
    """One token of an import."""

    place: str
    """Its position in the input, such as `line 3`; problem reports about this token start with it."""
    serial: str
    user: str
    secret: bytes = field(repr=False)
    digits: int = 6
    counter: int = 0
    algorithm: str = "SHA1"


class ImportRefused(Exception):
    """The import was refused as a whole; `problems` lists what is wrong with each token and contains no secret."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


class TokenImports:
    """Binds counter-based (HOTP) tokens to existing users.

    A token is active at once: its manufacturer knows the secret already, and its user may be far away. Its serial
    number is unique over all users, so that one token never belongs to two users.
    """

    def __init__(
        self, records: Records, credentials: Credentials, recipients: Recipients, clock: Clock, entropy: Entropy
    ) -> None:
        self._records = records
        self._credentials = credentials
        self._recipients = recipients
        self._clock = clock
        self._entropy = entropy

    async def add(self, realm: str, seeds: Sequence[Seed], *, allow_short: bool) -> int:
        """Import tokens in one transaction, and return their number.

        Args:
            realm: The realm of all users named.
            seeds: The tokens.
            allow_short: Accept secrets of 80 to 127 bits, which RFC 4226 (R6) forbids and old tokens have.

        Raises:
            ImportRefused: At least one token can't be bound; no token was bound.
        """
        problems = [f"{seed.place}: {problem}" for seed in seeds if (problem := _problem(seed, allow_short))]
        first: dict[str, str] = {}
        problems += [
            f"{seed.place}: serial: is that of {place}"
            for seed in seeds
            if (place := first.setdefault(seed.serial, seed.place)) != seed.place
        ]
        if problems:
            raise ImportRefused(problems)
        now = self._clock.now()

        def made(user: User, place: int) -> Authenticator:
            return self._authenticator(user, seeds[place], now)

        owners = [seed.user for seed in seeds]
        refused = await self._records.change(bindings.bind, realm, owners, made, self._recipients.sealed, now)
        if refused:
            raise ImportRefused([f"{seeds[place].place}: {problem}" for place, problem in refused])
        return len(seeds)

    def _authenticator(self, user: User, seed: Seed, now: int) -> Authenticator:
        authenticator_id = id_of(HOTP, new_suffix(self._entropy))
        credential = hotp_credential(
            seed.secret, counter=seed.counter, algorithm=seed.algorithm, digits=seed.digits, allow_short=True
        )
        return Authenticator(
            user_id=user.id,
            id=authenticator_id,
            kind=HOTP,
            state=State.ACTIVE,
            created_at=now,
            credential=self._credentials.seal(
                user.id, authenticator_id, self._credentials.known(HOTP).encode(credential)
            ),
            name=seed.serial,
            unique_ref=seed.serial,
            confirmed_at=now,
        )


def _problem(seed: Seed, allow_short: bool) -> str:
    if not seed.serial or len(seed.serial) > NAME_LENGTH or not seed.serial.isprintable():
        return f"serial: must have 1 to {NAME_LENGTH} visible characters"
    if not seed.user:
        return "user: must not be empty"
    try:
        hotp_credential(
            seed.secret,
            counter=seed.counter,
            algorithm=seed.algorithm,
            digits=seed.digits,
            allow_short=allow_short,
        )
    except InvalidRequest as refused:
        return "; ".join(f"{name}: {text}" for name, text in refused.violations)
    return ""
