"""A clock to set, and keyrings to begin with."""

from collections.abc import Sequence

from cofactor_server.seams import DAY, SystemEntropy
from cofactor_server.vault.keyring import Keyring, RootKey, RootKeyState

NOON = 20_000 * DAY + DAY // 2


class SetClock:
    """Tells the time it is set to, in microseconds."""

    def __init__(self, now: int = NOON) -> None:
        self.time = now

    def now(self) -> int:
        return self.time


class CountingEntropy:
    """Draws as the system does, and counts how often."""

    def __init__(self) -> None:
        self.drawn: list[bytes] = []

    def octets(self, size: int) -> bytes:
        self.drawn.append(SystemEntropy().octets(size))
        return self.drawn[-1]

    def choose(self, alphabet: Sequence[str], length: int) -> str:
        return SystemEntropy().choose(alphabet, length)


def root_key(name: str, state: RootKeyState = RootKeyState.ACTIVE) -> RootKey:
    return RootKey(name, SystemEntropy().octets(32), state)


def keyring(*keys: RootKey, clock: SetClock | None = None) -> Keyring:
    return Keyring(keys or [root_key("k1")], clock or SetClock())


def in_state(key: RootKey, state: RootKeyState) -> RootKey:
    return RootKey(key.id, key.secret, state)
