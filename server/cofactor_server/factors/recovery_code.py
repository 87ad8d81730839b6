"""A code on paper for the day the device is lost; using it makes the next one."""

# ruff: noqa: ARG002 - a factor takes what the interface gives

import hashlib
import hmac
import string
from collections.abc import Mapping
from types import NoneType
from typing import Annotated, Final

import msgspec

from cofactor_server.domain.proofs import (
    Account,
    Approved,
    Code,
    Context,
    Enrollment,
    Facts,
    Mismatch,
    Possession,
    Prompt,
    Proof,
    Verdict,
)
from cofactor_server.errors import InvalidRequest
from cofactor_server.seams import Entropy

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32, 32 of the contract's `[A-Z0-9]`: no I, L and O (read as 1, 1 and 0), no U. Five bits a letter."""

LENGTH = 24
"""Letters: 120 bits, above the 112 from which a plain hash will do (S88)."""

FACTS = Facts(amr=(), possession=Possession.NONE, exportable=True, recovery=True)

_AS_READ = str.maketrans("ILO", "110", string.whitespace + "-")
_LONGEST_INPUT = 128


class RecoveryCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hash of the code that is valid now."""

    sha256: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

    def __repr__(self) -> str:
        return "RecoveryCredential()"


class RecoveryCode:
    """One code that rotates on use: the old one is dead, the next is shown once (contract section 9, rule 5; S29).

    The next code is drawn, not derived, since nothing of it may follow from the old one. A caller that repeats its
    request because the reply was lost gets it from the outcome that the core keeps sealed (security.md 16).
    """

    kind: Final = "recovery-code"
    credential_type: Final = RecoveryCredential
    expected_type: Final = NoneType
    prompts: Final = False
    listed_type: Final = "recovery-code"
    authenticator_type: Final = "recovery-code"

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[RecoveryCredential]:
        """Draw a code and show it as `recovery_code`. There are no options."""
        for name in options:
            raise InvalidRequest(violations=((name, "unknown to this kind of authenticator"),))
        code = self._draw()
        return Enrollment(RecoveryCredential(_hash(code)), {"recovery_code": code})

    def challenge(self, credential: RecoveryCredential, context: Context) -> Prompt[None]:
        """Expect nothing: the code is on paper."""
        return Prompt(expected=None)

    def verify(
        self, credential: RecoveryCredential, expected: None, proof: Proof, context: Context
    ) -> Verdict[RecoveryCredential]:
        """Accept the code in either case, with white space and hyphens anywhere, I and L for 1, O for 0."""
        if not isinstance(proof, Code) or not (written := _written(proof.value)):
            return Mismatch()
        if not hmac.compare_digest(_hash(written), credential.sha256):
            return Mismatch()
        following = self._draw()
        return Approved(RecoveryCredential(_hash(following)), FACTS, show=following)

    def _draw(self) -> str:
        return self._entropy.choose(ALPHABET, LENGTH)


def _written(value: str) -> str:
    """Return the code as it was shown, or nothing if that is not `LENGTH` ASCII characters."""
    # ASCII first: upper() makes two letters of some others.
    if len(value) > _LONGEST_INPUT or not value.isascii():
        return ""
    written = value.upper().translate(_AS_READ)
    return written if len(written) == LENGTH else ""


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode("ascii")).digest()
