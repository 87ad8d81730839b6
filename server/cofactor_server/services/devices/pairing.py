"""Pairs a device with the enrollment whose secret it read (ADR-17)."""

from collections.abc import Iterable
from dataclasses import dataclass

from cofactor_server.domain.authenticators.authenticator import Authenticator, State, id_of, new_suffix
from cofactor_server.domain.authenticators.kinds import PUSH, TOTP
from cofactor_server.domain.authenticators.proofs import Signed, Ticket
from cofactor_server.domain.authenticators.tickets import TICKET_LIFE
from cofactor_server.domain.callers import Device
from cofactor_server.domain.challenges.challenge import Challenge, Standing
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.users import User
from cofactor_server.domain.requests import Paired
from cofactor_server.errors import CofactorError, DeviceInvalid, PairingNotFound
from cofactor_server.factors import device_keys
from cofactor_server.factors.push import PushCredential, PushExpected
from cofactor_server.seams import Clock, Entropy, new_id
from cofactor_server.services.challenges.answers import Answering
from cofactor_server.services.proofs.binding import activated
from cofactor_server.services.proofs.verification import Attempt, Candidate, Proven
from cofactor_server.services.transactions.audit import Trail
from cofactor_server.services.transactions.validity import user_refusal
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


@dataclass(frozen=True, slots=True)
class Pairing:
    """The collaborators of every decision about devices."""

    deployment: Deployment
    answering: Answering
    clock: Clock
    entropy: Entropy

    def holder(self, mine: Iterable[Authenticator], device: Device) -> Authenticator | None:
        """Return a device's authenticator if it is usable; None otherwise."""
        return next((a for a in mine if a.id == device.authenticator_id and a.kind == PUSH and a.usable()), None)

    def credential(self, authenticator: Authenticator) -> PushCredential | None:
        """Return a device's stored credential; None before a device has paired, or if push is off."""
        credentials = self.answering.credentials
        factor = credentials.factor(PUSH)
        if factor is None:
            return None
        kept = factor.decode(credentials.open(authenticator))
        return kept if isinstance(kept, PushCredential) and kept.key else None

    def expected(self, challenge: Challenge) -> PushExpected:
        """Return the stored expectation of a prompt on a device.

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
        """Return a device's credential, encoded and sealed for storage.

        Raises:
            DeviceInvalid: Push is off.
        """
        credentials = self.answering.credentials
        factor = credentials.factor(PUSH)
        if factor is None:
            raise DeviceInvalid
        return credentials.seal(authenticator.user_id, authenticator.id, factor.encode(kept))

    def signed_by(self, authenticator: Authenticator | None, issuer: str, signed: Signed) -> bool:
        """Whether an authenticator's device signed a statement for this deployment."""
        kept = self.credential(authenticator) if authenticator is not None else None
        return (
            kept is not None
            and issuer == self.deployment.issuer
            and device_keys.signed_by(kept.key, signed.payload, signed.signature)
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """Decides a pairing: answers the enrollment's challenge, and adds one-time passwords to the device."""

    pairing: Pairing
    digest: str
    """The digest of the pairing secret; it identifies the authenticator until the secret is used."""
    named: Challenge
    """The enrollment's challenge, as read before the lock: its client and login never change."""
    statement: Signed | Ticket

    @property
    def needs(self) -> Needs:
        """The challenge, its authenticator, its client, and whether its login has ended."""
        named = self.named
        return Needs(named.user_id, client_id=named.client_id, token_id=named.login_id, challenge_id=named.id)

    def decide(self, work: Work) -> Paired | CofactorError:
        """Pair the device if its enrollment is still pending and the device proves possession of its key."""
        answering, now = self.pairing.answering, self.pairing.clock.now()
        named, user = self.named, work.user(self.named.user_id)
        challenge, client = work.challenge(named.user_id, named.id), work.client(named.client_id)
        if user is None or challenge is None or user_refusal(user, challenge.epoch):
            return PairingNotFound()
        if client is None and not challenge.by_ticket:
            return PairingNotFound()
        application = self.pairing.deployment.friendly_name if client is None else client.name
        authenticator = self._waiting(work, challenge, now)
        if authenticator is None or work.is_spent(user.id, challenge.login_id):
            return PairingNotFound()
        trail = Trail(user.id, challenge.client_id, challenge.login_id, "")
        attempt = Attempt(self.statement, trail, application, challenge.purpose, now)
        verdict = answering.guessing.judge(work, attempt, Candidate(authenticator, challenge))
        if not isinstance(verdict, Proven):
            return verdict if isinstance(verdict, CofactorError) else DeviceInvalid()
        proven, otp = self._with_twin(work, user, verdict, now)
        if refusal := activated(work, proven, trail, now):
            return refusal
        answering.settle(work, challenge, proven.authenticator, proven, trail, now)
        if challenge.by_ticket:  # no login redeems this challenge, so the ticket is used up here
            work.spend(user.id, challenge.login_id, now + TICKET_LIFE)
        account = self.pairing.deployment.account(user)
        return Paired(authenticator.id, user.id, account.issuer_label, account.label, otp)

    def _waiting(self, work: Work, challenge: Challenge, now: int) -> Authenticator | None:
        """Return the enrollment pending for this secret, read under the lock; None if it is no longer pending."""
        if challenge.standing(now) is not Standing.PENDING:
            return None
        mine = work.authenticators(challenge.user_id)
        found = next((a for a in mine if a.id == challenge.authenticator_id), None)
        if found is None or found.unique_ref != self.digest or not found.pending_for(challenge.login_id, now):
            return None
        # The token that began this enrollment is not presented here. It may have come from an authenticator that the
        # user has removed since.
        lost = not challenge.by_ticket and work.has_lost(challenge.user_id, found.created_at, challenge.login_id)
        return None if lost else found

    def _with_twin(self, work: Work, user: User, proven: Proven, now: int) -> tuple[Proven, dict[str, str]]:
        """Add the device's one-time passwords as a linked authenticator, if authenticator apps are on."""
        pairing = self.pairing
        credentials = pairing.answering.credentials
        factor = credentials.factor(TOTP)
        if factor is None:
            return proven, {}
        made = factor.enroll(pairing.deployment.account(user), "", {})
        paired = replace(proven.authenticator, link_id=new_id(pairing.entropy, ""))
        twin_id = id_of(TOTP, new_suffix(pairing.entropy))
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
