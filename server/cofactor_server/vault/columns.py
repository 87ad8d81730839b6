"""Column values that the database must not be able to read: seeds, device keys, expectations (S23, S73)."""

from typing import Final

from cofactor_server.domain.foundation.encoding import framed, framed_once
from cofactor_server.vault.keyring import Keyring

_PURPOSE = "column"


class Columns:
    """Seals column values, each to its place: moved to another row, user, column or table, none opens (ADR-10).

    The row's id is the row's key without the user's: `store.resealing` relies on that to seal every column again.

    Args:
        keyring: Holds the keys. A retired one still opens columns, so that they can be sealed again.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring: Final = keyring

    def seal(self, table: str, column: str, user_id: str, row_id: str, plaintext: bytes) -> bytes:
        """Return the value to be stored at a place.

        Args:
            table: The table's name.
            column: The column's name.
            user_id: Whose row it is; empty for rows that are no user's.
            row_id: The row's id.
            plaintext: Any octets.
        """
        return self._keyring.seal(_PURPOSE, plaintext, framed_once(table, column) + framed(user_id, row_id))

    def open(self, table: str, column: str, user_id: str, row_id: str, sealed: bytes) -> bytes:
        """Return the plaintext of a value read from a place.

        Args:
            table: The table's name.
            column: The column's name.
            user_id: Whose row it is; empty for rows that are no user's.
            row_id: The row's id.
            sealed: The stored value.

        Raises:
            SealBroken: The value was not sealed for this place by a key of this keyring.
        """
        place = framed_once(table, column) + framed(user_id, row_id)
        return self._keyring.open(_PURPOSE, sealed, place, allow_retired=True)

    def is_due(self, sealed: bytes) -> bool:
        """Whether a value is to be sealed again, because the key it is under seals no more.

        Raises:
            SealBroken: It does not have the form of a sealed value.
        """
        return self._keyring.key_id_of(sealed) != self._keyring.active_id
