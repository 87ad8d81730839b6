"""Devices: one pairs with the secret of an enrollment, and from then on signs what it asks (security.md 17, 20)."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import msgspec

from cofactor_server.domain.authenticators import Authenticator, State, enrolled
from cofactor_server.domain.callers import Caller, Device
from cofactor_server.domain.challenges import Challenge, Standing
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.events import Event, EventName, Notice, NoticeName
from cofactor_server.domain.factor_kinds import PUSH, TOTP
from cofactor_server.domain.prompts import DeviceEvent, Listening, WaitingPrompt, Withdrawn
from cofactor_server.domain.proofs import Account, Signed, Ticket
from cofactor_server.domain.requests import Paired
from cofactor_server.domain.users import User
from cofactor_server.errors import CofactorError, DeviceInvalid, InsufficientAuthentication, PairingNotFound
from cofactor_server.factors import device_keys, push
from cofactor_server.factors.push import PushCredential, PushExpected
from cofactor_server.factors.registry import Registered
from cofactor_server.seams import ALPHANUMERIC, MINUTE, Clock, Entropy, new_id
from cofactor_server.services.answering import Answering, activated
from cofactor_server.services.credentials import Credentials, linked, remove
from cofactor_server.services.deciding import Decider
from cofactor_server.services.guessing import Candidate, Proven
from cofactor_server.services.records import Records
from cofactor_server.services.standing import user_refusal
from cofactor_server.services.trails import Trail
from cofactor_server.services.watchers import Watchers
from cofactor_server.store import prompts, queries
from cofactor_server.store.signals import Signals
from cofactor_server.store.statements import Statements
from cofactor_server.store.work import Needs, Work
from cofactor_server.vault.keyring import SealBroken
from cofactor_server.vault.tokens import TokenSealer

Seen: TypeAlias = tuple[WaitingPrompt, ...] | None

NONCE_LIFE = MINUTE
NONCE = "device_nonce"


class Nonce(msgspec.Struct, frozen=True, array_like=True):
    """What a nonce carries, sealed: nothing is stored until one is used."""

    id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Pairing:
    """What deciding about devices takes."""

    deployment: Deployment
    answering: Answering
    clock: Clock
    entropy: Entropy

    def holder(self, mine: Iterable[Authenticator], device: Device) -> Authenticator | None:
        """Return a device's authenticator while it may be used; None otherwise."""
        return next((a for a in mine if a.id == device.authenticator_id and a.kind == PUSH and a.usable()), None)

    def credential(self, authenticator: Authenticator) -> PushCredential | None:
        """Return what is kept of a device; None while nothing has paired, or where push is off."""
        credentials = self.answering.credentials
        factor = credentials.factor(PUSH)
        if factor is None:
            return None
        kept = factor.decode(credentials.open(authenticator))
        return kept if isinstance(kept, PushCredential) and kept.key else None

    def expected(self, challenge: Challenge) -> PushExpected:
        """Return what is kept of a prompt on a device.

        Raises:
            DeviceInvalid: Push is off.
        """
        credentials = self.answering.credentials
        factor = credentials.factor(PUSH)
        kept = factor.expectation(credentials.open_expected(challenge)) if factor is not None else None
        if not isinstance(kept, PushExpected):
            raise DeviceInvalid
        return kept

    def sealed(self, authenticator: Authenticator, kept: PushCredential) -> bytes:
        """Return what is kept of a device, as it is stored.

        Raises:
            DeviceInvalid: Push is off.
        """
        credentials = self.answering.credentials
        factor = credentials.factor(PUSH)
        if factor is None:
            raise DeviceInvalid
        return credentials.seal(authenticator.user_id, authenticator.id, factor.encode(kept))

    def signed_by(self, authenticator: Authenticator | None, issuer: str, signed: Signed) -> bool:
        """Whether a statement is one for this deployment that the device of an authenticator signed."""
        kept = self.credential(authenticator) if authenticator is not None else None
        return (
            kept is not None
            and issuer == self.deployment.issuer
            and device_keys.signed_by(kept.key, signed.payload, signed.signature)
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """Decides a pairing: the enrollment's challenge is answered, and the device gets one-time passwords besides."""

    pairing: Pairing
    digest: str
    """Of the pairing secret; the authenticator is known by it until it is used."""
    named: Challenge
    """The enrollment's, as it was read before the lock: its client and login never change."""
    statement: Signed | Ticket

    @property
    def needs(self) -> Needs:
        """The challenge, its authenticator, its client, and whether its login is over."""
        named = self.named
        return Needs(named.user_id, client_id=named.client_id, token_id=named.login_id, challenge_id=named.id)

    def decide(self, work: Work) -> Paired | CofactorError:
        """Pair the device if its enrollment still waits, and if it proves to hold the key it brings."""
        answering, now = self.pairing.answering, self.pairing.clock.now()
        named, user = self.named, work.user(self.named.user_id)
        challenge, client = work.challenge(named.user_id, named.id), work.client(named.client_id)
        if user is None or challenge is None or client is None or user_refusal(user, challenge.epoch):
            return PairingNotFound()
        authenticator = self._waiting(work, challenge, now)
        if authenticator is None or work.is_spent(user.id, challenge.login_id):
            return PairingNotFound()
        attempt = answering.attempt(challenge, client, self.statement, "", now)
        verdict = answering.guessing.judge(work, attempt, Candidate(authenticator, challenge))
        if not isinstance(verdict, Proven):
            return verdict if isinstance(verdict, CofactorError) else DeviceInvalid()
        proven, otp = self._with_twin(work, user, verdict, now)
        trail = Trail(user.id, challenge.client_id, challenge.login_id, "")
        if refusal := activated(work, proven, trail, now):
            return refusal
        answering.settle(work, challenge, proven.authenticator, proven, trail, now)
        account = self._account(user)
        return Paired(authenticator.id, user.id, account.issuer_label, account.label, otp)

    def _waiting(self, work: Work, challenge: Challenge, now: int) -> Authenticator | None:
        """Return the enrollment that waits for this secret, under the lock; None if it does no more."""
        if challenge.standing(now) is not Standing.PENDING:
            return None
        mine = work.authenticators(challenge.user_id)
        found = next((a for a in mine if a.id == challenge.authenticator_id), None)
        if found is None or found.unique_ref != self.digest or not found.pending_for(challenge.login_id, now):
            return None
        return found

    def _with_twin(self, work: Work, user: User, proven: Proven, now: int) -> tuple[Proven, dict[str, str]]:
        """Add the one-time passwords of the device, linked to it, where authenticator apps are on."""
        pairing = self.pairing
        credentials = pairing.answering.credentials
        factor = credentials.factor(TOTP)
        if factor is None:
            return proven, {}
        made = factor.enroll(self._account(user), "", {})
        paired = replace(proven.authenticator, link_id=new_id(pairing.entropy, ""))
        twin_id = f"{TOTP}|dev_{pairing.entropy.choose(ALPHANUMERIC, 16)}"
        twin = Authenticator(
            user_id=user.id,
            id=twin_id,
            kind=TOTP,
            state=State.PENDING,
            created_at=now,
            credential=credentials.seal(user.id, twin_id, made.credential),
            login_id=paired.login_id,
            link_id=paired.link_id,
            guard=paired.guard,
        )
        work.save_authenticator(paired)
        work.save_authenticator(twin)
        return replace(proven, authenticator=paired), dict(made.show)

    def _account(self, user: User) -> Account:
        deployment = self.pairing.deployment
        return Account(user.id, user.label or user.subject, deployment.friendly_name, deployment.issuer)


@dataclass(frozen=True, slots=True)
class UseNonce:
    """Decides whether a device's signed call is good, and that it is so once."""

    pairing: Pairing
    device: Device
    nonce: Nonce
    issuer: str
    statement: Signed

    @property
    def needs(self) -> Needs:
        """The user's authenticators, and whether the nonce is used."""
        return Needs(self.device.user_id, token_id=self.nonce.id)

    def decide(self, work: Work) -> Authenticator | CofactorError:
        """Use the nonce up, and return the device's authenticator."""
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
    """Decides where a device is reached from now on."""

    call: UseNonce
    address: push.PushAddress | None

    @property
    def needs(self) -> Needs:
        """What the call reads."""
        return self.call.needs

    def decide(self, work: Work) -> CofactorError | None:
        """Keep the new address."""
        found = self.call.decide(work)
        if isinstance(found, CofactorError):
            return found
        pairing = self.call.pairing
        credentials, kept = pairing.answering.credentials, pairing.credential(found)
        factor = credentials.factor(PUSH)
        if factor is None or kept is None:
            return DeviceInvalid()
        moved = factor.encode(msgspec.structs.replace(kept, push=self.address))
        work.save_authenticator(replace(found, credential=credentials.seal(found.user_id, found.id, moved)))
        return None


@dataclass(frozen=True, slots=True)
class Remove:
    """Decides that a device is given up, with its one-time passwords."""

    call: UseNonce

    @property
    def needs(self) -> Needs:
        """What the call reads."""
        return self.call.needs

    def decide(self, work: Work) -> CofactorError | None:
        """Remove it, unless the user would then be without a second factor.

        Who finds a device unlocked could else open the way for whoever knows the password to enroll another one.
        """
        found = self.call.decide(work)
        if isinstance(found, CofactorError):
            return found
        return give_up(work, found, self.call.pairing.clock.now())


def give_up(work: Work, device: Authenticator, now: int) -> CofactorError | None:
    """Remove a device on its own authority, with its one-time passwords, and return why it can't be; None if it was."""
    gone = linked(work, device)
    names = {a.id for a in gone}
    if not enrolled(a for a in work.authenticators(device.user_id) if a.id not in names):
        return InsufficientAuthentication()
    for each in gone:
        remove(work, each, now)
    work.record(Event(device.user_id, EventName.AUTHENTICATOR_REMOVED, now, authenticator_id=device.id))
    work.notify(Notice(device.user_id, NoticeName.AUTHENTICATOR_REMOVED, now, device.id))
    return None


class DeviceView:
    """What devices that listen look at: the prompts that wait, or None for a device that is nobody's any more."""

    def __init__(self, records: Records, statements: Statements, credentials: Credentials, clock: Clock) -> None:
        self._records = records
        self._statements = statements
        self._credentials = credentials
        self._clock = clock
        self._prompted: set[Device] = set()

    def user_of(self, key: Device) -> str:
        """Return the id of the device's user."""
        return key.user_id

    def due(self, key: Device, value: Seen) -> int | None:  # noqa: ARG002 - it takes what a View takes
        """Return when the next prompt expires; None where none waits."""
        return min((prompt.expires_at for prompt in value or ()), default=None)

    async def look(self, keys: Sequence[Device]) -> Mapping[Device, Seen]:
        """Read what waits for devices; see `View.look`."""
        names = {(key.user_id, key.authenticator_id): key for key in keys}
        found = await self._records.read(prompts.waiting, self._statements, names.keys())
        seen = {names[name]: self._seen(waiting) for name, waiting in found.items()}
        for key, value in seen.items():
            (self._prompted.add if value else self._prompted.discard)(key)
        return seen

    async def suspects(self, keys: Sequence[Device]) -> Iterable[Device]:
        """Return those that had or have something to answer, or are not usable any more; see `View.suspects`."""
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


class Devices:
    """Pairs devices, tells whether it is one of them that calls, and does what they ask for themselves."""

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
            caller: Nobody in particular: who has the secret may pair.
            secret: As the enrollment's QR code carries it.
            statement: Signed with the key it brings.

        Raises:
            PairingNotFound: No enrollment waits for this secret.
            DeviceInvalid: The statement is not one, or not signed with its own key.
            AuthenticatorRegistered: The key is another device's.
            TooManyAuthenticators: The user holds as many as allowed.
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
        """Return a nonce for one signed call, and when it expires."""
        pairing = self._pairing
        made = Nonce(new_id(pairing.entropy, "nonce-"), pairing.clock.now() + NONCE_LIFE)
        return self._sealer.seal(NONCE, msgspec.msgpack.encode(made)), made.expires_at

    async def known(self, caller: Caller, statement: Signed) -> Caller:
        """Return a device that answers a challenge, as the caller that it is.

        What it answers is for `services.answering` to judge; a stranger gets no further than this, and counts nothing.

        Raises:
            DeviceInvalid: The statement is not an answer that one of our devices signed.
        """
        said = _parsed(statement, push.Answer)
        device = Device(said.user, said.device)
        await self._expect(device, said.issuer, statement)
        return replace(caller, device=device)

    async def update(self, caller: Caller, statement: Signed) -> None:
        """Change where a device is reached.

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
            InsufficientAuthentication: It is the last one of its user: removing that takes a login.
        """
        owner, call = await self._call(caller, _parsed(statement, push.Remove), statement)
        with self._decider.under_way(owner):
            await self._decider.decide(owner, Remove(call))

    async def watch(self, caller: Caller, statement: Signed) -> AsyncGenerator[DeviceEvent, None]:
        """Yield the prompts that wait for a device, now and as they come and go, for as long as it is the user's.

        Raises:
            DeviceInvalid: See `UseNonce`; later, that the device was removed, disabled, or its user blocked.
            TooManyRequests: Five streams of this device are open, or as many as may be in this process.
            Unavailable: The database is away.
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
        """Stop looking; no device watches any more."""
        await self._watchers.close()

    async def _call(self, caller: Caller, said: push.Call, statement: Signed) -> tuple[Caller, UseNonce]:
        """Return a device's call as something to decide; before, nothing that a stranger sends is queued."""
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
