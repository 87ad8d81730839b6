"""Serves devices that run a Guardian app: they enroll by ticket and answer by transaction token (W13).

A token names its row and is valid only if its hash matches the one in that row. After that, the device's signature is
verified with the enrolled key (ADR-17). The calls themselves are decided as for every other device.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import msgspec

from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.kinds import PUSH
from cofactor_server.domain.authenticators.proofs import Signed, Ticket
from cofactor_server.domain.callers import Caller, Device
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState
from cofactor_server.domain.challenges.guardian import (
    DeviceAccount,
    DeviceAccountChange,
    EnrolledDevice,
    NewDeviceAccount,
    OtpTwin,
    PushTarget,
    RichConsent,
)
from cofactor_server.domain.foundation.values import replace
from cofactor_server.errors import (
    AuthenticatorNotFound,
    CofactorError,
    DeviceInvalid,
    FactorDisabled,
    InvalidRequest,
    NotFound,
    PairingNotFound,
    TransactionExpired,
    TransactionNotFound,
)
from cofactor_server.factors import guardian, push, rsa_keys
from cofactor_server.factors.guardian import Presented, Urls
from cofactor_server.factors.push import PushAddress, PushCredential
from cofactor_server.services.challenges.answers import AnswerOnDevice
from cofactor_server.services.devices.calls import give_up
from cofactor_server.services.devices.pairing import Pair, Pairing
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.queries import Records
from cofactor_server.services.transactions.validity import user_refusal
from cofactor_server.store.repositories import queries
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work
from cofactor_server.vault.digests import same

DPOP = "dpop-"
"""Prefix of the id under which a used DPoP proof is recorded."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """A pending prompt, read before the lock: its subject and its recipient never change."""

    challenge: Challenge
    account: Authenticator
    credential: PushCredential
    device: guardian.Device
    transaction: guardian.Transaction


@dataclass(frozen=True, slots=True)
class Resolve:
    """Decides a signed answer of a Guardian device. It is accepted once, unlike an answer over gRPC."""

    answer: AnswerOnDevice

    @property
    def needs(self) -> Needs:
        """What every answer reads."""
        return self.answer.needs

    def decide(self, work: Work) -> CofactorError | None:
        """Decide the answer while the prompt is pending."""
        challenge = work.challenge(self.answer.device.user_id, self.answer.named.id)
        if refusal := _over(challenge, self.answer.answering.clock.now()):
            return refusal
        standing = self.answer.decide(work)
        if isinstance(standing, NotFound):
            return TransactionNotFound()
        if isinstance(standing, CofactorError):
            return standing
        # Its login may have ended in another way: then the answer decided nothing.
        answered = work.challenge(self.answer.device.user_id, self.answer.named.id)
        return None if answered is not None and answered.answered_at is not None else TransactionNotFound()


@dataclass(frozen=True, slots=True)
class Change:
    """Decides a change of a device account's name, identifier or push address."""

    pairing: Pairing
    device: Device
    check: Callable[[PushCredential, int], None]
    """Raises DeviceInvalid if the call is not the device's."""
    change: DeviceAccountChange

    @property
    def needs(self) -> Needs:
        """The user's authenticators."""
        return Needs(self.device.user_id)

    def decide(self, work: Work) -> DeviceAccount | CofactorError:
        """Store the changed fields."""
        found = _own(work, self.pairing, self.device, self.check)
        if isinstance(found, CofactorError):
            return found
        held, kept, device = found
        change = self.change
        if change.identifier is not None:
            device = msgspec.structs.replace(device, identifier=change.identifier)
        address = kept.push if change.push is None else _address(change.push)
        moved = msgspec.structs.replace(kept, push=address, account=device)
        credential = self.pairing.sealed(held, moved)
        renamed = replace(held, credential=credential, name=held.name if change.name is None else change.name)
        work.save_authenticator(renamed)
        return _account(renamed, moved, device)


@dataclass(frozen=True, slots=True)
class Remove:
    """Decides the removal of a device, with its one-time passwords."""

    pairing: Pairing
    device: Device
    check: Callable[[PushCredential, int], None]

    @property
    def needs(self) -> Needs:
        """The user's authenticators."""
        return Needs(self.device.user_id)

    def decide(self, work: Work) -> CofactorError | None:
        """Remove the device, unless the user would then have no second factor."""
        found = _own(work, self.pairing, self.device, self.check)
        return found if isinstance(found, CofactorError) else give_up(work, found[0], self.pairing.clock.now())


@dataclass(frozen=True, slots=True)
class UseProof:
    """Decides whether a DPoP proof is new, and marks it as used (replay protection)."""

    pairing: Pairing
    prompted: Prompted
    proof: Presented

    @property
    def needs(self) -> Needs:
        """The prompt, and whether the proof has been used."""
        challenge = self.prompted.challenge
        return Needs(challenge.user_id, challenge_id=challenge.id, token_id=self._name)

    @property
    def _name(self) -> str:
        return DPOP + self.proof.jti_sha256.hex()

    def decide(self, work: Work) -> Challenge | CofactorError:
        """Return the prompt while it is pending."""
        named = self.prompted.challenge
        user, challenge = work.user(named.user_id), work.challenge(named.user_id, named.id)
        if challenge is None or user_refusal(user, named.epoch):
            return TransactionNotFound()
        held = (a for a in work.authenticators(named.user_id) if a.id == named.authenticator_id and a.usable())
        if refusal := _over(challenge, self.pairing.clock.now()):
            return refusal
        if next(held, None) is None or work.is_spent(named.user_id, self._name):
            return DeviceInvalid()
        work.spend(named.user_id, self._name, self.proof.until)
        return challenge


class DeviceAccounts:
    """Enrolls Guardian devices, takes their answers, and serves calls about the device account itself."""

    def __init__(self, *, pairing: Pairing, records: Records, decider: Decider) -> None:
        deployment = pairing.deployment
        self._pairing = pairing
        self._records = records
        self._decider = decider
        self._deployment = deployment
        self._urls = Urls(deployment.issuer, deployment.guardian_url)

    async def enroll(self, caller: Caller, new: NewDeviceAccount) -> EnrolledDevice:
        """Enroll a device with the ticket that it read, once.

        Raises:
            FactorDisabled: The strict profile accepts no device that only approves or denies.
            InvalidRequest: The key's type or size is not accepted.
            PairingNotFound: No enrollment is pending for this ticket.
            AuthenticatorRegistered: The key belongs to another device.
            TooManyAuthenticators: The user has the maximum number of authenticators.
        """
        if self._deployment.strict:
            raise FactorDisabled
        key = _key(new)
        digest = push.secret_digest(new.ticket).hex()
        found = await self._records.read(queries.pairing, digest)
        if found is None:
            raise PairingNotFound
        enrolling, challenge = found
        token, token_sha256 = guardian.issue(
            self._pairing.entropy, enrolling.user_id, guardian.account_id(enrolling.id)
        )
        ticket = Ticket(
            secret=new.ticket,
            identifier=new.identifier,
            name=new.name,
            key=key,
            push_service=new.push.service,
            push_token=new.push.token,
            token_sha256=token_sha256,
        )
        owner = replace(caller, device=Device(enrolling.user_id, enrolling.id))
        with self._decider.under_way(owner):
            paired = await self._decider.decide(owner, Pair(self._pairing, digest, challenge, ticket))
        return EnrolledDevice(
            id=guardian.account_id(paired.device_id),
            url=self._deployment.guardian_url or self._deployment.issuer,
            issuer_label=paired.issuer_label,
            user_id=paired.user_id,
            token=token,
            totp=_twin(paired.otp["barcode_uri"]) if paired.otp else None,
        )

    async def resolve(self, caller: Caller, token: str, answer: str) -> None:
        """Approve or deny the prompt that a transaction token is for, once.

        Raises:
            TransactionNotFound: No prompt is pending for this token: it is unknown, answered or replaced.
            TransactionExpired: The prompt has expired.
            DeviceInvalid: The answer is not the device's, or not for this prompt.
        """
        prompted = await self._prompted(token)
        device = Device(prompted.account.user_id, prompted.account.id)
        signed = Signed(answer.encode(), b"")
        decision = AnswerOnDevice(self._pairing.answering, device, caller.source, prompted.challenge, signed)
        owner = replace(caller, device=device)
        with self._decider.under_way(owner):
            await self._decider.decide(owner, Resolve(decision))

    async def update(self, caller: Caller, token: str, change: DeviceAccountChange) -> DeviceAccount:
        """Change a device account, and return it.

        Raises:
            AuthenticatorNotFound: There is no such device account, or the token belongs to another one.
            DeviceInvalid: The token is not the device's.
        """
        device, check = await self._calling(token, change.id)
        owner = replace(caller, device=device)
        with self._decider.under_way(owner):
            return await self._decider.decide(owner, Change(self._pairing, device, check, change))

    async def remove(self, caller: Caller, token: str, account_id: str) -> None:
        """Remove a device account.

        Raises:
            AuthenticatorNotFound: There is no such device account, or the token belongs to another one.
            DeviceInvalid: The token is not the device's.
            InsufficientAuthentication: It is the user's last authenticator: removing that one takes a login.
        """
        device, check = await self._calling(token, account_id)
        owner = replace(caller, device=device)
        with self._decider.under_way(owner):
            await self._decider.decide(owner, Remove(self._pairing, device, check))

    async def consent(self, caller: Caller, consent_id: str, token: str, proof: str) -> RichConsent:
        """Return the details of the login that a prompt is about.

        Raises:
            TransactionNotFound: No prompt is pending for this token, or the consent id is not the token's.
            TransactionExpired: The prompt has expired.
            DeviceInvalid: The proof is not the device's, not for this request, or was used before.
        """
        prompted = await self._prompted(token)
        if consent_id != prompted.challenge.id:
            raise TransactionNotFound
        try:
            shown = guardian.presented(
                proof.encode(),
                prompted.credential.key,
                urls=self._urls.consent(consent_id),
                token=token,
                now=self._pairing.clock.now(),
            )
        except ValueError:
            raise DeviceInvalid from None
        owner = replace(caller, device=Device(prompted.account.user_id, prompted.account.id))
        with self._decider.under_way(owner):
            challenge = await self._decider.decide(owner, UseProof(self._pairing, prompted, shown))
        transaction = prompted.transaction
        return RichConsent(
            id=consent_id,
            audience=transaction.audience,
            scopes=tuple(transaction.scope.split()),
            binding_message=transaction.details.get(guardian.BINDING_MESSAGE, ""),
            authorization_details=guardian.authorization_details(transaction),
            created_at=challenge.created_at,
            expires_at=challenge.expires_at,
        )

    async def _prompted(self, token: str) -> Prompted:
        """Return the pending prompt that a transaction token was issued for; other tokens are refused here."""
        try:
            user_id, challenge_id = guardian.route(token)
        except ValueError:
            raise TransactionNotFound from None
        challenge = await self._records.read(queries.challenge, user_id, challenge_id)
        if challenge is None:
            raise TransactionNotFound
        account = await self._records.read(queries.account, user_id, challenge.login_id)
        if account is None or account.spent or user_refusal(account.user, challenge.epoch):
            raise TransactionNotFound
        held = next((a for a in account.authenticators if a.id == challenge.authenticator_id and a.usable()), None)
        kept = self._pairing.credential(held) if held is not None and held.kind == PUSH else None
        if held is None or kept is None or kept.account is None:
            raise TransactionNotFound
        transaction = self._pairing.expected(challenge).transaction
        if transaction is None or not same(transaction.token_sha256, guardian.digest(token)):
            raise TransactionNotFound
        if refusal := _over(challenge, self._pairing.clock.now()):
            raise refusal
        return Prompted(challenge, held, kept, kept.account, transaction)

    async def _calling(self, token: str, account_id: str) -> tuple[Device, Callable[[PushCredential, int], None]]:
        """Return the calling device, and the check to repeat under the lock; the check also runs here."""
        try:
            named, user_id, check = self._claimed(token)
        except ValueError:
            raise DeviceInvalid from None
        if named != account_id:
            raise AuthenticatorNotFound
        device = Device(user_id, f"{PUSH}|{account_id}")
        account = await self._records.read(queries.account, user_id)
        mine = account.authenticators if account is not None else ()
        held = self._pairing.holder(mine, device)
        kept = self._pairing.credential(held) if held is not None else None
        if account is None or kept is None or kept.account is None:
            raise AuthenticatorNotFound
        check(kept, self._pairing.clock.now())
        if account.user.blocked:
            raise DeviceInvalid
        return device, check

    def _claimed(self, token: str) -> tuple[str, str, Callable[[PushCredential, int], None]]:
        """Return the device account and the user that a token names, and the check that verifies the token.

        Raises:
            ValueError: The token is neither an issued token nor a JWT.
        """
        if "." not in token:
            user_id, account_id = guardian.route(token)

            def issued(kept: PushCredential, _now: int) -> None:
                expected = kept.account.token_sha256 if kept.account is not None else b""
                if not same(expected, guardian.digest(token)):
                    raise DeviceInvalid

            return account_id, user_id, issued
        statement = token.encode()
        account_id, user_id = guardian.caller(statement)

        def signed(kept: PushCredential, now: int) -> None:
            try:
                guardian.check_call(
                    statement, kept.key, urls=self._urls.accounts, account=account_id, user=user_id, now=now
                )
            except ValueError:
                raise DeviceInvalid from None

        return account_id, user_id, signed


def _key(new: NewDeviceAccount) -> bytes:
    try:
        return rsa_keys.to_der(new.n, new.e)
    except ValueError:
        problem = "is no RSA key of 2048 to 4096 bits with the exponent 65537"
        raise InvalidRequest(violations=(("public_key", problem),)) from None


def _over(challenge: Challenge | None, now: int) -> CofactorError | None:
    """Return why a prompt is no longer pending; None while it is."""
    if challenge is None or challenge.state is not ChallengeState.PENDING:
        return TransactionNotFound()
    return TransactionExpired() if now >= challenge.expires_at else None


def _own(
    work: Work, pairing: Pairing, device: Device, check: Callable[[PushCredential, int], None]
) -> tuple[Authenticator, PushCredential, guardian.Device] | CofactorError:
    """Return the device's authenticator and stored credential, read under the lock, if that device is the caller."""
    now = pairing.clock.now()
    user = work.user(device.user_id)
    held = pairing.holder(work.authenticators(device.user_id), device)
    kept = pairing.credential(held) if held is not None else None
    if user is None or held is None or kept is None or kept.account is None:
        return AuthenticatorNotFound()
    try:
        check(kept, now)
    except DeviceInvalid as refusal:
        return refusal
    return DeviceInvalid() if user.blocked else (held, kept, kept.account)


def _account(held: Authenticator, kept: PushCredential, device: guardian.Device) -> DeviceAccount:
    target = None if kept.push is None else PushTarget(kept.push.service, kept.push.token)
    return DeviceAccount(guardian.account_id(held.id), device.identifier, held.name, target)


def _address(target: PushTarget) -> PushAddress:
    return PushAddress(target.service, target.token)


def _twin(barcode_uri: str) -> OtpTwin:
    """Return the parameters of the one-time passwords that an authenticator app would read from the barcode."""
    said = {name: values[0] for name, values in parse_qs(urlsplit(barcode_uri).query).items()}
    return OtpTwin(said["secret"], said["algorithm"], int(said["digits"]), int(said["period"]))
