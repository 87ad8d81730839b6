"""Watches values for many waiting callers: one query reads for all of them, and no caller has a timer of its own.

A watched value is read again when its user is signalled (`store.transactions.signals`), when its own deadline passes,
and when a poll finds that it may have changed. The poll runs every five seconds while other processes' signals arrive,
every second otherwise. One reading task and one polling task run while anyone watches, for one watcher or ten thousand.
"""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

import structlog

from cofactor_server.errors import CofactorError, Internal, TooManyRequests, Unavailable
from cofactor_server.seams import SECOND, Clock
from cofactor_server.store.transactions.signals import Signals

MOST_OF_ONE = 5
"""The most watchers of one key."""
MOST = 10_000
"""The most watchers in one process (ADR-20)."""
POLL_ALONE = 1.0
POLL_SIGNALLED = 5.0
"""Seconds between two polls, without and with signals of other processes."""
AT_ONCE = 500
"""The most keys in one query; other tasks get a turn between two queries."""
TICK = 1.0
"""Seconds; the longest delay after a deadline, for a clock that does not run at the machine's pace."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

log = structlog.get_logger("cofactor")


class View(Protocol[K, V]):
    """How to read one type of watched value."""

    def user_of(self, key: K) -> str:
        """Return the id of the user whose signals concern `key`."""
        ...

    def due(self, key: K, value: V) -> int | None:
        """Return when a value changes by the passage of time alone; None if it does not."""
        ...

    async def look(self, keys: Sequence[K]) -> Mapping[K, V]:
        """Read all keys at once; a key whose row is gone has a value that says so.

        Args:
            keys: The keys to read.

        Raises:
            Unavailable: The database is away.
        """
        ...

    async def suspects(self, keys: Sequence[K]) -> Iterable[K]:
        """Return the keys whose values may have changed since they were read last.

        Args:
            keys: The keys to check.

        Raises:
            Unavailable: The database is away.
        """
        ...


class Watcher(Generic[V]):
    """One subscription to a key, made by `Watchers.watcher`."""

    __slots__ = ("_last", "_news", "_woken")

    def __init__(self) -> None:
        self._news: list[V | Exception] = []
        self._last: object = self
        self._woken: asyncio.Future[None] | None = None

    async def next(self) -> V:
        """Return the current value on the first call, then each value that differs from the one before.

        Raises:
            Unavailable: The database was away when the watcher started; watchers that have a value wait until it is
                back.
        """
        while not self._news:
            self._woken = asyncio.get_running_loop().create_future()
            await self._woken
        news = self._news.pop(0)
        if isinstance(news, Exception):
            raise news
        return news

    def tell(self, value: V) -> None:
        """Queue a value for `next`, if it differs from the last one."""
        if value != self._last:
            self._last = value
            self._wake(value)

    def give_up(self, error: Exception) -> None:
        """Make `next` raise an error, if the watcher has no value yet."""
        if self._last is self:
            self._wake(error)

    def _wake(self, news: V | Exception) -> None:
        self._news.append(news)
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


class _Watched(Generic[V]):
    """The watchers of one key, and when its value is due to change."""

    __slots__ = ("due", "watchers")

    def __init__(self) -> None:
        self.watchers: list[Watcher[V]] = []
        self.due: int | None = None


class Watchers(Generic[K, V]):
    """All watchers of one type of value.

    Args:
        view: Reads the values.
        signals: Reports that rows of a user have changed.
        clock: Tells when a value's deadline has passed.
        most: The most watchers at once.
        most_of_one: The most watchers of one key.
    """

    def __init__(
        self, view: View[K, V], signals: Signals, clock: Clock, *, most: int = MOST, most_of_one: int = MOST_OF_ONE
    ) -> None:
        self._view = view
        self._signals = signals
        self._clock = clock
        self._most = most
        self._most_of_one = most_of_one
        self._count = 0
        self._watched: dict[K, _Watched[V]] = {}
        self._keys_of: dict[str, set[K]] = {}
        self._unread: set[K] = set()
        self._due: list[tuple[int, int, K]] = []
        self._turn = itertools.count()
        self._woken = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._polling: asyncio.Task[None] | None = None
        signals.listen(self._signalled)

    @contextmanager
    def watcher(self, key: K) -> Iterator[Watcher[V]]:
        """Watch a key until the block ends.

        Args:
            key: The key.

        Raises:
            TooManyRequests: The limit of watchers is reached, for the process or for this key.
        """
        watched = self._watched.get(key)
        if self._count >= self._most or (watched is not None and len(watched.watchers) >= self._most_of_one):
            raise TooManyRequests(retry_after=1)
        if watched is None:
            watched = self._watched[key] = _Watched()
            self._keys_of.setdefault(self._view.user_of(key), set()).add(key)
        watcher: Watcher[V] = Watcher()
        watched.watchers.append(watcher)
        self._count += 1
        self._start()
        self._read_again((key,))
        try:
            yield watcher
        finally:
            self._count -= 1
            watched.watchers.remove(watcher)
            if not watched.watchers:
                self._forget(key)

    async def close(self) -> None:
        """Cancel the reading and polling tasks."""
        tasks = [task for task in (self._reading, self._polling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, key: K) -> None:
        del self._watched[key]
        self._unread.discard(key)
        user = self._view.user_of(key)
        self._keys_of[user].remove(key)
        if not self._keys_of[user]:
            del self._keys_of[user]
        if not self._watched:
            self._due.clear()
            self._woken.set()  # without watchers the tasks end

    def _start(self) -> None:
        self._signals.expect()
        loop = asyncio.get_running_loop()
        if self._reading is None or self._reading.done():
            self._reading = loop.create_task(self._read(), name="watchers")
        if self._polling is None or self._polling.done():
            self._polling = loop.create_task(self._poll(), name="watchers-poll")

    def _signalled(self, users: Collection[str] | None) -> None:
        if users is None:
            self._read_again(self._watched)
            return
        for user in users:
            if keys := self._keys_of.get(user):
                self._read_again(keys)

    def _read_again(self, keys: Iterable[K]) -> None:
        self._unread.update(keys)
        self._woken.set()

    async def _read(self) -> None:
        while self._watched:
            await self._wait()
            self._woken.clear()
            self._come_due()
            keys, self._unread = list(self._unread), set()
            well = True
            for start in range(0, len(keys), AT_ONCE):
                there = [key for key in keys[start : start + AT_ONCE] if key in self._watched]
                well = (not there or await self._look(there)) and well
            if not well:
                await asyncio.sleep(TICK)

    async def _look(self, keys: Sequence[K]) -> bool:
        """Read keys and deliver their values; return whether all of them could be read."""
        try:
            values = await self._view.look(keys)
        except Unavailable as error:
            self._fail(keys, error)
            return False
        except Exception as error:
            if len(keys) > 1:  # a key that can't be read must not hold up the others
                middle = len(keys) // 2
                halves = [await self._look(keys[:middle]), await self._look(keys[middle:])]
                return all(halves)
            log.error("watching failed", cause=type(error).__name__)
            self._fail(keys, Internal())
            return False
        for key, value in values.items():
            self._tell(key, value)
        return True

    def _fail(self, keys: Iterable[K], error: CofactorError) -> None:
        """Refuse watchers without a value; the others wait until the keys can be read."""
        still = [key for key in keys if key in self._watched]
        for key in still:
            for watcher in self._watched[key].watchers:
                watcher.give_up(error)
        self._read_again(still)

    async def _wait(self) -> None:
        """Wait until a key must be read again, or a deadline passes."""
        if self._woken.is_set():
            return
        seconds = TICK if self._due else None
        if self._due:
            seconds = min(TICK, max(0, self._due[0][0] - self._clock.now()) / SECOND)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def _come_due(self) -> None:
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            due, _, key = heapq.heappop(self._due)
            watched = self._watched.get(key)
            if watched is not None and watched.due == due:
                watched.due = None
                self._unread.add(key)

    def _tell(self, key: K, value: V) -> None:
        watched = self._watched.get(key)
        if watched is None:
            return
        due = self._view.due(key, value)
        if due is not None and due != watched.due:
            heapq.heappush(self._due, (due, next(self._turn), key))
        watched.due = due
        for watcher in watched.watchers:
            watcher.tell(value)

    async def _poll(self) -> None:
        while self._watched:
            await asyncio.sleep(POLL_SIGNALLED if self._signals.live else POLL_ALONE)
            if not self._watched:
                return
            try:
                self._read_again(await self._view.suspects(list(self._watched)))
            except Unavailable:
                continue  # until the database is back; the next poll then checks every key
            except Exception as error:
                log.error("watching failed", cause=type(error).__name__)
