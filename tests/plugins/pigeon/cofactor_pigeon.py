"""Codes by carrier pigeon: what a plugin looks like, in whole."""

import asyncio
import hmac
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from cofactor_server.delivery.provider import NoSuchDestination, NotTaken, Outgoing
from cofactor_server.domain.authenticators.proofs import (
    Account,
    Approved,
    Code,
    Context,
    Enrollment,
    Facts,
    Message,
    Mismatch,
    Possession,
    Prompt,
    Proof,
    Verdict,
)
from cofactor_server.errors import InvalidRequest
from cofactor_server.seams import Entropy

KIND = "pigeon"
DIGITS = 6
LOFT = re.compile(r"[a-z]{1,32}")


class Loft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the user's pigeons live: what the server keeps, encrypted, for an authenticator."""

    name: str

    def __repr__(self) -> str:
        return "Loft()"


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that flew, as a MAC: what the server keeps for a challenge."""

    key_id: str
    mac: bytes

    def __repr__(self) -> str:
        return "Sealed()"


class Pigeon:
    """A way to prove possession of a loft."""

    kind: Final = KIND
    credential_type: Final = Loft
    expected_type: Final = Sealed
    prompts: Final = True
    listed_type: Final = KIND
    authenticator_type: Final = "oob"

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[Loft]:
        """Keep the loft's name; its first letter is shown in lists."""
        for option in options:
            raise InvalidRequest(violations=((option, "unknown to pigeons"),))
        if not LOFT.fullmatch(destination):
            raise InvalidRequest(violations=(("destination", "must be a loft's name, a-z"),))
        return Enrollment(Loft(destination), {}, f"{destination[0]}…")

    def address(self, credential: Loft) -> str:
        """Return where notices go, too."""
        return credential.name

    def challenge(self, credential: Loft, context: Context) -> Prompt[Sealed]:
        """Send a bird with a code, and keep the code's MAC."""
        code = self._entropy.choose("0123456789", DIGITS)
        key_id, mac = context.code_mac(code, "")
        return Prompt(Sealed(key_id, mac), send=Message(KIND, credential.name, code, purpose=context.purpose))

    def verify(self, credential: Loft, expected: Sealed, proof: Proof, context: Context) -> Verdict[Loft]:
        """Accept the code that flew."""
        if not isinstance(proof, Code) or not re.fullmatch(r"[0-9]{6}", proof.value):
            return Mismatch()
        _, mac = context.code_mac(proof.value, expected.key_id)
        if not hmac.compare_digest(mac, expected.mac):
            return Mismatch()
        return Approved(credential, Facts(amr=("otp",), possession=Possession.SOFTWARE, replay_resistant=True))


class Flight:
    """Carries messages to lofts: folders below the one that PIGEON_LOFTS names."""

    channels: Final = frozenset({KIND})

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._lofts = Path(environment["PIGEON_LOFTS"])

    async def carry(self, outgoing: Outgoing) -> None:
        """Leave a letter in the loft."""
        loft = self._lofts / outgoing.to
        if not loft.is_dir():
            raise NoSuchDestination("no such loft")
        try:
            await asyncio.to_thread((loft / f"{outgoing.id}.json").write_text, json.dumps({"text": outgoing.text}))
        except OSError as error:
            raise NotTaken(f"the bird came back: {error.strerror}") from None

    async def close(self) -> None:
        """Let the birds rest."""
