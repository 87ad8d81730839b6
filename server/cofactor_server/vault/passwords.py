"""Passwords hashed with argon2id, off the event loop, by a bounded number of threads."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from cofactor_server.seams import Entropy, SystemEntropy

LONGEST = 1_024
"""Octets of UTF-8 (ADR-22)."""

_SALT_OCTETS = 16  # RFC 9106 section 3.1

_T = TypeVar("_T")


class PasswordsBusy(Exception):
    """More passwords wait to be hashed than the queue holds; nothing was hashed, and trying again makes sense."""


@dataclass(frozen=True, slots=True)
class PasswordCost:
    """What a hash costs: passes, memory in KiB, lanes. Default: the second choice of RFC 9106, section 4."""

    time_cost: int = RFC_9106_LOW_MEMORY.time_cost
    memory_kib: int = RFC_9106_LOW_MEMORY.memory_cost
    parallelism: int = RFC_9106_LOW_MEMORY.parallelism


class Passwords:
    """Hashes and verifies passwords. It makes one hash when built, which takes its time.

    Args:
        workers: Threads, each with `cost.memory_kib` of memory: not more than there are cores.
        queue: Passwords that may wait for a thread; one more is refused.
        cost: For new hashes, and for the time an unknown user takes.
        entropy: Draws salts; the system's unless told otherwise.
    """

    def __init__(
        self,
        workers: int,
        queue: int = 64,
        cost: PasswordCost | None = None,
        entropy: Entropy | None = None,
    ) -> None:
        cost = cost or PasswordCost()
        self._hasher: Final = PasswordHasher(cost.time_cost, cost.memory_kib, cost.parallelism, type=Type.ID)
        self._entropy: Final = entropy or SystemEntropy()
        self._dummy: Final = self._hash("")
        self._pool: Final = ThreadPoolExecutor(workers, thread_name_prefix="password")
        self._places: Final = threading.BoundedSemaphore(workers + queue)

    async def hash(self, password: str) -> str:
        """Return an encoded hash with its own salt and cost, for `verify`.

        Raises:
            ValueError: The password is longer than 1,024 octets of UTF-8, or no valid text. Nothing was hashed.
            PasswordsBusy: The queue is full.
        """
        if not _hashable(password):
            raise ValueError(f"a password has at most {LONGEST} octets")
        return await self._run(lambda: self._hash(password))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Tell whether a password is the one that was hashed.

        Args:
            encoded: What `hash` returned, or None where there is no such user, or no password: that takes as long as a
                wrong password. So does what is not an argon2 hash.
            password: As presented; over 1,024 octets it is wrong, unhashed.

        Raises:
            PasswordsBusy: The queue is full.
            argon2.exceptions.VerificationError: The hash is damaged, or memory ran out: neither right nor wrong.
        """
        if not _hashable(password):
            return False
        return await self._run(lambda: self._verify(encoded, password))

    def close(self) -> None:
        """Drop what waits, finish what runs, end the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _hash(self, password: str) -> str:
        return self._hasher.hash(password, salt=self._entropy.octets(_SALT_OCTETS))

    def _verify(self, encoded: str | None, password: str) -> bool:
        if encoded is not None:
            try:
                return self._hasher.verify(encoded, password)
            except VerifyMismatchError:
                return False
            except (InvalidHashError, UnicodeEncodeError):
                pass
        with suppress(VerifyMismatchError):
            self._hasher.verify(self._dummy, password)
        return False

    async def _run(self, work: Callable[[], _T]) -> _T:
        if not self._places.acquire(blocking=False):
            raise PasswordsBusy
        try:
            future = self._pool.submit(work)
        except BaseException:
            self._places.release()
            raise
        # Given back when the thread is done with it: a caller who left does not make its work disappear.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)


def _hashable(password: str) -> bool:
    if len(password) > LONGEST:
        return False
    try:
        return len(password.encode()) <= LONGEST
    except UnicodeEncodeError:  # a lone surrogate
        return False
