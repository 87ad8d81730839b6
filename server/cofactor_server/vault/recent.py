"""A bounded memory of what was put there last."""

import threading
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The entries put last. Safe to share between threads: the store's and the event loop's meet in it.

    Args:
        size: How many entries are kept; the one put first gives way, used or not, so that reading takes no lock.
    """

    def __init__(self, size: int) -> None:
        self._size: Final = size
        self._entries: Final[dict[K, V]] = {}
        self._lock: Final = threading.Lock()
        self.get: Final = self._entries.get
        """Return an entry, or None."""

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: K, entry: V) -> None:
        """Keep an entry."""
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = entry
            if len(self._entries) > self._size:
                del self._entries[next(iter(self._entries))]
