"""Rotates the root key while servers run: seals every stored value again under the active key (ADR-10)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cofactor_server.services.transactions.queries import Records
from cofactor_server.store import resealing
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.keyring import Keyring

MOST_PASSES = 3
"""A server may write back a row that it read before the row was resealed; a further pass finds such rows."""
SHORTEST_PAUSE = 0.005
"""Least pause between two transactions, in seconds; it is as long as the last one took, so that servers get a turn."""


@dataclass(frozen=True, slots=True)
class Resealed:
    """The result of one rotation."""

    done: int
    broken: Mapping[str, int]
    """How many values of each column no key of the keyring opens; they stay unchanged."""
    left: int
    """How many values are under another key than the active one, the broken ones included."""


class Rotation:
    """Reseals stored values. It can be killed at any time and started again."""

    def __init__(self, records: Records, columns: Columns, keyring: Keyring) -> None:
        self._records = records
        self._columns = columns
        self._keyring = keyring

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of values of each column under each root key; unknown keys count under the empty id."""
        return await self._records.read(resealing.counts, self._keyring)

    async def totals(self) -> Counter[str]:
        """Return the number of values under each root key, over all columns."""
        totals: Counter[str] = Counter()
        for by_key in (await self.counts()).values():
            totals.update(by_key)
        return totals

    async def reseal(self, tell: Callable[[int, int], None] = lambda _done, _due: None) -> Resealed:
        """Reseal every value that is under another key than the active one.

        Args:
            tell: Called after each transaction with the number of values done and the total.

        Raises:
            Unavailable: The database is away; values resealed so far stay resealed.
        """
        done = 0
        due = left = await self._left()
        broken: dict[str, int] = {}
        for _ in range(MOST_PASSES):
            if left <= sum(broken.values()):
                break
            for name in resealing.SEALED:
                broken.pop(name, None)
                after: tuple[str, ...] | None = None
                while True:
                    step = await self._step(name, after)
                    done += step.resealed
                    if step.broken:
                        broken[name] = broken.get(name, 0) + len(step.broken)
                    tell(done, max(due, done))
                    if (after := step.last) is None:
                        break
            # Canary last: while it is under the old key, a server without the new key starts and says what it lacks.
            done += await self._records.change(resealing.renew_canary, self._keyring)
            left = await self._left()
        tell(done, max(due, done))
        return Resealed(done, broken, left)

    async def _left(self) -> int:
        totals = await self.totals()
        return totals.total() - totals[self._keyring.active_id]

    async def _step(self, name: str, after: tuple[str, ...] | None) -> resealing.Step:
        loop = asyncio.get_running_loop()
        began = loop.time()
        step = await self._records.change(resealing.reseal, self._columns, self._keyring, name, after)
        await asyncio.sleep(max(SHORTEST_PAUSE, loop.time() - began))
        return step
