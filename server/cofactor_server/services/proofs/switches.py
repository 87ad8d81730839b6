"""Factors switched on and off while a deployment runs; every process follows within five seconds."""

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
"""How long switches that were read count as read, as with clients and rules."""


class Switches:
    """Keeps the switches, and has `Credentials` follow them: whoever asks that for a factor respects them."""

    def __init__(self, deployment: Deployment, records: Records, credentials: Credentials, clock: Clock) -> None:
        self._deployment = deployment
        self._records = records
        self._credentials = credentials
        self._clock = clock
        self._read_until = 0

    async def follow(self) -> None:
        """Read the switches again if it is time to.

        Calls that come while one of them reads go on with what was read last.

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
        """Return of every switch whether it is on, and the settings serve what it is for."""
        off = await self._records.read(switches.off)
        return {switch: self._is_on(switch, off) for switch in Switch}

    async def turn(self, switch: Switch, *, on: bool) -> None:
        """Switch a factor.

        Raises:
            InvalidRequest: It is not served, or what would be left is not enough.
        """
        if on and not any(map(self._deployment.serves, KINDS[switch])):
            raise InvalidRequest(violations=(("enabled", "is not for this factor: the settings do not serve it"),))
        await self._change({switch: on})

    async def message_types(self) -> Sequence[Switch]:
        """Return the ways in which telephones are reached, those that are switched off left out.

        Raises:
            NotFound: The settings serve none.
        """
        if not self._served_types():
            raise NotFound
        off = await self._records.read(switches.off)
        return [way for way in self._served_types() if way not in off]

    async def set_message_types(self, ways: Collection[Switch]) -> Sequence[Switch]:
        """Have telephones reached in these ways and no other, and return them.

        Raises:
            InvalidRequest: There is none, or one that the settings do not serve.
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
        """Whether something stronger stays beside the telephones, as the settings demand, too (S16)."""
        return not leaves_only_telephones(self._left(after)) or leaves_only_telephones(self._left(before))

    def _left(self, off: Collection[Switch]) -> set[Kind]:
        gone = kinds_off(off)
        return {kind for kind in self._deployment.kinds if self._deployment.serves(kind) and kind not in gone}
