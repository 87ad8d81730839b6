"""Bearer tokens for operators: minted by anyone who can read the keyring, valid for a bounded time (ADR-5)."""

from collections.abc import Collection

import msgspec

from cofactor_server.domain.parties.operators import LONGEST_TOKEN, SCOPES_OF, SHORTEST_TOKEN, Operator, Role
from cofactor_server.errors import BearerInvalid, InvalidRequest, OperatorTokenExpired
from cofactor_server.seams import SECOND, Clock, Entropy, new_id
from cofactor_server.vault.keyring import SealBroken
from cofactor_server.vault.tokens import TokenSealer

PURPOSE = "operator"


class _Content(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    id: str
    role: Role
    scopes: tuple[str, ...]
    expires_at: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Content).decode


class OperatorTokens:
    """Mints and opens operator tokens."""

    def __init__(self, sealer: TokenSealer, clock: Clock, entropy: Entropy) -> None:
        self._sealer = sealer
        self._clock = clock
        self._entropy = entropy

    def mint(self, role: Role, life: int, scopes: Collection[str] = ()) -> tuple[str, Operator]:
        """Return a token, which is never shown again, and the operator that it identifies.

        Args:
            role: The operator's role.
            life: The lifetime in microseconds.
            scopes: A subset of the role's scopes; empty for all of them.

        Raises:
            InvalidRequest: The lifetime is out of bounds, or a scope is not one of the role's.
        """
        if not SHORTEST_TOKEN <= life <= LONGEST_TOKEN:
            hours = LONGEST_TOKEN // SECOND // 3_600
            raise InvalidRequest(violations=(("for", f"must be from one minute to {hours} hours"),))
        allowed = SCOPES_OF[role]
        if strange := sorted(set(scopes) - allowed):
            raise InvalidRequest(violations=(("scope", f"is not of the role {role}: {', '.join(strange)}"),))
        operator = Operator(
            id=new_id(self._entropy, "opt_"),
            role=role,
            scopes=frozenset(scopes) or allowed,
            expires_at=self._clock.now() + life,
        )
        content = _Content(operator.id, role, tuple(sorted(operator.scopes)), operator.expires_at)
        return self._sealer.seal(PURPOSE, _encode(content)), operator

    def open(self, token: str) -> Operator:
        """Return the operator that a token identifies.

        Raises:
            BearerInvalid: It is not an operator token of this issuer.
            OperatorTokenExpired: The token has expired.
        """
        try:
            content = _decode(self._sealer.open(PURPOSE, token))
        except (SealBroken, msgspec.DecodeError):
            raise BearerInvalid from None
        if self._clock.now() >= content.expires_at:
            raise OperatorTokenExpired
        # This version decides the scopes of a role, no matter which version minted the token.
        scopes = SCOPES_OF[content.role].intersection(content.scopes)
        return Operator(content.id, content.role, scopes, content.expires_at)
