"""Opaque tokens that carry their content sealed: mfa_token, oob_code, remember token."""

from typing import Final

from cofactor_server.domain.foundation.encoding import base64url, framed_once, from_base64url
from cofactor_server.vault.keyring import Keyring, SealBroken

LONGEST = 4_096
"""Characters. More is refused before anything is decoded."""


class TokenSealer:
    """Seals what a token says; only the same issuer opens it again, for the same purpose (ADR-6, ADR-10).

    Args:
        keyring: Holds the keys; a retired one opens no token.
        issuer: The deployment's issuer URL.
    """

    def __init__(self, keyring: Keyring, issuer: str) -> None:
        self._keyring: Final = keyring
        self._issuer: Final = issuer

    def seal(self, purpose: str, payload: bytes) -> str:
        """Return a token in base64url without padding.

        Args:
            purpose: Which token it is, such as `mfa_token`; a constant of the calling code.
            payload: What it carries, about 3,000 octets at most.

        Raises:
            ValueError: The token would be longer than 4,096 characters.
        """
        text = base64url(self._keyring.seal(f"token {purpose}", payload, framed_once(purpose, self._issuer)))
        if len(text) > LONGEST:
            raise ValueError(f"a token of {len(text)} characters would not be opened again")
        return text

    def open(self, purpose: str, text: str) -> bytes:
        """Return the payload of a token.

        Args:
            purpose: As given to `seal`.
            text: What a caller presents, of any length and content.

        Raises:
            SealBroken: It is not, to the letter, a token that this issuer sealed for this purpose.
        """
        if len(text) > LONGEST:
            raise SealBroken("too long")
        try:
            sealed = from_base64url(text)
        except ValueError:
            raise SealBroken("not base64url") from None
        return self._keyring.open(f"token {purpose}", sealed, framed_once(purpose, self._issuer))
