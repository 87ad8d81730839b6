"""RSA keys of devices: read from a JWK, kept in DER, and asked whether a signature is theirs (ADR-17)."""

import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from cofactor_server.domain.foundation.encoding import base64url, from_base64url

FEWEST_BITS, MOST_BITS = 2_048, 4_096
EXPONENT = 65_537
_LONGEST_NUMBER = MOST_BITS // 8 + 1
"""Octets, the leading zero that some platforms write among them."""


def to_der(n: str, e: str) -> bytes:
    """Return a key as a SubjectPublicKeyInfo.

    Args:
        n: The modulus, base64url without padding; leading zero octets do not matter (W13.1).
        e: The exponent, likewise.

    Raises:
        ValueError: It is no RSA key, or not of a size and exponent that are taken.
    """
    modulus, exponent = _number(n), _number(e)
    if exponent != EXPONENT:
        raise ValueError(f"the exponent is not {EXPONENT}")
    if not FEWEST_BITS <= modulus.bit_length() <= MOST_BITS:
        raise ValueError(f"the modulus has not {FEWEST_BITS} to {MOST_BITS} bits")
    key = RSAPublicNumbers(exponent, modulus).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def thumbprint(n: str, e: str) -> bytes:
    """Return the RFC 7638 thumbprint of a key that a JWK spells; whether it is a good key is not asked.

    Raises:
        ValueError: A number can't be read.
    """
    return _thumbprint(_number(n), _number(e))


def thumbprint_of(der: bytes) -> bytes:
    """Return the RFC 7638 thumbprint of a kept key; nothing for one that is not RSA."""
    match load_der_public_key(der):
        case RSAPublicKey() as key:
            numbers = key.public_numbers()
            return _thumbprint(numbers.n, numbers.e)
    return b""


def signed_by(der: bytes, payload: bytes, signature: bytes) -> bool:
    """Tell whether a signature over `payload` (RSASSA-PKCS1-v1_5 with SHA-256) was made with the private half of a key.

    A key that is not RSA signed nothing.
    """
    try:
        match load_der_public_key(der):
            case RSAPublicKey() as key:
                key.verify(signature, payload, PKCS1v15(), SHA256())
                return True
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        pass
    return False


def _number(text: str) -> int:
    decoded = from_base64url(text)
    if not decoded or len(decoded) > _LONGEST_NUMBER:
        raise ValueError("too long or empty")
    return int.from_bytes(decoded)


def _thumbprint(n: int, e: int) -> bytes:
    modulus, exponent = (base64url(number.to_bytes((number.bit_length() + 7) // 8)) for number in (n, e))
    # The members in lexical order, without spaces: RFC 7638 section 3.
    return hashlib.sha256(f'{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}'.encode()).digest()
