"""What tokens and apps that compute codes have in common: shared secrets, HOTP values, how they are shown and typed."""

import base64
import hashlib
import string
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args
from urllib.parse import quote

import pyotp

from cofactor_server.domain.proofs import Account, Facts, Possession
from cofactor_server.errors import InvalidRequest

Algorithm: TypeAlias = Literal["SHA1", "SHA256", "SHA512"]
Digits: TypeAlias = Literal[6, 7, 8]

SECRET_OCTETS: Mapping[str, int] = {"SHA1": 20, "SHA256": 32, "SHA512": 64}
"""A secret is as long as the hash's output (RFC 6238 section 3, R6 and appendix B)."""

RECOMMENDED_OCTETS = 16
"""RFC 4226 section 4, R6: a secret has at least 128 bits."""
SHORTEST_OCTETS = 10
"""80 bits: what old provisioning tools wrote; taken only where the operator says so."""

FACTS = Facts(amr=("otp",), possession=Possession.SOFTWARE, replay_resistant=True, exportable=True)

_HASHES: Mapping[str, Callable[..., Any]] = {
    "SHA1": hashlib.sha1,
    "SHA256": hashlib.sha256,
    "SHA512": hashlib.sha512,
}
_WITHOUT_WHITESPACE = str.maketrans("", "", string.whitespace)
_LONGEST_INPUT = 64


class Codes(pyotp.OTP):
    """pyotp's generator over a secret that is octets already.

    It decodes base32 for each code and refuses secrets under 112 bits; which lengths to take is decided at enrollment.
    """

    def __init__(self, secret: bytes, algorithm: Algorithm, digits: Digits) -> None:
        self._octets = secret
        super().__init__("", digits=digits, digest=_HASHES[algorithm])

    def byte_secret(self) -> bytes:
        """Return the secret."""
        return self._octets

    @staticmethod
    def int_to_bytestring(i: int, *, padding: int = 8) -> bytes:
        """Return what moves, in so many octets (RFC 4226 section 5.2); pyotp puts it together octet by octet."""
        return i.to_bytes(padding, "big")


def checked_algorithm(algorithm: str) -> Algorithm:
    """Return the hash function, or raise InvalidRequest."""
    match algorithm:
        case "SHA1" | "SHA256" | "SHA512":
            return algorithm
    raise refused("algorithm", f"must be one of {', '.join(get_args(Algorithm))}")


def checked_digits(digits: int) -> Digits:
    """Return the length of codes, or raise InvalidRequest."""
    match digits:
        case 6 | 7 | 8:
            return digits
    raise refused("digits", "must be 6, 7 or 8")


def check_length(secret: bytes, *, allow_short: bool) -> None:
    """Raise InvalidRequest for a secret that is too short."""
    least = SHORTEST_OCTETS if allow_short else RECOMMENDED_OCTETS
    if len(secret) < least:
        raise refused("secret", f"must have at least {8 * least} bits")


def digits_of(value: str) -> str:
    """Return the ASCII digits that were typed, without ASCII white space; nothing if there is anything else."""
    if len(value) > _LONGEST_INPUT:
        return ""
    typed = value.translate(_WITHOUT_WHITESPACE)
    return typed if typed.isascii() and typed.isdigit() else ""


def shown(
    kind: str, account: Account, secret: bytes, algorithm: Algorithm, digits: Digits, moving: str
) -> Mapping[str, str]:
    """Return what the user must see once: the secret in base32, and the otpauth URI for a QR code.

    Args:
        kind: `totp` or `hotp`.
        account: Whose it is.
        secret: The shared secret.
        algorithm: The hash function.
        digits: Length of codes.
        moving: What the code moves with, such as `period=30`.
    """
    # By hand: pyotp leaves out algorithm, digits and period where they are the defaults, the contract (5) states them.
    text = base64.b32encode(secret).decode().rstrip("=")
    issuer = quote(account.issuer_label, safe="")
    uri = (
        f"otpauth://{kind}/{issuer}:{quote(account.label, safe='')}?secret={text}&issuer={issuer}"
        f"&algorithm={algorithm}&digits={digits}&{moving}"
    )
    return {"secret": text, "barcode_uri": uri}


def refused(option: str, why: str) -> InvalidRequest:
    """Return the refusal of an option."""
    return InvalidRequest(violations=((option, why),))
