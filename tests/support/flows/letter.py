"""A plugin's factor for the tests: six digits by letter post."""

import hmac
from collections.abc import Mapping
from typing import Final

import msgspec
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

FACTS = Facts(amr=("otp",), possession=Possession.SOFTWARE)


class Address(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where letters go."""

    street: str

    def __repr__(self) -> str:
        return "Address()"


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the letter says."""

    code: str

    def __repr__(self) -> str:
        return "Written()"


class Letter:
    """Writes a code on paper and waits until somebody types it.

    Args:
        entropy: Draws the codes.
    """

    kind: Final = "letter"
    credential_type: Final = Address
    expected_type: Final = Written
    prompts: Final = True
    listed_type: Final = "letter"
    authenticator_type: Final = "oob"

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[Address]:
        """Take an address."""
        if not destination:
            raise InvalidRequest(violations=(("destination", "must be an address"),))
        return Enrollment(Address(destination), {}, name=f"{destination[:2]}…")

    def challenge(self, credential: Address, context: Context) -> Prompt[Written]:
        """Write a letter."""
        code = self._entropy.choose("0123456789", 6)
        return Prompt(Written(code), send=Message("letter", credential.street, code))

    def verify(self, credential: Address, expected: Written, proof: Proof, context: Context) -> Verdict[Address]:
        """Compare."""
        match proof:
            case Code(value) if hmac.compare_digest(value.encode(), expected.code.encode()):
                return Approved(credential, FACTS)
        return Mismatch()
