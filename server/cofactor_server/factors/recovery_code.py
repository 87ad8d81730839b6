"""A code on paper for the day the device is lost, or some of them; using one makes the next."""

# ruff: noqa: ARG002 - a factor takes what the interface gives

import hashlib
import hmac
import string
from collections.abc import Mapping
from types import NoneType
from typing import Annotated, Final

import msgspec

from cofactor_server.domain.authenticators.proofs import (
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
"""Crockford's base32, 32 of the `[A-Z0-9]` of W2: no I, L and O (read as 1, 1 and 0), no U. Five bits a letter."""

LENGTH = 24
"""Letters: 120 bits, above the 112 from which a plain hash will do (S88)."""

MOST = 10
"""Codes of one set."""

FACTS = Facts(amr=(), possession=Possession.NONE, exportable=True, recovery=True)

_AS_READ = str.maketrans("ILO", "110", string.whitespace + "-")
_LONGEST_INPUT = 128
_COUNTS = frozenset(map(str, range(1, MOST + 1)))


Sha256 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class RecoveryCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hashes of the codes that are valid now."""

    sha256: Sha256
    others: Annotated[tuple[Sha256, ...], msgspec.Meta(max_length=MOST - 1)] = ()
    """Those of the rest of a set."""

    def __repr__(self) -> str:
        return "RecoveryCredential()"


class RecoveryCode:
    """One code that rotates on use: the old one is dead, the next is shown once (W9.5; S29).

    A set, for who wants more on the paper, keeps to the same rule: each code works once, and the one that takes its
    place is shown. Nobody runs out of codes, and a code that nobody noted down lets nobody in.

    The next code is drawn, not derived, since nothing of it may follow from the old one. A caller that repeats its
    request because the reply was lost gets it from the outcome that the core keeps sealed (ADR-16).
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
        """Draw codes and show them as `recovery_code`, with spaces between them.

        Options: `count` 1 (default) to `MOST`.
        """
        for name in options.keys() - {"count"}:
            raise InvalidRequest(violations=((name, "unknown to this kind of authenticator"),))
        count = options.get("count", "1")
        if count not in _COUNTS:
            raise InvalidRequest(violations=(("count", f"must be between 1 and {MOST}"),))
        codes = [self._draw() for _ in range(int(count))]
        first, *others = map(_hash, codes)
        return Enrollment(RecoveryCredential(first, tuple(others)), {"recovery_code": " ".join(codes)})

    def challenge(self, credential: RecoveryCredential, context: Context) -> Prompt[None]:
        """Expect nothing: the code is on paper."""
        return Prompt(expected=None)

    def verify(
        self, credential: RecoveryCredential, expected: None, proof: Proof, context: Context
    ) -> Verdict[RecoveryCredential]:
        """Accept the code in either case, with white space and hyphens anywhere, I and L for 1, O for 0."""
        if not isinstance(proof, Code) or not (written := _written(proof.value)):
            return Mismatch()
        typed, kept = _hash(written), (credential.sha256, *credential.others)
        matches = [hmac.compare_digest(typed, each) for each in kept]
        if not any(matches):
            return Mismatch()
        following = self._draw()
        first, *others = (_hash(following) if matching else each for each, matching in zip(kept, matches, strict=True))
        return Approved(RecoveryCredential(first, tuple(others)), FACTS, show=following)

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
