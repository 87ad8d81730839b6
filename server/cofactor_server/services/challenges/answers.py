"""Answers challenges without redeeming them: the holder of the mfa_token redeems the answer later (ADR-46).

An answer activates a pending authenticator, advances the factor's credential, and stores the proven facts, sealed. A
challenge that is final or answered does not change, so that a caller who lost the reply may send the answer again.
"""

from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.kinds import WEBAUTHN
from cofactor_server.domain.authenticators.proofs import Code, Purpose, Signed
from cofactor_server.domain.callers import Caller, Device
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState, Standing
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.domain.foundation.values import Value, replace
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.requests import AnswerRequest
from cofactor_server.errors import (
    CofactorError,
    DeviceInvalid,
    InvalidBindingCode,
    InvalidClient,
    InvalidRequest,
    MfaTokenMalformed,
    NotFound,
    OobCodeMalformed,
)
from cofactor_server.seams import Clock
from cofactor_server.services.proofs.binding import activated, bound
from cofactor_server.services.proofs.credentials import Answer, Credentials
from cofactor_server.services.proofs.oob_codes import OobCodes
from cofactor_server.services.proofs.verification import Attempt, Candidate, Guessing, NotProven, Proven
from cofactor_server.services.transactions.audit import Trail
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.queries import Records
from cofactor_server.services.transactions.validity import login_refusal, user_refusal
from cofactor_server.store.repositories import queries
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


class Answering(Value, frozen=True):
    """Collaborators of a decision on an answer."""

    credentials: Credentials
    guessing: Guessing
    clock: Clock

    def settle(
        self,
        work: Work,
        challenge: Challenge,
        authenticator: Authenticator,
        verdict: Proven | NotProven,
        trail: Trail,
        now: int,
    ) -> Standing | None:
        """Store the challenge's new state and return its standing; None if the verdict neither proves nor denies.

        Args:
            work: The transaction; the caller holds the user's lock.
            challenge: The pending challenge.
            authenticator: The authenticator that it was for.
            verdict: The result of the verification.
            trail: Who answered, for the audit log.
            now: Microseconds since the Unix epoch.
        """
        match verdict:
            case Proven(facts=facts, show=show):
                answer = self.credentials.seal_answer(challenge, Answer(facts, show))
                answered = replace(challenge, state=ChallengeState.APPROVED, answered_at=now, answer=answer)
            case NotProven(denied=True):
                answered = replace(challenge, state=ChallengeState.DENIED, answered_at=now)
            case _:
                return None
        work.save_challenge(answered)
        approved = answered.state is ChallengeState.APPROVED
        name = EventName.CHALLENGE_APPROVED if approved else EventName.CHALLENGE_DENIED
        work.record(trail.event(name, now, authenticator.id))
        return answered.standing(now)


class AnswerWithCode(Value, frozen=True):
    """Decides an answer that the holder of the mfa_token typed; it counts for that login alone."""

    answering: Answering
    login: Login
    client: Client
    source: str
    challenge_id: str
    code: Code

    @property
    def needs(self) -> Needs:
        """The challenge, the user's authenticators, and whether the mfa_token is spent."""
        login = self.login
        return Needs(
            login.user_id,
            client_id=self.client.id,
            token_id=login.id,
            challenge_id=self.challenge_id,
            source=self.source,
        )

    def decide(self, work: Work) -> Standing | CofactorError:
        """Verify the code within the authenticator's guess budget (ADR-9)."""
        now, login = self.answering.clock.now(), self.login
        if refusal := login_refusal(work, login, self.client, now):
            return refusal
        trail = Trail(login.user_id, self.client.id, login.id, self.source)
        found = bound(work, login, self.challenge_id, now)
        if found is None or found[1].kind == WEBAUTHN:  # a security key signs, at redemption
            work.record(trail.event(EventName.CHALLENGE_MISBOUND, now))
            return OobCodeMalformed()
        challenge, authenticator = found
        if (standing := challenge.standing(now)) is not Standing.PENDING:
            return standing
        if self.answering.guessing.on_device(authenticator.kind):
            return InvalidBindingCode()  # there is no code to guess, so no failure is counted
        attempt = Attempt(self.code, trail, self.client.name, challenge.purpose, now, login.remembered)
        verdict = self.answering.guessing.attempt(work, attempt, [Candidate(authenticator, challenge)])
        if isinstance(verdict, CofactorError):
            return verdict
        if refusal := activated(work, verdict, trail, now):
            return refusal
        standing_now = self.answering.settle(work, challenge, authenticator, verdict, trail, now)
        return standing_now or InvalidBindingCode(quota=verdict.quota)


class AnswerOnDevice(Value, frozen=True):
    """Decides an answer that a device signed.

    The challenge was read before the lock, to know which rows to lock. The decision relies on nothing from that read.
    """

    answering: Answering
    device: Device
    source: str
    named: Challenge
    """The challenge as it was read before the lock: its client and login never change."""
    proof: Signed

    @property
    def needs(self) -> Needs:
        """The challenge, its authenticator, its client, and whether its login is spent."""
        named = self.named
        return Needs(self.device.user_id, client_id=named.client_id, token_id=named.login_id, challenge_id=named.id)

    def decide(self, work: Work) -> Standing | CofactorError:
        """Verify the signature with the device's own authenticator, if user, client and login are still valid."""
        now, device, named = self.answering.clock.now(), self.device, self.named
        challenge, client = work.challenge(device.user_id, named.id), work.client(named.client_id)
        if challenge is None or client is None or user_refusal(work.user(device.user_id), challenge.epoch):
            return NotFound()
        trail = Trail(device.user_id, challenge.client_id, challenge.login_id, self.source)
        authenticator = self._own(work, challenge, now)
        if authenticator is None:
            work.record(trail.event(EventName.CHALLENGE_MISBOUND, now, device.authenticator_id))
            return NotFound()
        standing = challenge.standing(now)
        if standing is not Standing.PENDING:
            return standing
        if work.is_spent(device.user_id, challenge.login_id):
            return Standing.EXPIRED
        attempt = Attempt(self.proof, trail, client.name, challenge.purpose, now)
        verdict = self.answering.guessing.judge(work, attempt, Candidate(authenticator, challenge))
        if isinstance(verdict, CofactorError):
            return verdict
        if refusal := activated(work, verdict, trail, now):
            return refusal
        return self.answering.settle(work, challenge, authenticator, verdict, trail, now) or DeviceInvalid()

    def _own(self, work: Work, challenge: Challenge, now: int) -> Authenticator | None:
        """Return the device's authenticator if the challenge is for it and it may answer; None otherwise."""
        if challenge.authenticator_id != self.device.authenticator_id:
            return None
        mine = work.authenticators(self.device.user_id)
        found = next((a for a in mine if a.id == challenge.authenticator_id), None)
        if found is None or challenge.state is not ChallengeState.PENDING:
            return found
        enrolling = challenge.purpose is Purpose.ENROLL
        fits = found.pending_for(challenge.login_id, now) if enrolling else found.usable()
        return found if fits else None


class Answers:
    """Answers challenges with codes and device signatures."""

    def __init__(self, *, answering: Answering, records: Records, decider: Decider, oob_codes: OobCodes) -> None:
        self._answering = answering
        self._records = records
        self._decider = decider
        self._oob_codes = oob_codes

    async def answer(self, caller: Caller, request: AnswerRequest) -> Standing:
        """Answer a challenge without redeeming it, and return its standing.

        Args:
            caller: The holder of the mfa_token with a code, or a device with a signature.
            request: The proof, and the challenge: by oob_code for the holder of the mfa_token, by id for a device.

        Raises:
            InvalidRequest: The proof is not of the type that this caller sends.
            OobCodeMalformed: The challenge does not belong to this login.
            NotFound: The challenge does not belong to this device.
            InvalidBindingCode: The code is wrong.
            DeviceInvalid: The signature does not answer this challenge.
            TooManyFailedCodes: The guess budget is empty.
            CofactorError: The login can't continue.
        """
        with self._decider.under_way(caller):
            if caller.device is not None:
                return await self._by_device(caller, caller.device, request)
            if caller.client is None:
                raise InvalidClient
            if caller.login is None:
                raise MfaTokenMalformed
            if not isinstance(request.proof, Code):
                raise InvalidRequest(violations=(("signed", "is for devices"),))
            challenge_id = self._oob_codes.open(request.oob_code)
            decision = AnswerWithCode(
                self._answering, caller.login, caller.client, caller.source, challenge_id, request.proof
            )
            return await self._decider.decide(caller, decision)

    async def _by_device(self, caller: Caller, device: Device, request: AnswerRequest) -> Standing:
        if not isinstance(request.proof, Signed):
            raise InvalidRequest(violations=(("code", "is not for devices"),))
        named = await self._records.read(queries.challenge, device.user_id, request.challenge_id)
        if named is None:
            raise NotFound
        decision = AnswerOnDevice(self._answering, device, caller.source, named, request.proof)
        return await self._decider.decide(caller, decision)
