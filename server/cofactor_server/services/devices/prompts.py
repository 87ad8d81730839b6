"""Reads the pending prompts that listening devices receive (ADR-20)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from cofactor_server.domain.authenticators.kinds import PUSH
from cofactor_server.domain.callers import Device
from cofactor_server.domain.challenges.challenge import Challenge, Standing
from cofactor_server.domain.challenges.prompts import WaitingPrompt
from cofactor_server.factors.push import PushExpected
from cofactor_server.factors.registry import Registered
from cofactor_server.seams import Clock
from cofactor_server.services.proofs.credentials import Credentials
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import prompts
from cofactor_server.store.transactions.statements import Statements

Seen: TypeAlias = tuple[WaitingPrompt, ...] | None


class DeviceView:
    """The view of listening devices: their pending prompts, or None for a device that is no longer usable."""

    def __init__(self, records: Records, statements: Statements, credentials: Credentials, clock: Clock) -> None:
        self._records = records
        self._statements = statements
        self._credentials = credentials
        self._clock = clock
        self._prompted: set[Device] = set()

    def user_of(self, key: Device) -> str:
        """Return the id of the device's user."""
        return key.user_id

    def due(self, key: Device, value: Seen) -> int | None:  # noqa: ARG002 - the signature is that of `View`
        """Return the time at which the next prompt expires; None if none is pending."""
        return min((prompt.expires_at for prompt in value or ()), default=None)

    async def look(self, keys: Sequence[Device]) -> Mapping[Device, Seen]:
        """Read the pending prompts of devices; see `View.look`."""
        names = {(key.user_id, key.authenticator_id): key for key in keys}
        found = await self._records.read(prompts.waiting, self._statements, names.keys())
        seen = {names[name]: self._seen(waiting) for name, waiting in found.items()}
        for key, value in seen.items():
            (self._prompted.add if value else self._prompted.discard)(key)
        return seen

    async def suspects(self, keys: Sequence[Device]) -> Iterable[Device]:
        """Return devices that had or have a prompt to answer, or are no longer usable; see `View.suspects`."""
        self._prompted.intersection_update(keys)
        names = {(key.user_id, key.authenticator_id): key for key in keys}
        found = await self._records.read(prompts.prompted, self._statements, names.keys())
        return self._prompted.union(names[name] for name in found)

    def _seen(self, waiting: prompts.Waiting) -> Seen:
        factor = self._credentials.factor(PUSH)
        if not waiting.usable or factor is None:
            return None
        now = self._clock.now()
        return tuple(self._prompt(factor, c) for c in waiting.challenges if c.standing(now) is Standing.PENDING)

    def _prompt(self, factor: Registered, challenge: Challenge) -> WaitingPrompt:
        expected: PushExpected = factor.expectation(self._credentials.open_expected(challenge))
        return WaitingPrompt(challenge.id, expected.shown, bool(expected.mac), challenge.expires_at)
