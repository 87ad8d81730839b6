"""Calls that arrive close together are served together, step by step."""

import asyncio
from collections.abc import Callable

WAIT = 0.003
"""Seconds that a call waits for others to come; as long as a batch of decisions does (ADR-26)."""
LONGEST = 0.02
"""Seconds that it waits at most, where decisions are under way that it could not be part of."""
_LOOK_AGAIN = 0.001


class Bursts:
    """Lets calls in together, and out together.

    Between two calls' arrivals the transport does its own work, and pushes out of the processor's caches what the calls
    run. Measured: opening an mfa_token takes 5 us where it follows another, and 20 where it follows the transport; a
    signature 21 and 45. So calls that arrive while others are served wait for each other, and everybody who was let in
    does the same thing in turn. A lone call never waits.

    Args:
        deciding: Tells whether decisions are under way.
        wait: As `WAIT`.
        longest: As `LONGEST`.
    """

    def __init__(
        self, deciding: Callable[[], bool] = lambda: False, *, wait: float = WAIT, longest: float = LONGEST
    ) -> None:
        self._deciding = deciding
        self._wait = wait
        self._longest = longest
        self._waiting: list[asyncio.Future[None]] = []
        self._in_flight = 0
        self._together = 1
        """How many were in flight when calls were let in last: so many may come again."""
        self._left_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self) -> None:
        """Wait for others, if others are expected; `leave` follows, also where the wait is cancelled."""
        loop = asyncio.get_running_loop()
        self._in_flight += 1
        busy = self._in_flight > 1 or loop.time() < self._left_at + self._wait
        if self._together == 1 or not busy:
            self._together = self._in_flight
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        if len(self._waiting) >= self._together:
            self._let_in()
        elif self._timer is None:
            self._timer = loop.call_later(self._wait, self._waited, self._longest - self._wait)
        await turn

    async def finish(self) -> None:
        """Let the others come as far, before what was computed is sent."""
        if self._in_flight > 1:
            await asyncio.sleep(0)

    def leave(self) -> None:
        """Have one call less in flight."""
        self._in_flight -= 1
        self._left_at = asyncio.get_running_loop().time()

    def _waited(self, longer: float) -> None:
        """Let in who waits, unless decisions are under way, or callers were answered just now who may come again."""
        loop = asyncio.get_running_loop()
        if longer > 0 and (self._deciding() or loop.time() < self._left_at + self._wait):
            self._timer = loop.call_later(_LOOK_AGAIN, self._waited, longer - _LOOK_AGAIN)
        else:
            self._let_in()

    def _let_in(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._together = self._in_flight
        turns, self._waiting = self._waiting, []
        for turn in turns:
            if not turn.done():
                turn.set_result(None)
