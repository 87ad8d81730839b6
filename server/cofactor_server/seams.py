"""Time and randomness: the only module that asks the machine for either."""

import os
import secrets
import time
from collections.abc import Sequence
from typing import Protocol

SECOND = 1_000_000
"""Microseconds in a second: the unit of every instant and duration in the store and the domain."""

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

ALPHANUMERIC = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Clock(Protocol):
    """A clock; injected everywhere, so that tests can move the time without patching."""

    def now(self) -> int:
        """Return microseconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> int:
        """Return microseconds since the Unix epoch."""
        return time.time_ns() // 1_000


class Entropy(Protocol):
    """Unpredictable values from an approved random bit generator (SP 800-63B-4 section 3.1.3.2)."""

    def octets(self, size: int) -> bytes:
        """Return `size` random bytes."""
        ...

    def choose(self, alphabet: Sequence[str], length: int) -> str:
        """Return `length` symbols drawn independently and uniformly from `alphabet`."""
        ...


class SystemEntropy:
    """The operating system's random generator."""

    def octets(self, size: int) -> bytes:
        """Return `size` random bytes."""
        return os.urandom(size)

    def choose(self, alphabet: Sequence[str], length: int) -> str:
        """Return `length` symbols drawn independently and uniformly from `alphabet`."""
        return "".join(secrets.choice(alphabet) for _ in range(length))


def new_id(entropy: Entropy, prefix: str) -> str:
    """Return a new id for a row or token: `prefix` followed by 128 random bits in hexadecimal."""
    return prefix + entropy.octets(16).hex()


def new_id_in_order(entropy: Entropy, now: int) -> str:
    """Return an id that sorts by time, for rows that are written and deleted in order of time.

    Args:
        entropy: Supplies 72 random bits, so that ids of the same instant differ.
        now: Microseconds since the Unix epoch.
    """
    return f"{now:014x}{entropy.octets(9).hex()}"


def id_in_order_before(instant: int) -> str:
    """Return a bound that sorts after every ordered id from before `instant`, and before every later one."""
    return f"{max(instant, 0):014x}"
