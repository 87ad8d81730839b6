"""Tokens that operators call with: minted by whoever can read the keyring, good for a bounded time (ADR-5)."""

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
    """Mints and opens them."""

    def __init__(self, sealer: TokenSealer, clock: Clock, entropy: Entropy) -> None:
        self._sealer = sealer
        self._clock = clock
        self._entropy = entropy

    def mint(self, role: Role, life: int, scopes: Collection[str] = ()) -> tuple[str, Operator]:
        """Return a token, which is told here and never again, and what it is good for.

        Args:
            role: Whose word it carries.
            life: Microseconds.
            scopes: Fewer than the role's; none for all of them.

        Raises:
            InvalidRequest: The time is out of bounds, or a scope is not the role's.
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
        """Return who holds a token.

        Raises:
            BearerInvalid: It is no token of an operator, of this issuer.
            OperatorTokenExpired: Its time is over.
        """
        try:
            content = _decode(self._sealer.open(PURPOSE, token))
        except (SealBroken, msgspec.DecodeError):
            raise BearerInvalid from None
        if self._clock.now() >= content.expires_at:
            raise OperatorTokenExpired
        # What a role may do is said by this version, whichever one minted the token.
        scopes = SCOPES_OF[content.role].intersection(content.scopes)
        return Operator(content.id, content.role, scopes, content.expires_at)
