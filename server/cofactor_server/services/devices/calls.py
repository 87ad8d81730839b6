"""Serves devices: a device pairs with the secret of an enrollment, then signs its calls (ADR-17, ADR-20)."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import msgspec

from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.proofs import Signed
from cofactor_server.domain.authenticators.removals import removal
from cofactor_server.domain.callers import Caller, Device
from cofactor_server.domain.challenges.prompts import DeviceEvent, Listening, WaitingPrompt, Withdrawn
from cofactor_server.domain.foundation.events import Event, Notice
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.requests import Paired
from cofactor_server.errors import CofactorError, DeviceInvalid, InsufficientAuthentication, PairingNotFound
from cofactor_server.factors import push
from cofactor_server.seams import MINUTE, new_id
from cofactor_server.services.challenges.watchers import Watchers
from cofactor_server.services.devices.pairing import Pair, Pairing
from cofactor_server.services.devices.prompts import DeviceView
from cofactor_server.services.proofs.credentials import linked, remove
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import queries
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.signals import Signals
from cofactor_server.store.transactions.statements import Statements
from cofactor_server.store.transactions.work import Work
from cofactor_server.vault.keyring import SealBroken
from cofactor_server.vault.tokens import TokenSealer

NONCE_LIFE = MINUTE
NONCE = "device_nonce"


class Nonce(msgspec.Struct, frozen=True, array_like=True):
    """The sealed content of a nonce: the server stores nothing until the nonce is used."""

    id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class UseNonce:
    """Decides whether a device's signed call is valid, and accepts it once (replay protection)."""

    pairing: Pairing
    device: Device
    nonce: Nonce
    issuer: str
    statement: Signed

    @property
    def needs(self) -> Needs:
        """The user's authenticators, and whether the nonce has been used."""
        return Needs(self.device.user_id, token_id=self.nonce.id)

    def decide(self, work: Work) -> Authenticator | CofactorError:
        """Use up the nonce, and return the device's authenticator."""
        pairing, device, now = self.pairing, self.device, self.pairing.clock.now()
        user = work.user(device.user_id)
        found = pairing.holder(work.authenticators(device.user_id), device)
        if user is None or user.blocked or found is None or work.is_spent(user.id, self.nonce.id):
            return DeviceInvalid()
        if now >= self.nonce.expires_at or not pairing.signed_by(found, self.issuer, self.statement):
            return DeviceInvalid()
        work.spend(user.id, self.nonce.id, self.nonce.expires_at)
        return found


@dataclass(frozen=True, slots=True)
class Update:
    """Decides a change of a device's push address."""

    call: UseNonce
    address: push.PushAddress | None

    @property
    def needs(self) -> Needs:
        """What the call reads."""
        return self.call.needs

    def decide(self, work: Work) -> CofactorError | None:
        """Store the new address."""
        found = self.call.decide(work)
        if isinstance(found, CofactorError):
            return found
        pairing = self.call.pairing
        kept = pairing.credential(found)
        if kept is None:
            return DeviceInvalid()
        moved = msgspec.structs.replace(kept, push=self.address)
        work.save_authenticator(replace(found, credential=pairing.sealed(found, moved)))
        return None


@dataclass(frozen=True, slots=True)
class Remove:
    """Decides the removal of a device, with its one-time passwords."""

    call: UseNonce

    @property
    def needs(self) -> Needs:
        """What the call reads."""
        return self.call.needs

    def decide(self, work: Work) -> CofactorError | None:
        """Remove the device, unless the user would then have no second factor.

        Otherwise a person who finds the device unlocked could let an attacker with the password enroll another one.
        """
        found = self.call.decide(work)
        if isinstance(found, CofactorError):
            return found
        return give_up(work, found, self.call.pairing.clock.now())


def give_up(work: Work, device: Authenticator, now: int) -> CofactorError | None:
    """Remove a device on its own authority, with its one-time passwords.

    Returns:
        Why the device can't be removed; None if it was.
    """
    change = removal(linked(work, device), work.authenticators(device.user_id))
    if change.is_last:
        return InsufficientAuthentication()
    ended = work.opened(device.user_id, now).by({each.id for each in change.gone}).details
    for each in change.gone:
        remove(work, each, now)
    work.record(Event(device.user_id, change.event, now, authenticator_id=device.id, details=ended))
    work.notify(Notice(device.user_id, change.notice, now, device.id))
    return None


class Devices:
    """Pairs devices, authenticates their calls, and serves calls about the device itself."""

    def __init__(
        self,
        *,
        pairing: Pairing,
        records: Records,
        statements: Statements,
        signals: Signals,
        decider: Decider,
        sealer: TokenSealer,
    ) -> None:
        self._pairing = pairing
        self._records = records
        self._decider = decider
        self._sealer = sealer
        view = DeviceView(records, statements, pairing.answering.credentials, pairing.clock)
        self._watchers = Watchers(view, signals, pairing.clock)

    async def pair(self, caller: Caller, secret: str, statement: Signed) -> Paired:
        """Pair a device with the enrollment whose secret it read, once.

        Args:
            caller: Any caller: a device that has the secret may pair.
            secret: The pairing secret from the enrollment's QR code.
            statement: The device's statement, signed with the key that it contains.

        Raises:
            PairingNotFound: No enrollment is pending for this secret.
            DeviceInvalid: The statement is malformed, or not signed with the key that it contains.
            AuthenticatorRegistered: The key belongs to another device.
            TooManyAuthenticators: The user has the maximum number of authenticators.
        """
        digest = push.secret_digest(secret).hex()
        found = await self._records.read(queries.pairing, digest)
        if found is None:
            raise PairingNotFound
        authenticator, challenge = found
        owner = replace(caller, device=Device(authenticator.user_id, authenticator.id))
        with self._decider.under_way(owner):
            return await self._decider.decide(owner, Pair(self._pairing, digest, challenge, statement))

    def nonce(self) -> tuple[str, int]:
        """Return a nonce for one signed call, and the time at which it expires."""
        pairing = self._pairing
        made = Nonce(new_id(pairing.entropy, "nonce-"), pairing.clock.now() + NONCE_LIFE)
        return self._sealer.seal(NONCE, msgspec.msgpack.encode(made)), made.expires_at

    async def known(self, caller: Caller, statement: Signed) -> Caller:
        """Return the caller, authenticated as the device that answers a challenge.

        `services.challenges.answers` decides the answer itself. An unknown caller is refused here and uses no budget.

        Raises:
            DeviceInvalid: The statement is not an answer signed by a paired device.
        """
        said = _parsed(statement, push.Answer)
        device = Device(said.user, said.device)
        await self._expect(device, said.issuer, statement)
        return replace(caller, device=device)

    async def update(self, caller: Caller, statement: Signed) -> None:
        """Change a device's push address.

        Raises:
            DeviceInvalid: See `UseNonce`.
        """
        said = _parsed(statement, push.Update)
        owner, call = await self._call(caller, said, statement)
        with self._decider.under_way(owner):
            await self._decider.decide(owner, Update(call, said.push))

    async def remove(self, caller: Caller, statement: Signed) -> None:
        """Remove a device.

        Raises:
            DeviceInvalid: See `UseNonce`.
            InsufficientAuthentication: It is the user's last authenticator: removing that one takes a login.
        """
        owner, call = await self._call(caller, _parsed(statement, push.Remove), statement)
        with self._decider.under_way(owner):
            await self._decider.decide(owner, Remove(call))

    async def watch(self, caller: Caller, statement: Signed) -> AsyncGenerator[DeviceEvent, None]:
        """Yield a device's pending prompts, then every new and withdrawn one, for as long as the device is usable.

        Raises:
            DeviceInvalid: See `UseNonce`; later: the device was removed or disabled, or its user was blocked.
            TooManyRequests: Five streams of this device are open, or this process has its maximum number of streams.
            Unavailable: The database is unavailable.
        """
        owner, call = await self._call(caller, _parsed(statement, push.Watch), statement)
        with self._decider.under_way(owner):
            await self._decider.decide(owner, call)
        with self._watchers.watcher(call.device) as watcher:
            shown: dict[str, WaitingPrompt] | None = None
            while True:
                seen = await watcher.next()
                if seen is None:
                    raise DeviceInvalid
                waiting = {prompt.challenge_id: prompt for prompt in seen}
                if shown is None:
                    shown = {}
                    yield Listening(len(waiting))
                for challenge_id in shown.keys() - waiting.keys():
                    yield Withdrawn(challenge_id)
                for challenge_id, prompt in waiting.items():
                    if challenge_id not in shown:
                        yield prompt
                shown = waiting

    async def close(self) -> None:
        """Stop polling the database, and end every device's stream."""
        await self._watchers.close()

    async def _call(self, caller: Caller, said: push.Call, statement: Signed) -> tuple[Caller, UseNonce]:
        """Return a device's call as a decision; the signature is checked first, so no stranger's call is queued."""
        device = Device(said.user, said.device)
        await self._expect(device, said.issuer, statement)
        try:
            nonce = msgspec.msgpack.decode(self._sealer.open(NONCE, said.nonce), type=Nonce)
        except SealBroken:
            raise DeviceInvalid from None
        call = UseNonce(self._pairing, device, nonce, said.issuer, statement)
        return replace(caller, device=device), call

    async def _expect(self, device: Device, issuer: str, statement: Signed) -> None:
        pairing = self._pairing
        account = await self._records.read(queries.account, device.user_id)
        found = pairing.holder(account.authenticators if account is not None else (), device)
        if account is None or account.user.blocked or not pairing.signed_by(found, issuer, statement):
            raise DeviceInvalid


def _parsed(statement: Signed, kind: type[push.S]) -> push.S:
    try:
        return push.statement(statement, kind)
    except ValueError:
        raise DeviceInvalid from None
