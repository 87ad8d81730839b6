"""Accounts, moments and chance for the tests of factors."""

import hashlib
import hmac
import random
from collections.abc import Sequence

from cofactor_server.domain.authenticators.proofs import Account, Context, Names, Purpose
from cofactor_server.domain.parties.relying_party import RelyingParty

from tests.unit.factors.security_key import ORIGIN, RP_ID

SECOND = 1_000_000
NOW = 1_700_000_010 * SECOND
"""The first second of a step of 30."""

ISSUER = "https://mfa.example.com/"
ALICE = Account("usr_alice", "alice@example.com", "Acme Corp", ISSUER)
MALLORY = Account("usr_mallory", "mallory@example.com", "Acme Corp", ISSUER)
NAMES = Names(ISSUER, "5a" * 16, "usr_alice", "push|dev_8Rk2TqLmXw4YbN0a", "alice@example.com")
RELYING_PARTY = RelyingParty(RP_ID, "Acme Corp", (ORIGIN,))


class SeededEntropy:
    """Draws the same in each run, lest a test meet a coincidence of one in a million; remembers its draws."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self.drawn: list[bytes | str] = []

    def octets(self, size: int) -> bytes:
        drawn = self._random.randbytes(size)
        self.drawn.append(drawn)
        return drawn

    def choose(self, alphabet: Sequence[str], length: int) -> str:
        drawn = "".join(self._random.choices(alphabet, k=length))
        self.drawn.append(drawn)
        return drawn


def at(now: int, purpose: Purpose = Purpose.LOGIN) -> Context:
    """Return the context of a decision at `now`, in microseconds."""
    return Context(application="Shop", purpose=purpose, now=now, source="203.0.113.7", code_mac=code_mac, names=NAMES)


def code_mac(code: str, key_id: str) -> tuple[str, bytes]:
    """Bind a code as the core does, to a challenge that is always the same."""
    key_id = key_id or "key-1"
    return key_id, hmac.digest(key_id.encode(), code.encode(), hashlib.sha256)
