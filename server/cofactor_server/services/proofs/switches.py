"""Switches factors on and off at run time; every process follows within five seconds."""

from collections.abc import Collection, Mapping, Sequence

from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.authenticators.switches import (
    KINDS,
    MESSAGE_TYPES,
    Switch,
    kinds_off,
    leaves_only_telephones,
)
from cofactor_server.domain.deployment import Deployment
from cofactor_server.errors import InvalidRequest, NotFound
from cofactor_server.seams import SECOND, Clock
from cofactor_server.services.proofs.credentials import Credentials
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import switches

REMEMBERED = 5 * SECOND
"""Cache TTL of the switches, the same as for clients and rules."""


class Switches:
    """Stores the switches and applies them to `Credentials`, which every use of a factor goes through."""

    def __init__(self, deployment: Deployment, records: Records, credentials: Credentials, clock: Clock) -> None:
        self._deployment = deployment
        self._records = records
        self._credentials = credentials
        self._clock = clock
        self._read_until = 0

    async def follow(self) -> None:
        """Read the switches again if the cache has expired.

        One call reads; calls that arrive meanwhile use the cached switches.

        Raises:
            Unavailable: The database is away.
        """
        now, before = self._clock.now(), self._read_until
        if now < before:
            return
        if before:
            self._read_until = now + REMEMBERED
        try:
            self._credentials.switch_off(kinds_off(await self._records.read(switches.off)))
        except BaseException:
            self._read_until = 0
            raise
        self._read_until = now + REMEMBERED

    async def every(self) -> Mapping[Switch, bool]:
        """Return, for every switch, whether it is on and the settings serve one of its kinds."""
        off = await self._records.read(switches.off)
        return {switch: self._is_on(switch, off) for switch in Switch}

    async def turn(self, switch: Switch, *, on: bool) -> None:
        """Switch a factor on or off.

        Args:
            switch: The factor.
            on: Whether it is on from now.

        Raises:
            InvalidRequest: The settings do not serve the factor, or sms and voice alone would stay on.
        """
        if on and not any(map(self._deployment.serves, KINDS[switch])):
            raise InvalidRequest(violations=(("enabled", "is not for this factor: the settings do not serve it"),))
        await self._change({switch: on})

    async def message_types(self) -> Sequence[Switch]:
        """Return the ways in which messages reach telephones, without those that are switched off.

        Raises:
            NotFound: The settings serve none.
        """
        if not self._served_types():
            raise NotFound
        off = await self._records.read(switches.off)
        return [way for way in self._served_types() if way not in off]

    async def set_message_types(self, ways: Collection[Switch]) -> Sequence[Switch]:
        """Set the ways in which messages reach telephones, and return them.

        Args:
            ways: Every way that is on from now; all others are off.

        Raises:
            InvalidRequest: The list is empty, or the settings do not serve one of its ways.
            NotFound: The settings serve none.
        """
        served = self._served_types()
        if not served:
            raise NotFound
        if not ways:
            raise InvalidRequest(violations=(("message_types", "must have one: the factor has a switch of its own"),))
        if set(ways) - set(served):
            raise InvalidRequest(violations=(("message_types", "holds one that the settings do not serve"),))
        await self._change({way: way in ways for way in MESSAGE_TYPES})
        return [way for way in served if way in ways]

    def _served_types(self) -> list[Switch]:
        return [way for way in MESSAGE_TYPES if any(map(self._deployment.serves, KINDS[way]))]

    def _is_on(self, switch: Switch, off: Collection[Switch]) -> bool:
        return bool(KINDS[switch] & self._left(off))

    async def _change(self, changes: Mapping[Switch, bool]) -> None:
        if not await self._records.change(switches.turn, changes, self._allows, self._clock.now()):
            problem = "would leave sms and voice with nothing stronger beside them"
            raise InvalidRequest(violations=(("enabled", problem),))
        self._read_until = 0

    def _allows(self, before: Collection[Switch], after: Collection[Switch]) -> bool:
        """Whether a change leaves a factor stronger than sms and voice, unless there was none before (S16)."""
        return not leaves_only_telephones(self._left(after)) or leaves_only_telephones(self._left(before))

    def _left(self, off: Collection[Switch]) -> set[Kind]:
        gone = kinds_off(off)
        return {kind for kind in self._deployment.kinds if self._deployment.serves(kind) and kind not in gone}
