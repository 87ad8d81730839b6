"""Decides the MFA grants: redeems a proof for a completed login, once (ADR-2 to ADR-4)."""

from collections.abc import Sequence

from cofactor_server.domain.authenticators.acr import Authentication, authentication
from cofactor_server.domain.authenticators.authenticator import (
    Authenticator,
    State,
    enrolled,
    offered_order,
)
from cofactor_server.domain.authenticators.kinds import OTP_KINDS, RECOVERY_CODE, WEBAUTHN
from cofactor_server.domain.authenticators.proofs import Code, Facts, Possession, Proof, Purpose
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState, Standing
from cofactor_server.domain.foundation.events import Event, EventName, Notice, NoticeName
from cofactor_server.domain.foundation.values import Secret, Value, replace
from cofactor_server.domain.logins.demands import Demand, Shown
from cofactor_server.domain.logins.grants import AnswerPending, Chained, Issue
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.clients import Client
from cofactor_server.errors import (
    AnotherKindRequired,
    AuthenticatorNotFound,
    BindingCodeRequired,
    ChallengeDenied,
    ChallengeTypeUnsupported,
    CofactorError,
    InvalidBindingCode,
    InvalidOtp,
    InvalidRecoveryCode,
    MfaTokenMalformed,
    NotEnrolled,
    OobCodeExpired,
    OobCodeMalformed,
    RecoveryCodeAbsent,
    RefreshTokenInvalid,
    UnmetAuthenticationRequirements,
)
from cofactor_server.seams import Clock
from cofactor_server.services.challenges.creation import NOTHING_SUPPORTED
from cofactor_server.services.challenges.polling import count_poll
from cofactor_server.services.login.remembered_browsers import Browsers
from cofactor_server.services.policy.first_enrollments import enrollment_refusal
from cofactor_server.services.proofs.binding import activate, answers_for, bound
from cofactor_server.services.proofs.verification import Attempt, Candidate, Guessing, NotProven, Proven
from cofactor_server.services.tokens.minting import login_issue
from cofactor_server.services.tokens.refresh_tokens import RefreshTokens, ended
from cofactor_server.services.transactions.audit import Trail
from cofactor_server.services.transactions.idempotency import Repeat, Repeats
from cofactor_server.services.transactions.validity import party_refusal, token_refusal
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


class Request(Value, frozen=True):
    """The common part of every MFA grant: the login, the client that redeems it, and its source address."""

    login: Login
    client: Client
    source: str
    jti: str
    """The `jti` of the access token to be issued."""
    repeat: Repeat | None = None
    remember: bool = False
    """Whether to remember the browser."""

    def needs(self, *, challenge_id: str = "") -> Needs:
        """Return what the decision reads."""
        demand = self.login.demand
        return Needs(
            self.login.user_id,
            client_id=self.client.id,
            token_id=self.login.id,
            challenge_id=challenge_id,
            family_id=demand.family_id if demand is not None else "",
            request_id=self.repeat.request_id if self.repeat else "",
            source=self.source,
        )

    def attempt(self, proof: Proof, purpose: Purpose, now: int) -> Attempt:
        """Return a proof as an attempt of this login."""
        return Attempt(proof, self.trail, self.client.name, purpose, now, self.login.remembered)

    @property
    def trail(self) -> Trail:
        """The user, client, login and source, for the audit log and notices."""
        return Trail(self.login.user_id, self.client.id, self.login.id, self.source)

    def event(self, name: EventName, now: int, authenticator_id: str = "") -> Event:
        """Return an event of this login."""
        return self.trail.event(name, now, authenticator_id)

    def notice(self, name: NoticeName, now: int, authenticator_id: str) -> Notice:
        """Return a notice of a change that this login made."""
        return self.trail.notice(name, now, authenticator_id)


class Redeemer(Value, frozen=True):
    """The collaborators and shared steps of every MFA grant decision."""

    guessing: Guessing
    refresh_tokens: RefreshTokens
    repeats: Repeats
    browsers: Browsers
    clock: Clock
    contact: str
    """The support contact shown to users who can't enroll at a login."""

    def settled(self, work: Work, request: Request, now: int) -> Issue | Chained | CofactorError | None:
        """Return the earlier outcome of this request, or why the login can't continue; None if it is open.

        An earlier outcome is replayed (idempotency) only while the user and the client are still valid.
        """
        if refusal := party_refusal(work, request.login, request.client):
            return refusal
        if repeated := self.repeats.find(work, request.login.user_id, request.repeat, now):
            return repeated
        return token_refusal(work, request.login, now) or self._family_refusal(work, request.login, now)

    def attempt(
        self, work: Work, request: Request, proof: Proof, candidates: Sequence[Candidate], now: int, purpose: Purpose
    ) -> Proven | NotProven | CofactorError:
        """Verify the proof against the candidates."""
        return self.guessing.attempt(work, request.attempt(proof, purpose, now), candidates)

    def complete(
        self, work: Work, request: Request, proven: Proven, now: int, *, shown_at: int | None = None
    ) -> Issue | Chained | CofactorError:
        """Complete the login: activate a pending authenticator, spend the mfa_token, and return what to issue.

        If the login's demand is not met yet, the login continues under a new mfa_token instead.

        Args:
            work: The deciding transaction.
            request: The login, and the client that redeems it.
            proven: The verified proof.
            now: The time of the decision.
            shown_at: The time at which the factor was shown, if earlier than `now` (S134).
        """
        login, client = request.login, request.client
        demand = login.demand
        if demand is not None and (
            not demand.takes(proven.authenticator.kind) or demand.repeats(proven.authenticator.group, proven.facts)
        ):
            return AnotherKindRequired()
        if proven.authenticator.state is State.PENDING and (
            refusal := activate(work, proven.authenticator, request.trail, now)
        ):
            return refusal
        time = now if shown_at is None else shown_at
        if demand is None:
            by = (proven.authenticator.id,)
            shown = authentication(login.methods, proven.facts, time=time, authenticators=by)
        else:
            demand = demand.joined(Shown(proven.authenticator.id, proven.authenticator.group, proven.facts, time))
            if not demand.met(login.methods):
                return self._chained(work, request, demand, proven.show, now)
            shown = demand.amounts_to(login.methods)
        if not login.by_access_token:
            work.spend(login.user_id, login.id, login.expires_at)
        if request.source:
            work.remember_source(login.user_id, request.source, now)
        user = work.user(login.user_id)
        if user is not None and user.prompts_since_login:
            work.save_user(replace(user, prompts_since_login=0))
        work.record(request.event(EventName.LOGIN_COMPLETED, now, proven.authenticator.id))
        refresh_token = self._refresh_token(work, client, login, shown)
        issue = login_issue(login, shown, request.jti, now, refresh_token=refresh_token, recovery_code=proven.show)
        if request.remember and not proven.facts.recovery:
            issue = self._remembered(work, request, issue, now)
        self.repeats.keep(work, request.repeat, issue, now)
        return replace(issue, quota=proven.quota)

    def _remembered(self, work: Work, request: Request, issue: Issue, now: int) -> Issue:
        """Remember the browser of a login that a factor has just completed, if that is allowed."""
        made = self.browsers.remembered(request.login, request.client, request.jti, now)
        if made is None:
            return issue
        browser, token = made
        work.remember_browser(browser, issue.authentication.authenticators)
        return replace(issue, remember_token=token, remember_expires_at=browser.expires_at)

    def following(self, work: Work, login: Login, demand: Demand) -> list[Authenticator]:
        """Return the user's authenticators that can meet the demand, in the order of offer."""
        usable = [a for a in offered_order(work.authenticators(login.user_id)) if a.usable()]
        return demand.answered_by(a for a in usable if self.guessing.serves(a.kind))

    def _chained(
        self, work: Work, request: Request, demand: Demand, recovery_code: str, now: int
    ) -> Chained | CofactorError:
        """Continue the login under a new mfa_token with the same expiry, which carries the factors shown so far.

        If no authenticator of the user can meet the demand, the login ends without a token. Authenticators enrolled
        in it stay.
        """
        login = request.login
        following = self.following(work, login, demand)
        if not following or login.by_access_token:
            return UnmetAuthenticationRequirements()
        work.spend(login.user_id, login.id, login.expires_at)
        work.record(request.event(EventName.LOGIN_CHAINED, now, demand.shown[-1].authenticator_id))
        kinds = tuple(dict.fromkeys(a.kind for a in following))
        chained = Chained(replace(login, id=request.jti, demand=demand), kinds, recovery_code)
        self.repeats.keep(work, request.repeat, chained, now)
        return chained

    def _refresh_token(self, work: Work, client: Client, login: Login, shown: Authentication) -> str:
        """Return the refresh token for a completed login; empty for none.

        A login that began with a refresh token rotates that token's family and updates its authentication (ADR-15).
        A token for the MFA audience does not belong to the family, and leaves it unchanged.
        """
        demand = login.demand
        if demand is None or not demand.family_id:
            family, token = self.refresh_tokens.start(client, login, shown)
            if family is not None:
                work.save_family(family)
            return token
        presented = work.family(login.user_id, demand.family_id)
        if presented is None or presented.audience != login.audience:
            return ""
        rotated, token = self.refresh_tokens.next(replace(presented, authentication=shown))
        work.save_family(rotated)
        return token

    def _family_refusal(self, work: Work, login: Login, now: int) -> CofactorError | None:
        """Return why the refresh token that began a login is no longer valid; None if it is valid (ADR-15)."""
        demand = login.demand
        if demand is None or not demand.family_id:
            return None
        family, user = work.family(login.user_id, demand.family_id), work.user(login.user_id)
        if family is None or user is None or family.client_id != login.client_id:
            return RefreshTokenInvalid()
        if family.generation != demand.generation:
            return RefreshTokenInvalid()
        return ended(user, work.authenticators(user.id), family, now)


class RedeemOtp(Value, frozen=True):
    """Decides the mfa-otp grant: logs in with an active authenticator, or confirms a pending one."""

    redeemer: Redeemer
    request: Request
    otp: Secret[str]
    authenticator_id: str = ""

    @property
    def needs(self) -> Needs:
        """The user's authenticators and whether the mfa_token is spent."""
        return self.request.needs()

    def decide(self, work: Work) -> Issue | Chained | CofactorError:
        """Verify the code against the authenticators that it may belong to."""
        now = self.redeemer.clock.now()
        request, login = self.request, self.request.login
        if (settled := self.redeemer.settled(work, request, now)) is not None:
            return settled
        mine = work.authenticators(login.user_id)
        is_enrolled = enrolled(mine)
        purpose = Purpose.ENROLL if login.by_access_token or not is_enrolled else Purpose.LOGIN
        serves = self.redeemer.guessing.serves
        otps = [a for a in mine if a.kind in OTP_KINDS and answers_for(a, login, purpose, now) and serves(a.kind)]
        if self.authenticator_id:
            otps = [a for a in otps if a.id == self.authenticator_id]
            if not otps:
                return AuthenticatorNotFound()
        if not otps:
            return self._nothing_to_answer(work, is_enrolled=is_enrolled)
        if login.demand is not None:
            otps = [a for a in otps if login.demand.admits(a)]
            if not otps:
                return AnotherKindRequired()
        candidates = [Candidate(a) for a in otps]
        verdict = self.redeemer.attempt(work, request, Code(self.otp), candidates, now, purpose)
        match verdict:
            case Proven():
                return self.redeemer.complete(work, request, verdict, now)
            case NotProven(hint=hint, quota=quota):
                return InvalidOtp(hint=hint, quota=quota) if hint else InvalidOtp(quota=quota)
        return verdict

    def _nothing_to_answer(self, work: Work, *, is_enrolled: bool) -> CofactorError:
        login, client = self.request.login, self.request.client
        if login.by_access_token:
            return MfaTokenMalformed()
        if not is_enrolled:
            user = work.user(login.user_id)
            refusal = enrollment_refusal(login, user, client, self.redeemer.contact) if user is not None else None
            return refusal or NotEnrolled()
        return ChallengeTypeUnsupported(
            explanation=f"The user does not support the requested challenge type (otp). {NOTHING_SUPPORTED}"
        )


class RedeemRecoveryCode(Value, frozen=True):
    """Decides the mfa-recovery-code grant: uses up the code, and returns its replacement."""

    redeemer: Redeemer
    request: Request
    recovery_code: Secret[str]

    @property
    def needs(self) -> Needs:
        """The user's authenticators and whether the mfa_token is spent."""
        return self.request.needs()

    def decide(self, work: Work) -> Issue | Chained | CofactorError:
        """Verify the code against the user's recovery code."""
        now = self.redeemer.clock.now()
        request, login = self.request, self.request.login
        if login.by_access_token:
            return MfaTokenMalformed()
        if (settled := self.redeemer.settled(work, request, now)) is not None:
            return settled
        if login.demand is not None and (login.demand.shown or not login.demand.takes(RECOVERY_CODE)):
            return AnotherKindRequired()  # a recovery code is never the second factor of a pair (ADR-14)
        codes = [a for a in work.authenticators(login.user_id) if a.kind == RECOVERY_CODE and a.usable()]
        if not codes:
            return RecoveryCodeAbsent()
        if self._leads_nowhere(work, codes[0], now):
            return UnmetAuthenticationRequirements()  # before the code is used up: its replacement would be lost
        candidates = [Candidate(a) for a in codes]
        verdict = self.redeemer.attempt(work, request, Code(self.recovery_code), candidates, now, Purpose.LOGIN)
        match verdict:
            case Proven(authenticator=code):
                work.notify(request.notice(NoticeName.RECOVERY_CODE_USED, now, code.id))
                work.record(request.event(EventName.RECOVERY_CODE_USED, now, code.id))
                return self.redeemer.complete(work, request, verdict, now)
            case NotProven(quota=quota):
                return InvalidRecoveryCode(quota=quota)
        return verdict

    def _leads_nowhere(self, work: Work, code: Authenticator, now: int) -> bool:
        """Whether the demand exceeds a recovery code, and the user has no authenticator to meet the rest."""
        login = self.request.login
        if login.demand is None:
            return False
        facts = Facts(amr=(), possession=Possession.NONE, recovery=True)
        demand = login.demand.joined(Shown(code.id, code.group, facts, now))
        return not demand.met(login.methods) and not self.redeemer.following(work, login, demand)


class RedeemOob(Value, frozen=True):
    """Decides the mfa-oob grant: a challenge bound to this login, answered here with a code or earlier elsewhere."""

    redeemer: Redeemer
    request: Request
    challenge_id: str
    binding_code: Secret[str] = ""

    @property
    def needs(self) -> Needs:
        """The challenge, the user's authenticators and whether the mfa_token is spent."""
        return self.request.needs(challenge_id=self.challenge_id)

    def decide(self, work: Work) -> Issue | Chained | AnswerPending | CofactorError:
        """Redeem the challenge, if it is bound to this login and its authenticator is still valid (ADR-2)."""
        now = self.redeemer.clock.now()
        request, login = self.request, self.request.login
        if (settled := self.redeemer.settled(work, request, now)) is not None:
            return settled
        found = bound(work, login, self.challenge_id, now)
        if found is None or found[1].kind == WEBAUTHN:  # WebAuthn has a grant of its own
            work.record(request.event(EventName.CHALLENGE_MISBOUND, now))
            return OobCodeMalformed()
        challenge, authenticator = found
        match challenge.standing(now):
            case Standing.APPROVED:
                return self._collect(work, challenge, authenticator, now)
            case Standing.DENIED:
                return ChallengeDenied()
            case Standing.EXPIRED | Standing.REDEEMED:
                return OobCodeExpired()
        # A code sent with a poll is ignored: counted as a guess, it would disable the device in the end.
        if not self.binding_code or self.redeemer.guessing.on_device(authenticator.kind):
            return self._polled(work, challenge, authenticator, now)
        candidates = [Candidate(authenticator, challenge)]
        proof = Code(self.binding_code)
        verdict = self.redeemer.attempt(work, request, proof, candidates, now, challenge.purpose)
        match verdict:
            case Proven():
                work.save_challenge(replace(challenge, state=ChallengeState.REDEEMED))
                return self.redeemer.complete(work, request, verdict, now)
            case NotProven(denied=True):
                work.save_challenge(replace(challenge, state=ChallengeState.DENIED))
                work.record(request.event(EventName.CHALLENGE_DENIED, now, authenticator.id))
                return ChallengeDenied()
            case NotProven(quota=quota):
                return InvalidBindingCode(quota=quota)
        return verdict

    def _collect(
        self, work: Work, challenge: Challenge, authenticator: Authenticator, now: int
    ) -> Issue | Chained | CofactorError:
        """Complete the login with the facts of the stored answer, once (S140)."""
        answer = self.redeemer.guessing.answer(challenge)
        work.save_challenge(replace(challenge, state=ChallengeState.REDEEMED, answer=b""))
        proven = Proven(authenticator, answer.facts, answer.show)
        return self.redeemer.complete(work, self.request, proven, now, shown_at=challenge.answered_at)

    def _polled(
        self, work: Work, challenge: Challenge, authenticator: Authenticator, now: int
    ) -> AnswerPending | CofactorError:
        """Count a poll for a device's answer; any other challenge needs a code."""
        if not self.redeemer.guessing.on_device(authenticator.kind):
            return BindingCodeRequired()
        return count_poll(work, challenge, now)
