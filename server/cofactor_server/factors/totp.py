"""Codes computed by an app from a shared secret and the time, RFC 6238."""

# ruff: noqa: ARG002 - a factor takes what the interface gives

import hmac
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
    Mismatch,
    Prompt,
    Proof,
    Purpose,
    Verdict,
)
from cofactor_server.factors import otp
from cofactor_server.factors.otp import FACTS, SECRET_OCTETS, SHORTEST_OCTETS, Algorithm, Digits
from cofactor_server.seams import SECOND, Entropy

SHORTEST_PERIOD = 15
LONGEST_PERIOD = 120
"""Seconds. A nonce changes at least every two minutes (SP 800-63B-4 section 3.1.4.1)."""

HINT_STEPS = 10
"""How far from the server's step a code is looked for, only to tell its user to check the clock (S75)."""

CHECK_CLOCK = "check_clock"


class TotpCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An authenticator app's shared secret, and where it stands."""

    secret: Annotated[bytes, msgspec.Meta(min_length=SHORTEST_OCTETS)]
    algorithm: Algorithm = "SHA1"
    digits: Digits = 6
    period: Annotated[int, msgspec.Meta(ge=SHORTEST_PERIOD, le=LONGEST_PERIOD)] = 30
    last_step: int = -1
    """The newest step whose code was accepted; no code of it or of an earlier step is accepted again."""
    drift: int = 0
    """Steps by which the app's last accepted code was ahead of the server."""

    def __repr__(self) -> str:
        return f"TotpCredential(algorithm={self.algorithm!r}, digits={self.digits}, period={self.period})"


class Totp:
    """RFC 6238 with a window of `skew_steps` either way, centered on the measured drift.

    Accepted are the steps `now + drift ± skew_steps`, where drift counts at most `± skew_steps`. Hence the server's
    own step is always among them (an app whose clock is right, or was put right, is never locked out by what was
    measured before), nothing further than twice `skew_steps` from the server's time is accepted, and `skew_steps=0`,
    the strict profile, is the current step alone. A code typed late can't be told from a slow clock, so a wider bound
    would let a slow typist walk the window away from his own app.

    For the chance of a guess (S59): codes of `2 * skew_steps + 1` steps are accepted at once. The hint adds nothing to
    it: at a login it is given for steps that are over alone. To be told of one that is still to come, a guesser would
    only have to wait for it, which made a guess four times as good (ADR-9). Whoever confirms an app holds its
    secret, and is told of both.

    Args:
        entropy: Draws the secrets.
        skew_steps: Steps either way; RFC 6238 section 5.2 recommends at most one back.
    """

    kind: Final = "totp"
    credential_type: Final = TotpCredential
    expected_type: Final = NoneType
    prompts: Final = False
    listed_type: Final = "otp"
    authenticator_type: Final = "otp"

    def __init__(self, entropy: Entropy, *, skew_steps: int = 1) -> None:
        if not 0 <= skew_steps < HINT_STEPS // 2:
            raise ValueError(f"skew_steps must be between 0 and {HINT_STEPS // 2 - 1}")
        self._entropy = entropy
        self._skew = skew_steps
        # The likeliest first: most phones are right, and each code costs as much as the rest of the verification.
        self._offsets = sorted(range(-skew_steps, skew_steps + 1), key=abs)

    def enroll(self, account: Account, destination: str, options: Mapping[str, str]) -> Enrollment[TotpCredential]:
        """Draw a secret of the hash's length and show it as base32 and as an otpauth URI.

        Options: `algorithm` SHA1 (default), SHA256, SHA512; `digits` 6 (default), 8; `period` 15 to 120 seconds
        (default 30). Many apps ignore all three and assume the defaults.
        """
        for name in options.keys() - {"algorithm", "digits", "period"}:
            raise otp.refused(name, "unknown to this kind of authenticator")
        if options.get("digits", "6") not in ("6", "8"):
            raise otp.refused("digits", "must be 6 or 8")
        algorithm = options.get("algorithm", "SHA1")
        credential = totp_credential(
            self._entropy.octets(SECRET_OCTETS.get(algorithm, 0)),
            algorithm=algorithm,
            digits=int(options.get("digits", "6")),
            period=_whole(options.get("period", "30")),
        )
        moving = f"period={credential.period}"
        c = credential
        return Enrollment(c, otp.shown(self.kind, account, c.secret, c.algorithm, c.digits, moving))

    def challenge(self, credential: TotpCredential, context: Context) -> Prompt[None]:
        """Expect nothing: the app shows its code unasked."""
        return Prompt(expected=None)

    def verify(
        self, credential: TotpCredential, expected: None, proof: Proof, context: Context
    ) -> Verdict[TotpCredential]:
        """Accept a code of an unused step inside the window; ASCII white space in it is ignored.

        `Mismatch.replay` marks the right code of a step that is used up, `Mismatch.hint` one that would be right if a
        clock were not off, as far as that may be told; both are failures (S20, S75).
        """
        if not isinstance(proof, Code) or not (typed := _digits(proof.value, credential.digits)):
            return Mismatch()
        step = context.now // (credential.period * SECOND)
        center = step + _within(self._skew, credential.drift)
        codes = _Codes(credential)
        for offset in self._offsets:
            match = center + offset
            if match > credential.last_step and codes.shows(match, typed):
                return Approved(msgspec.structs.replace(credential, last_step=match, drift=match - step), FACTS)
        window = range(center - self._skew, center + self._skew + 1)
        told = HINT_STEPS if context.purpose is Purpose.ENROLL else 0
        return codes.mismatch(typed, window, range(step - HINT_STEPS, max(window.stop, step + told + 1)))


def totp_credential(
    secret: bytes,
    *,
    algorithm: str = "SHA1",
    digits: int = 6,
    period: int = 30,
    allow_short: bool = False,
) -> TotpCredential:
    """Return the credential of a secret made here or elsewhere, for imports too.

    Args:
        secret: The shared secret, decoded.
        algorithm: SHA1, SHA256 or SHA512.
        digits: 6, 7 or 8.
        period: Seconds, 15 to 120.
        allow_short: Take secrets of 80 to 127 bits, which RFC 4226 (R6) forbids and old tools made.

    Raises:
        InvalidRequest: A value is out of range; `violations` names it.
    """
    hash_name, length = otp.checked_algorithm(algorithm), otp.checked_digits(digits)
    if not SHORTEST_PERIOD <= period <= LONGEST_PERIOD:
        raise otp.refused("period", f"must be between {SHORTEST_PERIOD} and {LONGEST_PERIOD} seconds")
    otp.check_length(secret, allow_short=allow_short)
    return TotpCredential(secret, hash_name, length, period)


class _Codes(otp.Codes):
    def __init__(self, credential: TotpCredential) -> None:
        self._last_step = credential.last_step
        super().__init__(credential.secret, credential.algorithm, credential.digits)

    def shows(self, step: int, typed: str) -> bool:
        """Whether what was typed is the code of a step."""
        return step >= 0 and hmac.compare_digest(self.code(step), typed)

    def mismatch(self, typed: str, window: range, nearby: range) -> Mismatch:
        """Say what a code that is not accepted would have been: used up, of another time, or simply wrong."""
        shown = [step for step in nearby if self.shows(step, typed)]
        if any(step > self._last_step and step not in window for step in shown):
            return Mismatch(hint=CHECK_CLOCK)
        return Mismatch(replay=bool(shown))


def _digits(value: str, length: int) -> str:
    """Return what was typed, or nothing if that is not a code of this length."""
    typed = otp.digits_of(value)
    return typed if len(typed) == length else ""


def _within(bound: int, steps: int) -> int:
    return max(-bound, min(bound, steps))


def _whole(text: str) -> int:
    # Not int(): it takes signs, underscores, white space, other scripts' digits and strings of any length.
    return int(text) if len(text) <= 3 and text.isascii() and text.isdigit() else -1
