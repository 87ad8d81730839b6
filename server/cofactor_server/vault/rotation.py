"""The steps by which one root key takes another's place: each turns the keys of a file into those it then has."""

from collections.abc import Sequence
from dataclasses import replace

from cofactor_server.seams import Entropy
from cofactor_server.vault.root_keys import RootKey, RootKeyState, draw


def prepared(keys: Sequence[RootKey], entropy: Entropy, now: int) -> list[RootKey]:
    """Return the keys with one that is to be active next, drawn unless there is one already."""
    if in_state(keys, RootKeyState.NEXT):
        return list(keys)
    return [*keys, draw(entropy, RootKeyState.NEXT, now)]


def promoted(keys: Sequence[RootKey], entropy: Entropy, now: int) -> list[RootKey]:
    """Return the keys with the next one, or a new one, active; the one that was is previous."""
    then = {RootKeyState.NEXT: RootKeyState.ACTIVE, RootKeyState.ACTIVE: RootKeyState.PREVIOUS}
    return [
        replace(key, state=then[key.state], since=now) if key.state in then else key
        for key in prepared(keys, entropy, now)
    ]


def retired(keys: Sequence[RootKey], now: int) -> list[RootKey]:
    """Return the keys with every previous one retired: no token of theirs opens any more."""
    return [
        replace(key, state=RootKeyState.RETIRED, since=now) if key.state is RootKeyState.PREVIOUS else key
        for key in keys
    ]


def without(keys: Sequence[RootKey], gone: Sequence[RootKey]) -> list[RootKey]:
    """Return the keys without some that are retired."""
    ids = {key.id for key in gone if key.state is RootKeyState.RETIRED}
    return [key for key in keys if key.id not in ids or key.state is not RootKeyState.RETIRED]


def in_state(keys: Sequence[RootKey], state: RootKeyState) -> list[RootKey]:
    """Return the keys that are in a state."""
    return [key for key in keys if key.state is state]
