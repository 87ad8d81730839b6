"""Notifies users of changes: at least once, at every address known before the change (ADR-21)."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.kinds import EMAIL, SMS, VOICE
from cofactor_server.domain.authenticators.proofs import Message
from cofactor_server.errors import CofactorError, DestinationRefused
from cofactor_server.seams import DAY, HOUR, MINUTE, SECOND, Clock
from cofactor_server.services.messages.sending import Sender
from cofactor_server.services.proofs.credentials import Credentials
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import notices
from cofactor_server.store.repositories.notices import DueNotice
from cofactor_server.vault.keyring import SealBroken

LEASE = 5 * MINUTE
"""How long one worker holds the lease of a notice; if that worker dies, another takes the notice after this time."""
AT_ONCE = 8
FIRST_WAIT = 30 * SECOND
LONGEST_WAIT = HOUR
GIVE_UP = 3 * DAY
"""How long after the change a notice is retried."""

log = structlog.get_logger("cofactor")


class Address(msgspec.Struct, frozen=True, array_like=True):
    """One way to reach a user."""

    channel: str
    to: str

    def __repr__(self) -> str:
        return f"Address({self.channel!r})"


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Address, ...]).decode


class Recipients:
    """Finds the addresses for a user's notices.

    These are the destinations of authenticators that are or were confirmed, the profile's address included.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def sealed(self, user_id: str, notice_id: str, before: Sequence[Authenticator]) -> bytes:
        """Return the addresses of a notice, sealed for storage; empty if there are none.

        Args:
            user_id: The user who gets the notice.
            notice_id: The id of the notice's row.
            before: The user's authenticators before the change.
        """
        found = dict.fromkeys(address for a in before if (address := self._address(a)) is not None)
        # A number that gets a text message does not get a call too.
        texted = {address.to for address in found if address.channel == SMS}
        addresses = [a for a in found if not (a.channel == VOICE and a.to in texted)]
        return self._credentials.seal_addresses(user_id, notice_id, _encode(addresses)) if addresses else b""

    def opened(self, notice: DueNotice) -> tuple[Address, ...]:
        """Open the addresses of a stored notice and return them.

        Raises:
            SealBroken: The row was changed, moved, or sealed under a key that is gone.
        """
        if not notice.addresses:
            return ()
        return _decode(self._credentials.open_addresses(notice.user_id, notice.id, notice.addresses))

    def _address(self, authenticator: Authenticator) -> Address | None:
        if authenticator.state not in (State.ACTIVE, State.DISABLED):
            return None
        try:
            to = self._credentials.address(authenticator)
        except Exception as error:
            # An unreadable row or a bug in a plugin must not undo the change, nor stop the notice to other addresses.
            log.error("address unreadable", kind=authenticator.kind, cause=type(error).__name__)
            return None
        return Address(authenticator.kind, to) if to else None


class Notices:
    """Sends due notices; any number of processes may run this at the same time."""

    def __init__(self, records: Records, recipients: Recipients, sender: Sender, clock: Clock) -> None:
        self._records = records
        self._recipients = recipients
        self._sender = sender
        self._clock = clock

    async def send_due(self) -> None:
        """Send every due notice. If no channel can carry them, they stay queued."""
        if not any(self._sender.carries(channel) for channel in (EMAIL, SMS, VOICE)):
            return
        while True:
            now = self._clock.now()
            leased = await self._records.change(notices.lease, now, now + LEASE, AT_ONCE)
            sent = await asyncio.gather(*(self._send(notice) for notice in leased), return_exceptions=True)
            for failure in sent:
                if failure is not None:
                    raise failure
            if len(leased) < AT_ONCE:
                return

    async def _send(self, notice: DueNotice) -> None:
        try:
            addresses = self._recipients.opened(notice)
        except SealBroken:
            log.error("notice unreadable", notice=notice.name)
            await self._records.change(notices.put_off, notice, None)
            return
        told = notice.told
        for number, address in enumerate(addresses):
            if number not in told and await self._told(notice, address):
                told |= {number}
                await self._records.change(notices.note_told, notice, told)
        now = self._clock.now()
        if len(told) == len(addresses):
            await self._records.change(notices.mark_sent, notice, now)
            return
        wait = min(FIRST_WAIT << min(notice.attempts - 1, 16), LONGEST_WAIT)
        given_up = now + wait > notice.time + GIVE_UP
        if given_up:
            log.error("notice given up", notice=notice.name, attempts=notice.attempts)
        await self._records.change(notices.put_off, notice, None if given_up else now + wait)

    async def _told(self, notice: DueNotice, address: Address) -> bool:
        """Send a notice to one address; return whether that address is done."""
        if not self._sender.carries(address.channel):
            return True
        time = datetime.fromtimestamp(notice.time / SECOND, UTC)
        facts = {
            "kind": notice.authenticator_id.partition("|")[0],
            "time": f"{time:%Y-%m-%d %H:%M} UTC",
            "source": notice.source,
        }
        name = notice.known_name
        if name is None:
            # A newer replica wrote this notice and will send it.
            return False
        try:
            await self._sender.send(Message(address.channel, address.to, notice=name, facts=facts))
        except DestinationRefused:
            return True
        except CofactorError:
            return False
        return True
