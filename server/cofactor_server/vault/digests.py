"""Hashes of generated secrets, and comparison that does not tell where octets differ."""

import hashlib
import hmac


def sha256(text: str) -> bytes:
    """Return what is kept of a generated secret: client secret, recovery code, ticket, refresh token and the like.

    Only for secrets of 112 random bits or more (S88): nothing slows the guessing of a shorter or a chosen one. For
    short codes there is `Keyring.mac`, for passwords `Passwords`.

    Args:
        text: The secret as its holder presents it, already normalized.
    """
    return hashlib.sha256(text.encode()).digest()


def same(a: bytes, b: bytes) -> bool:
    """Compare in a time that depends on the lengths alone."""
    return hmac.compare_digest(a, b)
