"""Confirms an enrollment by ticket: the first right answer activates it and uses up the ticket (ADR-3)."""

from cofactor_server.domain.authenticators.authenticator import Authenticator, enrolled
from cofactor_server.domain.authenticators.kinds import OTP_KINDS, RECOVERY_CODE, WEBAUTHN
from cofactor_server.domain.authenticators.proofs import Code, PublicKeyCredential, Purpose
from cofactor_server.domain.authenticators.tickets import Confirmed, EnrollmentTicket, Waiting
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState, Standing
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.domain.foundation.values import Value, replace
from cofactor_server.domain.requests import EnrollmentRequest
from cofactor_server.errors import (
    AlreadyEnrolled,
    ChallengeDenied,
    CofactorError,
    EnrollmentGone,
    FactorDisabled,
    InvalidBindingCode,
    InvalidOtp,
    InvalidPublicKeyCredential,
    MissingParameter,
    TicketInvalid,
)
from cofactor_server.services.authenticators.enrollment import Enrolling
from cofactor_server.services.authenticators.recovery_codes import made_valid
from cofactor_server.services.challenges.polling import count_poll
from cofactor_server.services.proofs.binding import activate
from cofactor_server.services.proofs.verification import Attempt, Candidate, Guessing, NotProven, Proven
from cofactor_server.services.transactions.audit import Trail
from cofactor_server.services.transactions.validity import ticket_refusal, user_refusal
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


class Begun(Value, frozen=True):
    """Identifies an enrollment: its authenticator and, if the factor issued one, its challenge."""

    authenticator_id: str
    challenge_id: str = ""


class Confirm(Value, frozen=True):
    """Decides an answer to an enrollment by ticket."""

    enrolling: Enrolling
    guessing: Guessing
    ticket: EnrollmentTicket
    source: str
    begun: Begun
    proof: Code | PublicKeyCredential | None

    @property
    def needs(self) -> Needs:
        """The challenge, the user's authenticators, and whether the ticket has been used."""
        ticket = self.ticket
        return Needs(ticket.user_id, token_id=ticket.id, challenge_id=self.begun.challenge_id, source=self.source)

    def decide(self, work: Work) -> Confirmed | Waiting | CofactorError:
        """Verify the answer while the ticket is valid.

        A device may have answered already; its pairing used up the ticket, so an approved challenge is collected first.
        """
        now, ticket = self.enrolling.clock.now(), self.ticket
        mine = work.authenticators(ticket.user_id)
        challenge = self._challenge(work)
        found = next((a for a in mine if a.id == self.begun.authenticator_id), None)
        if found is not None and challenge is not None and challenge.standing(now) is Standing.APPROVED:
            return self._collected(work, challenge, found, now)
        if refusal := ticket_refusal(work, ticket, now):
            return refusal
        if enrolled(mine) and not ticket.several:
            return AlreadyEnrolled()
        if found is None or not self._waits(found, challenge, now):
            work.record(self._trail.event(EventName.CHALLENGE_MISBOUND, now))
            return EnrollmentGone()
        if not self.guessing.serves(found.kind):
            return FactorDisabled()
        if challenge is not None and self.guessing.on_device(found.kind):
            polled = count_poll(work, challenge, now)
            return polled if isinstance(polled, CofactorError) else Waiting(polled.poll_interval)
        return self._answered(work, found, challenge, now)

    @property
    def _trail(self) -> Trail:
        return Trail(self.ticket.user_id, "", self.ticket.id, self.source)

    def _challenge(self, work: Work) -> Challenge | None:
        """Return the challenge if it is bound to this ticket, epoch, purpose and authenticator (ADR-2)."""
        challenge = work.challenge(self.ticket.user_id, self.begun.challenge_id)
        if challenge is None or not challenge.by_ticket:
            return None
        bound = (challenge.login_id, challenge.epoch, challenge.purpose, challenge.authenticator_id)
        ours = (self.ticket.id, self.ticket.epoch, Purpose.ENROLL, self.begun.authenticator_id)
        return challenge if bound == ours else None

    def _waits(self, found: Authenticator, challenge: Challenge | None, now: int) -> bool:
        asked = challenge is not None and challenge.standing(now) is Standing.PENDING
        return found.pending_for(self.ticket.id, now) and (asked or not self.begun.challenge_id)

    def _answered(
        self, work: Work, found: Authenticator, challenge: Challenge | None, now: int
    ) -> Confirmed | CofactorError:
        signs = found.kind == WEBAUTHN
        if self.proof is None or isinstance(self.proof, PublicKeyCredential) is not signs:
            return MissingParameter(parameter="credential_json" if signs else "code")
        label = self.enrolling.deployment.friendly_name
        attempt = Attempt(self.proof, self._trail, label, Purpose.ENROLL, now)
        candidate = Candidate(found, challenge)
        if signs:
            verdict = self.guessing.judge(work, attempt, candidate)
        else:
            verdict = self.guessing.attempt(work, attempt, [candidate])
        if isinstance(verdict, Proven):
            return self._confirmed(work, verdict, challenge, now)
        if not isinstance(verdict, NotProven):
            return verdict
        if challenge is not None and (signs or verdict.denied):  # a security key has one attempt (S160)
            state = ChallengeState.DENIED if verdict.denied else ChallengeState.SUPERSEDED
            work.save_challenge(replace(challenge, state=state, answered_at=now))
        return _wrong(found, verdict)

    def _confirmed(
        self, work: Work, proven: Proven, challenge: Challenge | None, now: int
    ) -> Confirmed | CofactorError:
        if refusal := activate(work, proven.authenticator, self._trail, now):
            return refusal
        if challenge is not None:
            work.save_challenge(replace(challenge, state=ChallengeState.REDEEMED, answered_at=now))
        work.spend(self.ticket.user_id, self.ticket.id, self.ticket.expires_at)
        return self._told(work, now)

    def _collected(self, work: Work, challenge: Challenge, found: Authenticator, now: int) -> Confirmed | CofactorError:
        """Return a device's confirmation, once; the device's pairing has used up the ticket."""
        if user_refusal(work.user(self.ticket.user_id), self.ticket.epoch) or not found.usable():
            return TicketInvalid()
        work.save_challenge(replace(challenge, state=ChallengeState.REDEEMED, answer=b""))
        return self._told(work, now)

    def _told(self, work: Work, now: int) -> Confirmed:
        """Return the confirmed authenticator, with a new recovery code if the user has none."""
        factor = self.enrolling.credentials.factor(RECOVERY_CODE)
        mine = work.authenticators(self.ticket.user_id)
        confirmed = next(a for a in mine if a.id == self.begun.authenticator_id)
        if factor is None or any(a.kind == RECOVERY_CODE and a.usable() for a in mine):
            return Confirmed(confirmed)
        made = made_valid(self.enrolling, work, factor, self.ticket.user_id, now, EnrollmentRequest(RECOVERY_CODE))
        return Confirmed(confirmed, made.codes)


def _wrong(found: Authenticator, verdict: NotProven) -> CofactorError:
    if verdict.denied:
        return ChallengeDenied()
    hint, quota = verdict.hint, verdict.quota
    if found.kind == WEBAUTHN:
        return InvalidPublicKeyCredential(hint=hint) if hint else InvalidPublicKeyCredential()
    if found.kind in OTP_KINDS:
        return InvalidOtp(hint=hint, quota=quota) if hint else InvalidOtp(quota=quota)
    return InvalidBindingCode(quota=quota)
