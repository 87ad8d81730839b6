"""Codes of too few bits for a hash: kept as a MAC, bound to what they were made for (S114)."""

from typing import Final

from cofactor_server.domain.foundation.encoding import framed
from cofactor_server.vault.keyring import Keyring

_PURPOSE = "short code"


class ShortCodes:
    """Computes the MAC of a code for one challenge of one authenticator: of another it is another (S95, S123).

    A million codes are tried in a second, so a hash alone would hide nothing from who reads the database; without
    the keyring the MAC does.

    Args:
        keyring: Holds the keys.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring: Final = keyring

    def mac(self, challenge_id: str, authenticator_id: str, code: str, key_id: str = "") -> tuple[str, bytes]:
        """Return the key's id, to be kept beside the MAC, and the MAC.

        Args:
            challenge_id: The challenge's row.
            authenticator_id: The authenticator that is asked.
            code: What was sent, or what was typed.
            key_id: The id that came with the MAC to compare with; empty for the active key.

        Raises:
            SealBroken: The key is unknown or retired.
        """
        return self._keyring.mac(_PURPOSE, framed(challenge_id, authenticator_id, code), key_id or None)
