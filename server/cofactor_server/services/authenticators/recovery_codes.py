"""Replaces recovery codes: the old ones are invalid at once, and the user is notified (S30)."""

from dataclasses import dataclass, field

from cofactor_server.domain.authenticators.authenticator import Authenticator, State, enrolled, id_of, new_suffix
from cofactor_server.domain.authenticators.kinds import RECOVERY_CODE
from cofactor_server.domain.authenticators.proofs import Account
from cofactor_server.domain.foundation.events import EventName, NoticeName
from cofactor_server.domain.parties.users import User
from cofactor_server.domain.requests import EnrollmentRequest
from cofactor_server.errors import AlreadyEnrolled, AssociationRequired, BearerInvalid, CofactorError, FactorDisabled
from cofactor_server.factors.registry import Registered
from cofactor_server.services.authenticators.enrollment import Enrolling
from cofactor_server.services.policy.first_enrollments import enrollment_refusal
from cofactor_server.services.proofs.authority import Authority
from cofactor_server.services.proofs.credentials import remove
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


@dataclass(frozen=True, slots=True)
class Replaced:
    """The authenticator of the new recovery codes, and the codes."""

    authenticator: Authenticator
    codes: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReplaceRecoveryCodes:
    """Decides new recovery codes for an enrolled user; they need no confirmation, so they are valid at once."""

    enrolling: Enrolling
    authority: Authority
    request: EnrollmentRequest

    @property
    def needs(self) -> Needs:
        """The user's authenticators and the token's state."""
        return self.authority.needs()

    def decide(self, work: Work) -> Replaced | CofactorError:
        """Remove the existing codes, pending ones too, and create new ones."""
        now = self.enrolling.clock.now()
        authority, credentials = self.authority, self.enrolling.credentials
        if refusal := authority.refusal(work, now):
            return refusal
        user, factor = work.user(authority.user_id), credentials.factor(RECOVERY_CODE)
        if user is None:
            return BearerInvalid()
        if factor is None:
            return FactorDisabled()
        mine = work.authenticators(user.id)
        if not enrolled(mine):
            return self._unenrolled(work, user)
        if authority.login is not None:
            return AlreadyEnrolled()
        if refusal := authority.may_change(mine):
            return refusal
        for old in mine:
            if old.kind == RECOVERY_CODE:
                remove(work, old, now, authority.login_id)
        replaced = made_valid(self.enrolling, work, factor, user.id, now, self.request)
        work.record(authority.trail.event(EventName.RECOVERY_CODE_REGENERATED, now, replaced.authenticator.id))
        work.notify(authority.trail.notice(NoticeName.RECOVERY_CODE_REGENERATED, now, replaced.authenticator.id))
        return replaced

    def _unenrolled(self, work: Work, user: User) -> CofactorError:
        login, client = self.authority.login, work.client(self.authority.client_id)
        refusal = None
        if login is not None and client is not None:
            refusal = enrollment_refusal(login, user, client, self.enrolling.deployment.support_contact)
        return refusal or AssociationRequired()


def made_valid(
    enrolling: Enrolling, work: Work, factor: Registered, user_id: str, now: int, request: EnrollmentRequest
) -> Replaced:
    """Create recovery codes that are valid at once, and save them."""
    made = factor.enroll(Account(user_id, "", ""), "", request.options)
    authenticator_id = id_of(RECOVERY_CODE, new_suffix(enrolling.entropy))
    codes = Authenticator(
        user_id=user_id,
        id=authenticator_id,
        kind=RECOVERY_CODE,
        state=State.ACTIVE,
        created_at=now,
        credential=enrolling.credentials.seal(user_id, authenticator_id, made.credential),
        name=request.name,
        confirmed_at=now,
    )
    work.save_authenticator(codes)
    return Replaced(codes, tuple(made.show["recovery_code"].split()))
