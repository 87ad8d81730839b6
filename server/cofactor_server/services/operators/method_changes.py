"""Renames and removes methods, and regenerates recovery codes, for an operator."""

from collections.abc import Mapping

from cofactor_server.domain.authenticators.authenticator import Authenticator, enrolled
from cofactor_server.domain.authenticators.kinds import PHONE_KINDS, RECOVERY_CODE
from cofactor_server.domain.authenticators.methods import named
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.authenticators.removals import removal
from cofactor_server.domain.foundation.events import Event, EventName, Notice, NoticeName
from cofactor_server.domain.foundation.values import Value, replace
from cofactor_server.domain.parties.operators import Operator
from cofactor_server.domain.parties.users import Enrollment
from cofactor_server.domain.requests import EnrollmentRequest
from cofactor_server.errors import (
    AuthenticatorNotFound,
    AuthenticatorUndeletable,
    CofactorError,
    FactorDisabled,
    InvalidRequest,
    LastAuthenticator,
    NotFound,
)
from cofactor_server.seams import Clock
from cofactor_server.services.authenticators.enrollment import Enrolling
from cofactor_server.services.authenticators.recovery_codes import made_valid
from cofactor_server.services.proofs.credentials import linked, remove
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


class ChangeMethod(Value, frozen=True):
    """Decides a new name, or which way to reach a phone is offered first; None leaves either unchanged."""

    clock: Clock
    operator: Operator
    user_id: str
    method_id: str
    name: str | None = None
    preferred: Kind | None = None

    @property
    def needs(self) -> Needs:
        """The user's authenticators."""
        return Needs(self.user_id)

    def decide(self, work: Work) -> list[Authenticator] | CofactorError:
        """Change every authenticator of the method."""
        now = self.clock.now()
        found = _found(work, self.user_id, self.method_id, now)
        if isinstance(found, CofactorError):
            return found
        if self.name is not None:
            found = [replace(a, name=self.name) for a in found]
        if self.preferred is not None:
            ordered = _preferring(found, self.preferred)
            if isinstance(ordered, CofactorError):
                return ordered
            found = ordered
        for authenticator in found:
            work.save_authenticator(authenticator)
        work.record(_event(self.operator, self.user_id, EventName.AUTHENTICATOR_RENAMED, now, found[0].id))
        return found


class RemoveMethod(Value, frozen=True):
    """Decides a removal, as if the user removed it; a user without methods then enrolls by ticket only (ADR-3)."""

    clock: Clock
    operator: Operator
    user_id: str
    method_id: str
    keep_last: bool
    """Whether to refuse removal of the last method; a reset removes it anyway."""

    @property
    def needs(self) -> Needs:
        """The user's authenticators."""
        return Needs(self.user_id)

    def decide(self, work: Work) -> CofactorError | None:
        """Remove it with linked authenticators and, if it is the last one, the recovery code."""
        now = self.clock.now()
        found = _found(work, self.user_id, self.method_id, now)
        if isinstance(found, CofactorError):
            return found
        first = found[0]
        if first.implicit:
            return AuthenticatorUndeletable()
        before = work.opened(self.user_id, now)
        chosen = {a.id: a for way in found for a in linked(work, way)}
        change = removal(chosen.values(), work.authenticators(self.user_id))
        if change.is_last and self.keep_last:
            return LastAuthenticator()
        for each in change.gone:
            remove(work, each, now)
        if change.is_told:
            ended = before.by({each.id for each in change.gone}).details
            work.record(_event(self.operator, self.user_id, change.event, now, first.id, ended))
            work.notify(Notice(self.user_id, change.notice, now, first.id))
        user = work.user(self.user_id)
        if change.is_last and user is not None:
            # Otherwise an attacker who knows the password and persuades support could enroll at the next login.
            work.save_user(replace(user, enrollment=Enrollment.TICKET))
        return None


class RegenerateRecoveryCode(Value, frozen=True):
    """Decides a new recovery code for a user who has one (S30)."""

    enrolling: Enrolling
    operator: Operator
    user_id: str

    @property
    def needs(self) -> Needs:
        """The user's authenticators."""
        return Needs(self.user_id)

    def decide(self, work: Work) -> str | CofactorError:
        """Remove the existing codes, pending ones too, and return the new one."""
        now = self.enrolling.clock.now()
        if work.user(self.user_id) is None:
            return NotFound()
        mine = work.authenticators(self.user_id)
        codes = [a for a in mine if a.kind == RECOVERY_CODE]
        if not enrolled(mine) or not any(code.usable() for code in codes):
            return AuthenticatorNotFound()
        factor = self.enrolling.credentials.factor(RECOVERY_CODE)
        if factor is None:
            return FactorDisabled()
        for old in codes:
            remove(work, old, now)
        made = made_valid(self.enrolling, work, factor, self.user_id, now, EnrollmentRequest(RECOVERY_CODE))
        event = EventName.RECOVERY_CODE_REGENERATED
        work.record(_event(self.operator, self.user_id, event, now, made.authenticator.id))
        notice = NoticeName.RECOVERY_CODE_REGENERATED
        work.notify(Notice(self.user_id, notice, now, made.authenticator.id))
        return made.codes[0]


def _found(work: Work, user_id: str, method_id: str, now: int) -> list[Authenticator] | CofactorError:
    if work.user(user_id) is None:
        return NotFound()
    mine = [a for a in work.authenticators(user_id) if not a.lapsed(now)]
    return named(mine, method_id) or AuthenticatorNotFound()


def _preferring(ways: list[Authenticator], preferred: Kind) -> list[Authenticator] | InvalidRequest:
    """Set the preferred authenticator of a phone to confirmed a moment after the other, so that it is offered first."""
    instants = [a.confirmed_at for a in ways if a.kind in PHONE_KINDS and a.confirmed_at is not None]
    if len(instants) < 2:
        problem = "is for a confirmed telephone that is reached in two ways"
        return InvalidRequest(violations=(("preferred_authentication_method", problem),))
    first = min(instants)
    return [replace(a, confirmed_at=first + (a.kind == preferred)) for a in ways]


def _event(
    operator: Operator,
    user_id: str,
    name: EventName,
    now: int,
    authenticator_id: str,
    more: Mapping[str, str] | None = None,
) -> Event:
    details = {"operator": operator.id, **(more or {})}
    return Event(user_id, name, now, authenticator_id=authenticator_id, details=details)
