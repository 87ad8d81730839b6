"""Time and chance: the only module that asks the machine for either."""

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
    """Tells the time; injected everywhere, so that tests move it without patching anything."""

    def now(self) -> int:
        """Return microseconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> int:
        """Return microseconds since the Unix epoch."""
        return time.time_ns() // 1_000


class Entropy(Protocol):
    """Unpredictable values from an approved generator (SP 800-63B-4 section 3.1.3.2)."""

    def octets(self, size: int) -> bytes:
        """Return `size` random octets."""
        ...

    def choose(self, alphabet: Sequence[str], length: int) -> str:
        """Return `length` symbols drawn independently and evenly from `alphabet`."""
        ...


class SystemEntropy:
    """The operating system's generator."""

    def octets(self, size: int) -> bytes:
        """Return `size` random octets."""
        return os.urandom(size)

    def choose(self, alphabet: Sequence[str], length: int) -> str:
        """Return `length` symbols drawn independently and evenly from `alphabet`."""
        return "".join(secrets.choice(alphabet) for _ in range(length))


def new_id(entropy: Entropy, prefix: str) -> str:
    """Return `prefix` followed by 128 random bits in hexadecimal, for rows and tokens that need a name."""
    return prefix + entropy.octets(16).hex()


def new_id_in_order(entropy: Entropy, now: int) -> str:
    """Return an id that sorts by time, for rows that are written and deleted in that order.

    Args:
        entropy: Draws 72 bits, so that ids of one instant differ.
        now: Microseconds since the Unix epoch.
    """
    return f"{now:014x}{entropy.octets(9).hex()}"


def id_in_order_before(instant: int) -> str:
    """Return what sorts after every id in order of before `instant`, and before every other one."""
    return f"{max(instant, 0):014x}"
