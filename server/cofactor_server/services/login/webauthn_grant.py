"""Decides the mfa-webauthn grant: a security key or passkey that answered a challenge of this login."""

from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.kinds import WEBAUTHN
from cofactor_server.domain.authenticators.proofs import PublicKeyCredential, Purpose
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState, Standing
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.domain.foundation.values import Secret, Value, replace
from cofactor_server.domain.logins.grants import Chained, Issue
from cofactor_server.errors import CofactorError, InvalidPublicKeyCredential, OobCodeExpired, OobCodeMalformed
from cofactor_server.services.login.redemption import Redeemer, Request
from cofactor_server.services.proofs.binding import bound
from cofactor_server.services.proofs.verification import Candidate, NotProven, Proven
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


class RedeemWebAuthn(Value, frozen=True):
    """Decides the mfa-webauthn grant: logs in with a registered credential, or registers one."""

    redeemer: Redeemer
    request: Request
    challenge_id: str
    credential: Secret[PublicKeyCredential]

    @property
    def needs(self) -> Needs:
        """The challenge, the user's authenticators and whether the mfa_token is spent."""
        return self.request.needs(challenge_id=self.challenge_id)

    def decide(self, work: Work) -> Issue | Chained | CofactorError:
        """Redeem the challenge, if it is bound to this login and its authenticator is still valid (ADR-2).

        A challenge accepts one answer, right or wrong (S160).
        """
        now = self.redeemer.clock.now()
        request, login = self.request, self.request.login
        if (settled := self.redeemer.settled(work, request, now)) is not None:
            return settled
        found = bound(work, login, self.challenge_id, now)
        if found is None or found[1].kind != WEBAUTHN:
            work.record(request.event(EventName.CHALLENGE_MISBOUND, now))
            return OobCodeMalformed()
        challenge, authenticator = found
        if challenge.standing(now) is not Standing.PENDING:
            return OobCodeExpired()
        candidate = Candidate(self._answering(work, challenge, authenticator), challenge)
        attempt = request.attempt(self.credential, challenge.purpose, now)
        verdict = self.redeemer.guessing.judge(work, attempt, candidate)
        proven = isinstance(verdict, Proven)
        state = ChallengeState.REDEEMED if proven else ChallengeState.SUPERSEDED
        work.save_challenge(replace(challenge, state=state, answered_at=now))
        match verdict:
            case Proven():
                return self.redeemer.complete(work, request, verdict, now)
            case NotProven(hint=hint):
                return InvalidPublicKeyCredential(hint=hint) if hint else InvalidPublicKeyCredential()
        return verdict

    def _answering(self, work: Work, challenge: Challenge, authenticator: Authenticator) -> Authenticator:
        """Return the authenticator of the presented credential: the challenged one, or another usable one of the user.

        A challenge that names no authenticator lists all of the user's credentials, and the user picks the key at hand.
        That list is sealed with the challenge; the factor compares the credential with it.
        """
        if challenge.purpose is Purpose.ENROLL:
            return authenticator
        mine = work.authenticators(authenticator.user_id)
        others = (a for a in mine if a.kind == WEBAUTHN and a.usable() and a.unique_ref == self.credential.id)
        return next(others, authenticator)
