"""A circuit breaker: after failures in a row a provider is left alone for a while, and callers are told at once."""

from cofactor_server.seams import SECOND, Clock

FAILURES = 5
OPEN = 30 * SECOND


class Breaker:
    """Closed while all is well; open after `failures` in a row; then one call at a time finds out."""

    def __init__(self, clock: Clock, *, failures: int = FAILURES, open_for: int = OPEN) -> None:
        self._clock = clock
        self._limit = failures
        self._open_for = open_for
        self._failures = 0
        self._open_until = 0

    def wait(self) -> int:
        """Return microseconds until a call may be tried; 0 if now.

        While it is half open, asking takes the one try: whoever is told 0 must tell what came of it.
        """
        if self._failures < self._limit:
            return 0
        now = self._clock.now()
        if now < self._open_until:
            return self._open_until - now
        self._open_until = now + self._open_for
        return 0

    def succeeded(self) -> None:
        """Close it."""
        self._failures = 0

    def failed(self) -> bool:
        """Count a failure; return whether this one opened it."""
        self._failures += 1
        if self._failures >= self._limit:
            self._open_until = self._clock.now() + self._open_for
        return self._failures == self._limit
