"""Group commit: calls that arrive while one is under way are decided and committed together (ADR-26)."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog
from sqlalchemy import Connection
from tenacity import (
    AsyncRetrying,
    RetryError,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from cofactor_server.errors import DeadlineExceeded, Internal, TooManyRequests, Unavailable
from cofactor_server.seams import Entropy
from cofactor_server.store.transactions.database import (
    Contention,
    Database,
    DatabaseAway,
    LockTimeout,
    OutcomeUnknown,
    deciding,
)
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.rows import AddressesOf
from cofactor_server.store.transactions.signals import Signals
from cofactor_server.store.transactions.work import Work

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)

log = structlog.get_logger()


class Decision(Protocol[V_co]):
    """What a call wants decided.

    `decide` is synchronous, reads and writes through `work` alone, has no other effect, and may be run again from the
    start. What it concludes is returned, refusals included: raised, it would take the count of failures with it.
    """

    @property
    def needs(self) -> Needs:
        """What it reads; `needs.user_id` is locked."""
        ...

    def decide(self, work: Work) -> V_co:
        """Decide, and return the verdict."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much waits at once (ADR-19)."""

    queue: int = 1_024
    batch: int = 256
    per_user: int = 4
    wait: float = 0.003
    """Seconds for which a batch waits for calls that are under way."""
    attempts: int = 5
    alone: int = 4
    """How many wait, each in a transaction of its own, for a user whom another replica holds."""


@dataclass(slots=True, eq=False)
class _Item(Generic[V]):
    decision: Decision[V]
    needs: Needs
    future: "asyncio.Future[V]"
    deadline: float | None
    skipped: bool = False
    """Whether a batch left it out once, because another replica held its user."""
    ended: bool = False
    """Whether it was decided or refused, and counts no more."""


class GroupCommit:
    """Decides calls in batches: one transaction, one locking SELECT, one statement a table, one commit.

    A lone call is never delayed. A call that raises fails alone; a batch that breaks is halved until the one that
    breaks it is found. The batch is a task of its own, so that a caller that gives up cancels nothing. What another
    replica holds is left for the next batch once, and then waited for alone, so that it holds up nobody else.
    """

    def __init__(
        self,
        database: Database,
        entropy: Entropy,
        limits: Limits | None = None,
        signals: Signals | None = None,
        addresses_of: AddressesOf | None = None,
    ) -> None:
        self._database = database
        self._signals = signals or Signals()
        self._entropy = entropy
        self._addresses_of = addresses_of
        self._limits = limits or Limits()
        self._queue: deque[_Item[Any]] = deque()
        self._per_user: dict[str, int] = {}
        self._per_client: dict[str, int] = {}
        self._under_way = 0
        self._gathered: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._alone: set[asyncio.Task[None]] = set()
        self._alone_at_once = asyncio.Semaphore(self._limits.alone)

    def under_way(self, client_id: str) -> "UnderWay":
        """Announce a call that will want something decided, before any of its tokens is opened.

        Raises:
            TooManyRequests: When entered: the queue, or the client's quarter of it, is full; nothing was done.
        """
        return UnderWay(self, client_id)

    def enter(self, client_id: str) -> None:
        """Count a call; see `under_way`."""
        theirs = self._per_client.get(client_id, 0)
        if self._full() or theirs >= self._limits.queue // 4:
            raise TooManyRequests(retry_after=1)
        self._under_way += 1
        self._per_client[client_id] = theirs + 1

    def leave(self, client_id: str) -> None:
        """Count a call no more."""
        self._under_way -= 1
        theirs = self._per_client[client_id] - 1
        if theirs:
            self._per_client[client_id] = theirs
        else:
            del self._per_client[client_id]
        self._arrived()

    async def decide(self, decision: Decision[V], *, deadline: float | None = None) -> V:
        """Have `decision` decided and committed, and return its verdict.

        Args:
            decision: What is to be decided.
            deadline: Event loop time after which it is dropped undecided; once decided it commits and counts.

        Raises:
            TooManyRequests: Too many calls wait for this user.
            DeadlineExceeded: The deadline passed before anything was decided.
            Unavailable: The database is away, or the commit's outcome is unknown.
            Internal: The decision failed, or broke its batch twice.
        """
        needs = decision.needs
        waiting = self._per_user.get(needs.user_id, 0)
        if waiting >= self._limits.per_user or self._full():
            raise TooManyRequests(retry_after=1)
        loop = asyncio.get_running_loop()
        item: _Item[V] = _Item(decision, needs, loop.create_future(), deadline)
        self._per_user[needs.user_id] = waiting + 1
        self._queue.append(item)
        self._arrived()
        if self._task is None:
            self._task = loop.create_task(self._run(), name="group-commit")
        return await item.future  # a caller that gives up cancels it, and nothing else

    @property
    def deciding(self) -> bool:
        """Whether a batch is under way: what comes now is for the next."""
        return self._task is not None

    async def close(self) -> None:
        """Wait until everything that was accepted is decided."""
        while under_way := self._alone | ({self._task} if self._task else set()):
            await asyncio.wait(under_way)

    def _full(self) -> bool:
        return len(self._queue) + len(self._alone) >= self._limits.queue

    def _end(self, item: _Item[V], verdict: V) -> None:
        self._uncount(item)
        if not item.future.done():
            item.future.set_result(verdict)

    def _refuse(self, items: Sequence[_Item[Any]], error: Exception) -> None:
        for item in items:
            self._uncount(item)
            if not item.future.done():
                item.future.set_exception(error)

    def _uncount(self, item: _Item[Any]) -> None:
        if item.ended:
            return
        item.ended = True
        user_id = item.needs.user_id
        waiting = self._per_user[user_id] - 1
        if waiting:
            self._per_user[user_id] = waiting
        else:
            del self._per_user[user_id]

    def _refused_for_its_deadline(self, item: _Item[Any]) -> bool:
        if item.deadline is None or asyncio.get_running_loop().time() < item.deadline:
            return False
        self._refuse([item], DeadlineExceeded())
        return True

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._wait_for_others()
                await self._settle(self._next_batch())
        finally:
            self._task = None

    async def _wait_for_others(self) -> None:
        if self._everybody_waits():
            return
        loop = asyncio.get_running_loop()
        self._gathered = gathered = loop.create_future()
        timer = loop.call_later(self._limits.wait, _done, gathered)
        try:
            await gathered
        finally:
            timer.cancel()
            self._gathered = None

    def _everybody_waits(self) -> bool:
        return len(self._queue) >= min(self._under_way, self._limits.batch)

    def _arrived(self) -> None:
        # The batch is woken once, when nobody is left to wait for, rather than by each arrival.
        if self._gathered is not None and self._everybody_waits():
            _done(self._gathered)

    def _next_batch(self) -> list[_Item[Any]]:
        batch: list[_Item[Any]] = []
        while self._queue and len(batch) < self._limits.batch:
            item = self._queue.popleft()
            if not self._refused_for_its_deadline(item):
                batch.append(item)
        return batch

    async def _settle(self, batch: Sequence[_Item[Any]], *, alone: bool = False) -> None:
        if not batch:
            return
        skip_locked = self._database.statements.skips_locked and not alone
        try:
            left_out = await self._attempt(batch, skip_locked=skip_locked)
        except OutcomeUnknown as error:
            log.error("commit outcome unknown", cause=type(error.__cause__).__name__, items=len(batch))
            self._refuse(batch, Unavailable())
        except (DatabaseAway, LockTimeout):
            self._refuse(batch, Unavailable(retry_after=1))
        except RetryError:
            await self._halve(batch, Unavailable(retry_after=1))
        except Exception as error:
            log.error("batch broken", cause=type(error).__name__, items=len(batch))
            await self._halve(batch, Internal())
        else:
            self._put_back(left_out)

    def _put_back(self, left_out: Sequence[_Item[Any]]) -> None:
        again: list[_Item[Any]] = []
        alone: list[_Item[Any]] = []
        for item in left_out:
            (alone if item.skipped else again).append(item)
            item.skipped = True
        self._queue.extendleft(reversed(again))
        for item in alone:
            task = asyncio.get_running_loop().create_task(self._settle_alone(item), name="group-commit-alone")
            self._alone.add(task)
            task.add_done_callback(self._alone.discard)

    async def _settle_alone(self, item: _Item[Any]) -> None:
        async with self._alone_at_once:
            if not self._refused_for_its_deadline(item):
                await self._settle([item], alone=True)

    async def _halve(self, batch: Sequence[_Item[Any]], refusal: Unavailable | Internal) -> None:
        if len(batch) == 1:
            self._refuse(batch, refusal)
            return
        middle = len(batch) // 2
        await self._settle(batch[:middle])
        await self._settle(batch[middle:])

    async def _attempt(self, batch: Sequence[_Item[Any]], *, skip_locked: bool) -> list[_Item[Any]]:
        def decide(work: Work) -> tuple[list[Any], Work]:
            missing = work.load([item.needs for item in batch], skip_locked=skip_locked)
            return [_decide(work, item, missing if skip_locked else frozenset()) for item in batch], work

        verdicts, work = await self._transact(
            deciding(self._database.statements, self._entropy, decide, self._addresses_of)
        )
        left_out = []
        for item, verdict in zip(batch, verdicts, strict=True):
            if isinstance(verdict, _Skipped):
                left_out.append(item)
            elif isinstance(verdict, _Failed):
                self._refuse([item], Internal())
            else:
                self._end(item, verdict)
        if work.changed or work.changed_near:
            self._signals.publish(work.changed, work.changed_near)
        return left_out

    async def _transact(self, change: Callable[[Connection], V]) -> V:
        try:
            return await self._database.transact(change)
        except LockTimeout:
            raise
        except Contention:
            pass  # few batches meet another transaction: to ask tenacity of every one took 5 us of each login
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Contention) & retry_if_not_exception_type(LockTimeout),
            stop=stop_after_attempt(self._limits.attempts - 1),
            wait=wait_random_exponential(multiplier=0.005, max=0.1),
        )
        return await retrying(self._database.transact, change)


class UnderWay:
    """A call that will want something decided, or is having it decided; made by `GroupCommit.under_way`."""

    __slots__ = ("_client_id", "_group")

    def __init__(self, group: GroupCommit, client_id: str) -> None:
        self._group = group
        self._client_id = client_id

    def __enter__(self) -> None:
        self._group.enter(self._client_id)

    def __exit__(self, *_: object) -> None:
        self._group.leave(self._client_id)


class _Skipped:
    """The user is locked by another transaction, or does not exist."""


class _Failed:
    """The decision raised; its writes were undone."""


def _decide(work: Work, item: _Item[Any], missing: frozenset[str]) -> Any:
    if item.needs.user_id in missing:
        return _Skipped()
    try:
        return work.decide(item.decision.decide)
    except Exception as error:
        # The text may quote what the caller sent; the place does not.
        log.error("decision failed", decision=type(item.decision).__name__, cause=type(error).__name__)
        return _Failed()


def _done(gathered: "asyncio.Future[None]") -> None:
    if not gathered.done():
        gathered.set_result(None)
