"""Verifies proofs against authenticators, within per-authenticator and per-source guess budgets (ADR-9)."""

from collections.abc import Sequence

from cofactor_server.domain.authenticators.acr import Level, level_of
from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.endings import Opened
from cofactor_server.domain.authenticators.kinds import RECOVERY_CODE
from cofactor_server.domain.authenticators.proofs import (
    Approved,
    Context,
    Denied,
    Facts,
    Kind,
    Mismatch,
    Proof,
    Purpose,
)
from cofactor_server.domain.challenges.challenge import Challenge
from cofactor_server.domain.foundation.budgets import DISABLE_AFTER, FAILED_CODES, SOURCE_FAILED_CODES, WARN_AFTER
from cofactor_server.domain.foundation.events import EventName, NoticeName
from cofactor_server.domain.foundation.values import Secret, Value, replace
from cofactor_server.errors import AuthenticatorRegistered, CofactorError, Quota, TooManyFailedCodes
from cofactor_server.seams import SECOND
from cofactor_server.services.proofs.credentials import Answer, Credentials, disabled, linked
from cofactor_server.services.transactions.audit import Trail
from cofactor_server.store.transactions.work import Work


class Candidate(Value, frozen=True):
    """An authenticator that a proof may be for."""

    authenticator: Authenticator
    challenge: Challenge | None = None
    """The challenge that the proof answers; None for a kind that needs no challenge."""


class Attempt(Value, frozen=True):
    """One proof that one caller presents."""

    proof: Proof
    trail: Trail
    """Who presents it, for the audit log."""
    application: str
    purpose: Purpose
    now: int
    remembered: bool = False
    """Whether it comes from a remembered browser, which counts as a known source of the user."""


class Proven(Value, frozen=True):
    """The authenticator that the proof matched, as it is saved now, and the facts that were proven."""

    authenticator: Authenticator
    facts: Facts
    show: Secret[str] = ""
    quota: Quota | None = None
    """What is left of the budget of guesses, where there is one."""


class NotProven(Value, frozen=True):
    """No candidate accepted the proof; every failure is counted."""

    hint: str = ""
    denied: bool = False
    quota: Quota | None = None
    """What is left of the budget of guesses, where there is one."""


class Guessing:
    """Verifies proofs. The deciding transaction writes the counters and the changed credentials."""

    def __init__(self, credentials: Credentials, *, disable_after: int = DISABLE_AFTER) -> None:
        self._credentials = credentials
        self._disable_after = disable_after

    def serves(self, kind: Kind) -> bool:
        """Whether a kind is switched on; a code for any other kind is not counted as a failure."""
        return self._credentials.factor(kind) is not None

    def on_device(self, kind: Kind) -> bool:
        """Whether a device answers challenges of a kind, so that there is no code to guess."""
        return self._credentials.on_device(kind)

    def answer(self, challenge: Challenge) -> Answer:
        """Return the facts that the approval of a challenge proved."""
        return self._credentials.open_answer(challenge)

    def judge(self, work: Work, attempt: Attempt, candidate: Candidate) -> Proven | NotProven | CofactorError:
        """Verify what a device or security key signed, without a guess budget.

        A signature can't be guessed, so no budget bounds it and no failure is counted. With a budget, an attacker who
        guesses codes of the linked authenticator would keep the owner from answering on the device, and an attacker who
        sends junk for a security key would disable it.

        Args:
            work: The transaction; the caller holds the user's lock.
            attempt: The proof and who presents it.
            candidate: The authenticator that signed.
        """
        verdict = self._verify(work, attempt, candidate)
        match verdict:
            case Approved():
                return self._approved(work, attempt, candidate.authenticator, verdict)
            case Denied():
                return NotProven(denied=True)
            case Mismatch(hint=hint, replay=replay, cloned=cloned):
                name = _failure(replay=replay, cloned=cloned)
                work.record(attempt.trail.event(name, attempt.now, candidate.authenticator.id))
                if cloned:
                    work.notify(
                        attempt.trail.notice(NoticeName.SUSPICIOUS_FAILURES, attempt.now, candidate.authenticator.id)
                    )
                return NotProven(hint)

    def attempt(
        self, work: Work, attempt: Attempt, candidates: Sequence[Candidate]
    ) -> Proven | NotProven | CofactorError:
        """Verify a proof against every candidate whose guess budget is not empty.

        The budgets are checked before the proof, so that the refusal of a guess does not disclose whether the guess was
        right. A proof that no candidate accepts counts once for each candidate that was tried, and once for its source.
        The source's budget is of strangers: others behind that address do not keep out users who are known there
        (ADR-9).

        Args:
            work: The transaction; the caller holds the user's lock.
            attempt: The proof and who presents it.
            candidates: The authenticators that the proof may be for.
        """
        now, source = attempt.now, attempt.trail.source
        known = attempt.remembered or work.is_known(attempt.trail.user_id, source, now)
        waits = [candidate.authenticator.guard.wait(known=known, now=now) for candidate in candidates]
        tried = [candidate for candidate, wait in zip(candidates, waits, strict=True) if not wait]
        source_wait = 0 if known else work.source_wait(source, now)
        if source_wait or not tried:
            return _too_many(source_wait, 0 if tried else min(waits), now)
        hint, denied = "", False
        name = EventName.PROOF_REFUSED
        for candidate in tried:
            verdict = self._verify(work, attempt, candidate)
            match verdict:
                case Approved():
                    approved = self._approved(work, attempt, candidate.authenticator, verdict)
                    if isinstance(approved, CofactorError):
                        return approved
                    return replace(approved, quota=candidate.authenticator.guard.quota(known=known, now=now))
                case Denied():
                    denied = True
                case Mismatch(hint=h, replay=replay, cloned=cloned):
                    hint = hint or h
                    if replay or cloned:
                        name = _failure(replay=replay, cloned=cloned)
        for candidate in tried:
            self._failed(work, attempt, candidate.authenticator, known=known, name=name)
        if source and not known:
            work.charge_source(source, now)
        guards = [candidate.authenticator.guard.failed(known=known, now=now) for candidate in tried]
        left = max((guard.quota(known=known, now=now) for guard in guards), key=lambda quota: quota.remaining)
        return NotProven(hint, denied, left)

    def _verify(self, work: Work, attempt: Attempt, candidate: Candidate) -> Approved[bytes] | Denied | Mismatch:
        authenticator = candidate.authenticator
        factor = self._credentials.factor(authenticator.kind)
        if factor is None:
            return Mismatch()
        credentials, challenge = self._credentials, candidate.challenge
        context = Context(attempt.application, attempt.purpose, attempt.now, attempt.trail.source)
        expected = None
        if challenge is not None:
            expected = credentials.open_expected(challenge)
            siblings = credentials.siblings(factor, authenticator, work.authenticators(attempt.trail.user_id))
            context = credentials.bound(replace(context, siblings=siblings), challenge.id, authenticator)
        return factor.verify(credentials.open(authenticator), expected, attempt.proof, context)

    def _approved(
        self, work: Work, attempt: Attempt, authenticator: Authenticator, verdict: Approved[bytes]
    ) -> Proven | AuthenticatorRegistered:
        unique = verdict.unique
        if unique is not None and work.is_held_by_another(authenticator, unique):
            return AuthenticatorRegistered()
        proven = replace(
            authenticator,
            credential=self._credentials.seal(authenticator.user_id, authenticator.id, verdict.credential),
            name=authenticator.name or verdict.name,
            last_used_at=attempt.now,
            acr=max(level_of(verdict.facts), Level.of(authenticator.acr)).acr,
            unique_ref=unique if unique is not None else authenticator.unique_ref,
            guard=authenticator.guard.succeeded(),
        )
        for twin in linked(work, authenticator):
            if twin.id != proven.id:
                work.save_authenticator(replace(twin, guard=proven.guard))
        work.save_authenticator(proven)
        return Proven(proven, verdict.facts, verdict.show)

    def _failed(
        self, work: Work, attempt: Attempt, authenticator: Authenticator, *, known: bool, name: EventName
    ) -> None:
        trail, now = attempt.trail, attempt.now
        guard = authenticator.guard.failed(known=known, now=now)
        spent = guard.failures >= self._disable_after and authenticator.kind != RECOVERY_CODE
        twins = linked(work, authenticator)
        before = work.opened(authenticator.user_id, now) if spent else Opened()
        for twin in twins:
            failed = replace(twin, guard=guard)
            work.save_authenticator(disabled(failed) if spent and twin.usable() else failed)
        work.record(trail.event(name, now, authenticator.id))
        if spent and authenticator.usable():
            ended = before.by({twin.id for twin in twins}).details
            work.record(trail.event(EventName.AUTHENTICATOR_DISABLED, now, authenticator.id, ended))
            work.notify(trail.notice(NoticeName.AUTHENTICATOR_DISABLED, now, authenticator.id))
        elif guard.failures == WARN_AFTER or name is EventName.AUTHENTICATOR_CLONED:
            work.notify(trail.notice(NoticeName.SUSPICIOUS_FAILURES, now, authenticator.id))


def _too_many(source_wait: int, wait: int, now: int) -> TooManyFailedCodes:
    """Return the refusal of a guess where the budget of its source, or of every candidate, is empty."""
    if source_wait >= wait:
        quota = SOURCE_FAILED_CODES.exhausted("failed-codes-of-source", source_wait, now)
    else:
        quota = FAILED_CODES.exhausted("failed-codes", wait, now)
    return TooManyFailedCodes(retry_after=max(source_wait, wait) / SECOND, quota=quota)


def _failure(*, replay: bool, cloned: bool) -> EventName:
    if cloned:
        return EventName.AUTHENTICATOR_CLONED
    return EventName.PROOF_REPLAYED if replay else EventName.PROOF_REFUSED
