"""New signing keys in place of old ones, published before they sign (S158)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from cofactor_server.domain.deployment import MFA_ACCESS_TOKEN_SECONDS
from cofactor_server.seams import MINUTE, SECOND, Clock, Entropy
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import accounts, apis, deployments
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.signing_keys import Algorithm, SigningKey, generate_signing_key

SHORTEST_NOTICE = 15 * MINUTE
"""Verifiers keep a key set for five minutes, and replicas look for new keys every minute."""
MARGIN = 10 * MINUTE
"""How long after a key's last token could have expired the key goes, for clocks that differ."""


class RotationUnderWay(Exception):
    """The keys of an earlier rotation do not sign yet."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """New keys, and when they and the old ones change their state; microseconds since the Unix epoch."""

    kids: tuple[str, ...]
    active_from: int
    retire_at: int


class SigningRotation:
    """Makes signing keys and lists them."""

    def __init__(self, records: Records, columns: Columns, clock: Clock, entropy: Entropy) -> None:
        self._records = records
        self._columns = columns
        self._clock = clock
        self._entropy = entropy

    async def keys(self) -> Sequence[SigningKey]:
        """Return every signing key, oldest first."""
        return await self._records.read(deployments.signing_keys, self._columns)

    async def rotate(self, notice: int) -> Rotated:
        """Add a key for each algorithm that signs after `notice`, and let those of now retire when nothing needs them.

        Args:
            notice: Microseconds, `SHORTEST_NOTICE` at least.

        Raises:
            ValueError: The notice is too short for verifiers to learn of the keys.
            RotationUnderWay: Keys wait already.
        """
        if notice < SHORTEST_NOTICE:
            raise ValueError(f"the notice is {SHORTEST_NOTICE // MINUTE} minutes at least")
        now = self._clock.now()
        retire_at = now + notice + await self._longest_life() + MARGIN
        made = await self._made(now + notice)
        if not await self._records.change(deployments.rotate_signing_keys, self._columns, made, retire_at, now):
            raise RotationUnderWay
        return Rotated(tuple(key.kid for key in made), now + notice, retire_at)

    async def replace(self) -> Rotated:
        """Add a key for each algorithm that signs at once, and retire every other: one of them is no secret any more.

        Tokens that the old ones signed are refused from now on, also good ones.
        """
        now = self._clock.now()
        made = await self._made(now)
        await self._records.change(deployments.replace_signing_keys, self._columns, made, now)
        return Rotated(tuple(key.kid for key in made), now, now)

    async def _made(self, active_from: int) -> list[SigningKey]:
        return [
            await asyncio.to_thread(
                generate_signing_key, algorithm, self._clock, self._entropy, active_from=active_from
            )
            for algorithm in Algorithm
        ]

    async def _longest_life(self) -> int:
        """Return how long the longest-lived token lives, in microseconds."""
        clients, listed = await self._records.read(accounts.clients), await self._records.read(apis.apis)
        lives = [*(client.access_token_seconds for client in clients), *(api.access_token_seconds for api in listed)]
        return max(MFA_ACCESS_TOKEN_SECONDS, *lives, 0) * SECOND
