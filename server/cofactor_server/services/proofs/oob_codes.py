"""Seals challenge ids into oob_codes and opens them."""

from cofactor_server.errors import OobCodeMalformed
from cofactor_server.vault.keyring import SealBroken
from cofactor_server.vault.tokens import TokenSealer

PURPOSE = "oob_code"


class OobCodes:
    """Seals the ids of challenges; the challenge's row holds everything else (ADR-2)."""

    def __init__(self, sealer: TokenSealer) -> None:
        self._sealer = sealer

    def seal(self, challenge_id: str) -> str:
        """Return the oob_code for a challenge."""
        return self._sealer.seal(PURPOSE, challenge_id.encode())

    def open(self, oob_code: str) -> str:
        """Return the id of the challenge that an oob_code names.

        Raises:
            OobCodeMalformed: The code can't be opened.
        """
        try:
            return self._sealer.open(PURPOSE, oob_code).decode()
        except (SealBroken, UnicodeDecodeError):
            raise OobCodeMalformed from None
