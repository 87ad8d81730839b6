"""The oob_code: the name of a challenge, sealed."""

from cofactor_server.errors import OobCodeMalformed
from cofactor_server.vault.keyring import SealBroken
from cofactor_server.vault.tokens import TokenSealer

PURPOSE = "oob_code"


class OobCodes:
    """Seals the ids of challenges; everything else about one is in its row (ADR-2)."""

    def __init__(self, sealer: TokenSealer) -> None:
        self._sealer = sealer

    def seal(self, challenge_id: str) -> str:
        """Return the oob_code for a challenge."""
        return self._sealer.seal(PURPOSE, challenge_id.encode())

    def open(self, oob_code: str) -> str:
        """Return the id of the challenge an oob_code names.

        Raises:
            OobCodeMalformed: It can't be opened.
        """
        try:
            return self._sealer.open(PURPOSE, oob_code).decode()
        except (SealBroken, UnicodeDecodeError):
            raise OobCodeMalformed from None
