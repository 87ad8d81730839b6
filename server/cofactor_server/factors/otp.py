"""What tokens and apps that compute codes have in common: shared secrets, HOTP values, how they are shown and typed."""

import base64
import hmac
import string
from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args
from urllib.parse import quote

from cofactor_server.domain.authenticators.proofs import Account, Facts, Possession
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

_WITHOUT_WHITESPACE = str.maketrans("", "", string.whitespace)
_LONGEST_INPUT = 64


class Codes:
    """HOTP values of a secret (RFC 4226 section 5.3, with the hashes of RFC 6238 section 1.2).

    By hand: pyotp takes a secret of 112 bits or more, in base32, and 2.6 us for a code that is had in 1.6.
    """

    def __init__(self, secret: bytes, algorithm: Algorithm, digits: Digits) -> None:
        self._secret = secret
        self._hash = algorithm.lower()
        self._digits = digits

    def code(self, moving: int) -> str:
        """Return the value for a counter or step, which is not negative."""
        mac = hmac.digest(self._secret, moving.to_bytes(8, "big"), self._hash)
        offset = mac[-1] & 0xF
        number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
        return f"{number % 10**self._digits:0{self._digits}}"


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
    # By hand: pyotp leaves out algorithm, digits and period where they are the defaults, W5.1 states them.
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
