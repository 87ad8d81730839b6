"""One root key takes another's place while servers run: everything that is stored is sealed again (ADR-10)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cofactor_server.services.transactions.queries import Records
from cofactor_server.store import resealing
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.keyring import Keyring

MOST_PASSES = 3
"""A row that was read before it was sealed again may be written back as it was; a second look finds it."""
SHORTEST_PAUSE = 0.005
"""Seconds between two transactions; or as long as the last one took, so that servers get their turn."""


@dataclass(frozen=True, slots=True)
class Resealed:
    """What became of one rotation."""

    done: int
    broken: Mapping[str, int]
    """Values, by column, that no key of the keyring opens; they are left as they are."""
    left: int
    """How many are under another key than the active one, these among them."""


class Rotation:
    """Seals again what is stored. It can be killed at any time, and begun again."""

    def __init__(self, records: Records, columns: Columns, keyring: Keyring) -> None:
        self._records = records
        self._columns = columns
        self._keyring = keyring

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many values of each column are under each root key; those under an unknown one under ``."""
        return await self._records.read(resealing.counts, self._keyring)

    async def totals(self) -> Counter[str]:
        """Return how many values there are under each root key, over all columns."""
        totals: Counter[str] = Counter()
        for by_key in (await self.counts()).values():
            totals.update(by_key)
        return totals

    async def reseal(self, tell: Callable[[int, int], None] = lambda _done, _due: None) -> Resealed:
        """Seal everything again that is under another key than the active one.

        Args:
            tell: Hears after each transaction how many are done, of how many.

        Raises:
            Unavailable: The database is away; what is done is done.
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
            # Last: as long as it is under the old key, a server without the new one starts, and says what it lacks.
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
