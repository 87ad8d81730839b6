"""Codes computed by a token from a shared secret and a counter, RFC 4226."""

# ruff: noqa: ARG002 - a factor takes what the interface gives

import hmac
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Annotated, Final

import msgspec

from cofactor_server.domain.authenticators.proofs import (
    Account,
    Approved,
    Code,
    Context,
    Enrollment,
    Mismatch,
    Prompt,
    Proof,
    Verdict,
)
from cofactor_server.factors import otp
from cofactor_server.factors.otp import FACTS, SECRET_OCTETS, SHORTEST_OCTETS, Algorithm, Digits
from cofactor_server.seams import Entropy

LOOK_AHEAD = 9
"""Codes beyond the next one that are taken at once, for a button that was pressed in vain (RFC 4226 section 7.4)."""
MOST_LOOK_AHEAD = 50
RESYNCHRONIZE_WITHIN = 100
"""Counters ahead within which successive codes tell where a token stands."""
SUCCESSIVE = (2, 3)
"""How many codes in a row that takes."""

RESYNCHRONIZE = "resynchronize"
"""The hint that successive codes, typed together, find a token that is ahead. It goes with every wrong code: given for
the token's own alone, it would tell a guesser of codes that are still to come (ADR-9)."""

LARGEST_COUNTER = 2**63 - 1


class HotpCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token's shared secret, and the counter of the next code."""

    secret: Annotated[bytes, msgspec.Meta(min_length=SHORTEST_OCTETS)]
    counter: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_COUNTER)] = 0
    algorithm: Algorithm = "SHA1"
    digits: Digits = 6

    def __repr__(self) -> str:
        return f"HotpCredential(algorithm={self.algorithm!r}, digits={self.digits})"


class Hotp:
    """RFC 4226 with a window of `look_ahead` codes beyond the next one.

    A token that is further ahead is found by two or three successive codes typed together, with white space between
    them or without, within `RESYNCHRONIZE_WITHIN` counters (section 7.4). The chance that a guess of those is right is
    a hundred thousand times smaller than that of a single code, so the wide window gives nothing away.

    Args:
        entropy: Draws the secrets.
        look_ahead: Codes beyond the next one, 0 to `MOST_LOOK_AHEAD`; `budgets.guess_chance` says what they cost.
    """

    kind: Final = "hotp"
    credential_type: Final = HotpCredential
    expected_type: Final = NoneType
    prompts: Final = False
    listed_type: Final = "otp"
    authenticator_type: Final = "otp"

    def __init__(self, entropy: Entropy, *, look_ahead: int = LOOK_AHEAD) -> None:
        if not 0 <= look_ahead <= MOST_LOOK_AHEAD:
            raise ValueError(f"look_ahead must be between 0 and {MOST_LOOK_AHEAD}")
        self._entropy = entropy
        self._look_ahead = look_ahead

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[HotpCredential]:
        """Draw a secret of the hash's length and show it as base32 and as an otpauth URI with the counter 0.

        Options: `algorithm` SHA1 (default), SHA256, SHA512; `digits` 6 (default), 7, 8.
        """
        for name in options.keys() - {"algorithm", "digits"}:
            raise otp.refused(name, "unknown to this kind of authenticator")
        algorithm = options.get("algorithm", "SHA1")
        digits = options.get("digits", "6")
        credential = hotp_credential(
            self._entropy.octets(SECRET_OCTETS.get(algorithm, 0)),
            algorithm=algorithm,
            digits=int(digits) if digits in ("6", "7", "8") else 0,
        )
        moving = f"counter={credential.counter}"
        c = credential
        return Enrollment(c, otp.shown(self.kind, account, c.secret, c.algorithm, c.digits, moving))

    def challenge(self, credential: HotpCredential, context: Context) -> Prompt[None]:
        """Expect nothing: the token shows its code when its button is pressed."""
        return Prompt(expected=None)

    def verify(
        self, credential: HotpCredential, expected: None, proof: Proof, context: Context
    ) -> Verdict[HotpCredential]:
        """Accept a code within the window, or successive ones within the wider one; white space is ignored.

        The counter moves to the one after the match, and only then (S52, S53). `Mismatch.replay` marks the code that
        was accepted last.
        """
        if not isinstance(proof, Code) or not (typed := _typed(proof.value, credential.digits)):
            return Mismatch()
        codes = _Codes(credential)
        following = credential.counter
        if len(typed) == 1:
            last = codes.first(typed, range(following, following + self._look_ahead + 1))
            if last is None:
                used = following > 0 and codes.first(typed, (following - 1,)) is not None
                return Mismatch(hint=RESYNCHRONIZE, replay=used)
        else:
            starts = range(following, following + RESYNCHRONIZE_WITHIN - len(typed) + 1)
            begun = codes.first(typed, starts)
            if begun is None:
                return Mismatch()
            last = begun + len(typed) - 1
        return Approved(msgspec.structs.replace(credential, counter=last + 1), FACTS)


def hotp_credential(
    secret: bytes, *, counter: int = 0, algorithm: str = "SHA1", digits: int = 6, allow_short: bool = False
) -> HotpCredential:
    """Return the credential of a secret made here or elsewhere, for imports too.

    Args:
        secret: The shared secret, decoded.
        counter: Of the next code.
        algorithm: SHA1, SHA256 or SHA512.
        digits: 6, 7 or 8.
        allow_short: Take secrets of 80 to 127 bits, which RFC 4226 (R6) forbids and old tokens have.

    Raises:
        InvalidRequest: A value is out of range; `violations` names it.
    """
    hash_name, length = otp.checked_algorithm(algorithm), otp.checked_digits(digits)
    if not 0 <= counter <= LARGEST_COUNTER - RESYNCHRONIZE_WITHIN:
        raise otp.refused("counter", "is out of range")
    otp.check_length(secret, allow_short=allow_short)
    return HotpCredential(secret, counter, hash_name, length)


class _Codes(otp.Codes):
    def __init__(self, credential: HotpCredential) -> None:
        super().__init__(credential.secret, credential.algorithm, credential.digits)

    def first(self, typed: list[str], counters: Iterable[int]) -> int | None:
        """Return the first of `counters` from which on the token shows what was typed."""
        return next((counter for counter in counters if self._shows(counter, typed)), None)

    def _shows(self, counter: int, typed: list[str]) -> bool:
        return all(hmac.compare_digest(self.code(counter + place), code) for place, code in enumerate(typed))


def _typed(value: str, length: int) -> list[str]:
    """Return the code that was typed, or the successive ones; nothing if it is something else."""
    typed = otp.digits_of(value)
    many, rest = divmod(len(typed), length)
    if rest or many not in (1, *SUCCESSIVE):
        return []
    return [typed[place * length : (place + 1) * length] for place in range(many)]
