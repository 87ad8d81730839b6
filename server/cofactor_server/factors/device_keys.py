"""Public keys of devices: read from a JWK, kept in DER, and asked whether a signature is theirs."""

import hashlib
from typing import Literal, TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from cofactor_server.domain.foundation.encoding import from_base64url

_COORDINATE = 32


class Ed25519Jwk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kty", tag="OKP"):
    """An Ed25519 key, RFC 8037 section 2."""

    crv: Literal["Ed25519"]
    x: str


class P256Jwk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kty", tag="EC"):
    """A key on the curve P-256, RFC 7518 section 6.2.1."""

    crv: Literal["P-256"]
    x: str
    y: str


PublicJwk: TypeAlias = Ed25519Jwk | P256Jwk


def to_der(jwk: PublicJwk) -> bytes:
    """Return the key as a SubjectPublicKeyInfo.

    Raises:
        ValueError: It is not a key of its curve.
    """
    key: Ed25519PublicKey | EllipticCurvePublicKey
    if isinstance(jwk, Ed25519Jwk):
        key = Ed25519PublicKey.from_public_bytes(octets(jwk.x))
    else:
        x, y = octets(jwk.x), octets(jwk.y)
        key = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP256R1()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(der: bytes) -> str:
    """Return the name of a key that no other key has."""
    return hashlib.sha256(der).hexdigest()


def signed_by(der: bytes, payload: bytes, signature: bytes) -> bool:
    """Tell whether `signature` over `payload` was made with the private half of a key.

    Args:
        der: As `to_der` returned it.
        payload: What is said to be signed.
        signature: Ed25519 (RFC 8032), or ECDSA with SHA-256 in DER.
    """
    try:
        match load_der_public_key(der):
            case Ed25519PublicKey() as key:
                key.verify(signature, payload)
            case EllipticCurvePublicKey() as key:
                key.verify(signature, payload, ECDSA(SHA256()))
            case _:
                return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def octets(text: str) -> bytes:
    """Return the 32 octets that a text spells in base64url without padding, to the letter.

    Raises:
        ValueError: It spells anything else.
    """
    decoded = from_base64url(text)
    if len(decoded) != _COORDINATE:
        raise ValueError("not 32 octets")
    return decoded
