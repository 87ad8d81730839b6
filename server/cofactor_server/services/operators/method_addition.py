"""Adds methods for an operator: active at once, since the operator vouches that they belong to the user."""

from collections.abc import Mapping, Sequence

from cofactor_server.domain.authenticators.authenticator import (
    ACTIVE_CODE_AUTHENTICATORS,
    Authenticator,
    State,
    enrolled,
    held,
    id_of,
    new_suffix,
)
from cofactor_server.domain.authenticators.kinds import EMAIL, PHONE_KINDS, RECOVERY_CODE, SMS, TOTP, VOICE
from cofactor_server.domain.authenticators.methods import PHONE, NewMethod
from cofactor_server.domain.authenticators.proofs import Account, Kind
from cofactor_server.domain.foundation.events import Event, EventName, Notice, NoticeName
from cofactor_server.domain.foundation.values import Value, replace
from cofactor_server.domain.parties.operators import Operator
from cofactor_server.errors import (
    AuthenticatorRegistered,
    CofactorError,
    FactorDisabled,
    NotFound,
    TooManyAuthenticators,
)
from cofactor_server.factors.totp import totp_credential
from cofactor_server.seams import new_id
from cofactor_server.services.authenticators.enrollment import Enrolling
from cofactor_server.services.proofs.credentials import remove
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work

Added = list[list[Authenticator]]
"""The authenticators of each added method, in the order of the request."""


class AddMethods(Value, frozen=True):
    """Decides to add methods, or to replace all existing ones; a refusal changes nothing."""

    enrolling: Enrolling
    operator: Operator
    user_id: str
    new: tuple[NewMethod, ...]
    replacing: bool = False

    @property
    def needs(self) -> Needs:
        """The user's authenticators."""
        return Needs(self.user_id)

    def decide(self, work: Work) -> Added | CofactorError:
        """Check everything before writing, because a refusal is committed like any other verdict."""
        now = self.enrolling.clock.now()
        user = work.user(self.user_id)
        if user is None:
            return NotFound()
        mine = [a for a in work.authenticators(user.id) if not a.lapsed(now)]
        # A recovery code can't be set here, so replacing keeps it; a reset or a regeneration removes it.
        kept = {a.id for a in mine if a.kind == RECOVERY_CODE and a.usable()} if enrolled(mine) else set()
        stays = [a for a in mine if a.implicit or not self.replacing]
        if refusal := self._refusal(stays):
            return refusal
        if self.replacing or not enrolled(mine):
            # As with a first activation, remove pending enrollments that another party may have begun (ADR-3).
            gone = [a for a in mine if self.replacing or a.state is State.PENDING or a.kind == RECOVERY_CODE]
            self._remove(work, [a for a in gone if not a.implicit and a.id not in kept], now)
            if user.enrollment is not None:
                work.save_user(replace(user, enrollment=None))
        added = [self._made(method, now) for method in self.new]
        for together in added:
            for authenticator in together:
                work.save_authenticator(authenticator)
            self._tell(work, EventName.AUTHENTICATOR_ADDED, NoticeName.AUTHENTICATOR_ADDED, together[0].id, now)
        return added

    def _refusal(self, stays: Sequence[Authenticator]) -> CofactorError | None:
        if held(stays) + len(self.new) > ACTIVE_CODE_AUTHENTICATORS:
            return TooManyAuthenticators()
        there = [self._as_new(a) for a in stays if a.state is not State.PENDING and not a.implicit]
        for method in self.new:
            if not self._kinds(method):
                return FactorDisabled()
            if any(method.same_as(other) for other in there):
                return AuthenticatorRegistered()
            there.append(method)
        return None

    def _kinds(self, method: NewMethod) -> list[Kind]:
        """Return the enabled kinds that make up a method, the preferred one first."""
        wanted = {PHONE: [SMS, VOICE], TOTP: [TOTP], EMAIL: [EMAIL]}[method.type]
        served = [kind for kind in wanted if self.enrolling.credentials.factor(kind) is not None]
        return sorted(served, key=lambda kind: kind != method.preferred)

    def _as_new(self, authenticator: Authenticator) -> NewMethod:
        """Return the method that would add this authenticator, for comparison; other kinds match no new method."""
        credentials, kind = self.enrolling.credentials, authenticator.kind
        if kind == TOTP:
            return NewMethod(TOTP, secret=credentials.known(TOTP).decode(credentials.open(authenticator)).secret)
        if kind in PHONE_KINDS or kind == EMAIL:
            return NewMethod(PHONE if kind in PHONE_KINDS else EMAIL, address=credentials.address(authenticator))
        return NewMethod(kind)

    def _made(self, method: NewMethod, now: int) -> list[Authenticator]:
        credentials, entropy = self.enrolling.credentials, self.enrolling.entropy
        kinds, suffix = self._kinds(method), new_suffix(entropy)
        link_id = new_id(entropy, "") if len(kinds) > 1 else ""
        made = []
        for kind in kinds:
            factor = credentials.known(kind)
            if kind == TOTP:
                credential, name = factor.encode(totp_credential(method.secret)), ""
            else:
                begun = factor.enroll(Account(self.user_id, "", ""), method.address, {})
                credential, name = begun.credential, begun.name
            authenticator_id = id_of(kind, suffix)
            made.append(
                Authenticator(
                    user_id=self.user_id,
                    id=authenticator_id,
                    kind=kind,
                    state=State.ACTIVE,
                    created_at=now,
                    credential=credentials.seal(self.user_id, authenticator_id, credential),
                    name=method.name or name,
                    link_id=link_id,
                    confirmed_at=now + (kind == method.preferred and len(kinds) > 1),
                )
            )
        return made

    def _remove(self, work: Work, gone: Sequence[Authenticator], now: int) -> None:
        before = work.opened(self.user_id, now)
        for old in gone:
            remove(work, old, now)
        confirmed = {a.group: a for a in gone if a.state is not State.PENDING}  # one notice for linked ones
        for old in confirmed.values():
            ended = before.by({a.id for a in gone if a.group == old.group}).details
            self._tell(work, EventName.AUTHENTICATOR_REMOVED, NoticeName.AUTHENTICATOR_REMOVED, old.id, now, ended)

    def _tell(
        self,
        work: Work,
        event: EventName,
        notice: NoticeName,
        authenticator_id: str,
        now: int,
        more: Mapping[str, str] | None = None,
    ) -> None:
        by = {"operator": self.operator.id, **(more or {})}
        work.record(Event(self.user_id, event, now, authenticator_id=authenticator_id, details=by))
        work.notify(Notice(self.user_id, notice, now, authenticator_id))
