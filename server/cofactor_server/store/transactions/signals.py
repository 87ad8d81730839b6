"""Signals: whose rows changed, told to everybody in this process and in the others, once the change is committed.

A signal is the id of a user and says nothing else: whoever waits for something of that user's reads it again. Hence a
signal that is lost, or sent twice, or made up by somebody who may write to the database, changes nothing but when.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    import asyncpg

CHANNEL = "cofactor"
LONGEST_PAYLOAD = 7_000
"""Octets; PostgreSQL takes fewer than 8,000."""
MOST_WAITING = 10_000
"""How many signals wait for a connection; more are left to the others' polls."""
ALIVE_EVERY = 5.0
TIMEOUT = 5.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds; a pause between two attempts to connect doubles each time."""

Listener = Callable[[Collection[str] | None], None]
"""Told the ids of users, or None where signals may have been missed: anything may have changed then."""

log = structlog.get_logger("cofactor")


class Signals:
    """Signals within this process. Nothing here waits: it is called between a commit and its answers."""

    def __init__(self, others: "Notifications | None" = None) -> None:
        self._listeners: list[Listener] = []
        self._others = others
        if others is not None:
            others.deliver = self.deliver

    @property
    def live(self) -> bool:
        """Whether other processes' signals arrive; otherwise what they change is only found by looking."""
        return self._others is not None and self._others.live

    def listen(self, listener: Listener) -> None:
        """Have `listener` told from now on, for as long as the process lives."""
        self._listeners.append(listener)

    def expect(self) -> None:
        """Say that somebody waits for signals, so that those of other processes are listened to."""
        if self._others is not None:
            self._others.start()

    def publish(self, users: Collection[str], near: Collection[str] = ()) -> None:
        """Tell of committed changes.

        Args:
            users: Whose rows changed.
            near: Whose rows changed in a way that other processes may find out by looking, a while later.
        """
        if users or near:
            self.deliver({*users, *near})
        if users and self._others is not None:
            self._others.publish(users)

    def deliver(self, users: Collection[str] | None) -> None:
        """Tell the listeners of this process. One that fails is no fault of what was committed."""
        for listener in self._listeners:
            try:
                listener(users)
            except Exception as error:
                log.error("a listener failed", cause=type(error).__name__)

    async def close(self) -> None:
        """Let go of the connection to the others."""
        if self._others is not None:
            await self._others.close()


class Notifications:
    """Signals between processes, by PostgreSQL's LISTEN and NOTIFY.

    One connection of its own, with no transaction on it, does both: it has to lead to PostgreSQL itself, since a pooler
    that lends connections out by the transaction forgets who listens. It is made when the first signal is sent or
    expected, and made again whenever it is lost; what was signalled meanwhile waits for it, and who listens is told to
    look at everything.

    Args:
        url: Where PostgreSQL is, `postgresql://user@host/name`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._outgoing: dict[str, None] = {}
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.live = False
        self.deliver: Listener = lambda _: None

    def start(self) -> None:
        """Connect, if that was not begun yet."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="notifications")

    def publish(self, users: Iterable[str]) -> None:
        """Send signals as soon as may be; a user who is waited for already is named once."""
        for user in users:
            if len(self._outgoing) < MOST_WAITING:
                self._outgoing[user] = None
        self._woken.set()
        self.start()

    async def close(self) -> None:
        """Stop; what still waits is left to the others' polls."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        import asyncpg

        pause = SHORTEST_PAUSE
        while True:
            try:
                async with asyncio.timeout(TIMEOUT):
                    connection = await asyncpg.connect(self._url, server_settings={"application_name": "cofactor"})
                try:
                    await connection.add_listener(CHANNEL, self._heard)
                    connection.add_termination_listener(lambda _: self._woken.set())
                    self.live, pause = True, SHORTEST_PAUSE
                    self.deliver(None)  # what was signalled before this moment was not heard
                    await self._serve(connection)
                finally:
                    self.live = False
                    connection.terminate()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("signals of other processes are away", cause=type(error).__name__)
            except Exception as error:
                log.error("signals of other processes failed", cause=type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _serve(self, connection: "asyncpg.Connection[Any]") -> None:
        while not connection.is_closed():
            self._woken.clear()
            if self._outgoing:
                users = list(self._outgoing)
                statement = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
                await connection.execute(statement, CHANNEL, _payloads(users), timeout=TIMEOUT)
                for user in users:
                    del self._outgoing[user]
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ALIVE_EVERY):
                    await self._woken.wait()
                    continue
            # A connection that nothing passes over may be long gone.
            await connection.execute("SELECT 1", timeout=TIMEOUT)

    def _heard(self, connection: Any, pid: int, _channel: str, payload: object) -> None:
        if pid != connection.get_server_pid():  # what this process sent, it has told itself
            self.deliver(str(payload).split())


def _payloads(users: Iterable[str]) -> list[str]:
    """Return the ids with spaces between them, in texts that are short enough."""
    payloads: list[list[str]] = [[]]
    length = 0
    for user in users:
        if length + len(user) > LONGEST_PAYLOAD:
            payloads.append([])
            length = 0
        payloads[-1].append(user)
        length += len(user) + 1
    return [" ".join(payload) for payload in payloads]
