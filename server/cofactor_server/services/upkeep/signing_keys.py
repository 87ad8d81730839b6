"""Rotates signing keys; new keys are published before they sign (S158)."""

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
"""Least time between publishing a key and signing with it.

Verifiers cache a key set for five minutes, and replicas look for new keys every minute.
"""
MARGIN = 10 * MINUTE
"""Clock tolerance: how long after its last token can have expired a key is removed."""


class RotationUnderWay(Exception):
    """Raised while the keys of an earlier rotation do not sign yet."""


@dataclass(frozen=True, slots=True)
class Rotated:
    """The new keys, when they start to sign, and when the old keys retire; microseconds since the Unix epoch."""

    kids: tuple[str, ...]
    active_from: int
    retire_at: int


class SigningRotation:
    """Generates, lists and rotates signing keys."""

    def __init__(self, records: Records, columns: Columns, clock: Clock, entropy: Entropy) -> None:
        self._records = records
        self._columns = columns
        self._clock = clock
        self._entropy = entropy

    async def keys(self) -> Sequence[SigningKey]:
        """Return every signing key, oldest first."""
        return await self._records.read(deployments.signing_keys, self._columns)

    async def rotate(self, notice: int) -> Rotated:
        """Add a key for each algorithm that signs after `notice`; retire the current keys once no token needs them.

        Args:
            notice: Microseconds, at least `SHORTEST_NOTICE`.

        Raises:
            ValueError: The notice is too short for verifiers to load the new keys.
            RotationUnderWay: The keys of an earlier rotation do not sign yet.
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
        """Add a key for each algorithm that signs at once, and retire every other key; for a key that has leaked.

        Tokens that the old keys signed are refused from now on, even if they have not expired.
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
        """Return the longest lifetime of an access token of any client or API, in microseconds."""
        clients, listed = await self._records.read(accounts.clients), await self._records.read(apis.apis)
        lives = [*(client.access_token_seconds for client in clients), *(api.access_token_seconds for api in listed)]
        return max(MFA_ACCESS_TOKEN_SECONDS, *lives, 0) * SECOND
