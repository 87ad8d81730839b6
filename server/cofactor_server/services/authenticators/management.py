"""Lets users manage their own authenticators: enroll, list, rename, remove."""

from collections.abc import Sequence
from dataclasses import dataclass

from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.authenticators.authenticator import (
    Authenticator,
    enrolled,
    offered_order,
)
from cofactor_server.domain.authenticators.endings import Opened
from cofactor_server.domain.authenticators.kinds import EMAIL, OURS, RECOVERY_CODE, RETIRED
from cofactor_server.domain.authenticators.proofs import Account
from cofactor_server.domain.authenticators.removals import removal
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.requests import Enrolled, EnrollmentRequest
from cofactor_server.errors import (
    AuthenticatorNotFound,
    AuthenticatorTypeUnsupported,
    AuthenticatorUndeletable,
    BearerInvalid,
    CofactorError,
    FactorDisabled,
    FactorRetired,
    LastAuthenticator,
    MfaTokenStale,
)
from cofactor_server.seams import Clock
from cofactor_server.services.authenticators.enrollment import Enroll, Enrolling
from cofactor_server.services.authenticators.recovery_codes import ReplaceRecoveryCodes
from cofactor_server.services.messages.withdrawal import Dispatch
from cofactor_server.services.policy.rules import Policies
from cofactor_server.services.proofs.authority import Authority
from cofactor_server.services.proofs.credentials import linked, remove
from cofactor_server.services.proofs.oob_codes import OobCodes
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.origins import is_opened
from cofactor_server.services.transactions.queries import Records
from cofactor_server.services.transactions.validity import sign_out, user_refusal
from cofactor_server.store.repositories import queries
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


@dataclass(frozen=True, slots=True)
class Rename:
    """Decides a new name."""

    clock: Clock
    authority: Authority
    authenticator_id: str
    name: str

    @property
    def needs(self) -> Needs:
        """The user's authenticators and the token's state."""
        return self.authority.needs()

    def decide(self, work: Work) -> Authenticator | CofactorError:
        """Rename it."""
        now = self.clock.now()
        found = _own(work, self.authority, self.authenticator_id, now)
        if isinstance(found, CofactorError):
            return found
        mine = work.authenticators(found.user_id)
        if enrolled(mine) and self.authority.access is not None and self.authority.access.level is Level.ONE_FACTOR:
            return BearerInvalid()
        renamed = replace(found, name=self.name)
        work.save_authenticator(renamed)
        work.record(self.authority.trail.event(EventName.AUTHENTICATOR_RENAMED, now, found.id))
        return renamed


@dataclass(frozen=True, slots=True)
class Remove:
    """Decides a removal: the authenticator, linked ones and, with the last authenticator, the recovery code."""

    clock: Clock
    authority: Authority
    authenticator_id: str
    keep_last: bool
    """Whether to refuse removal of the last authenticator."""
    sign_out: bool = False
    """Whether to end everything that the user has open, no matter which authenticator opened it."""

    @property
    def needs(self) -> Needs:
        """The user's authenticators and the token's state."""
        return self.authority.needs()

    def decide(self, work: Work) -> Opened | CofactorError:
        """Remove it, and return what ends with it."""
        now = self.clock.now()
        found = _own(work, self.authority, self.authenticator_id, now)
        if isinstance(found, CofactorError):
            return found
        if refusal := self.authority.may_change(work.authenticators(found.user_id)):
            return refusal
        if found.implicit:
            return AuthenticatorUndeletable()
        before = work.opened(found.user_id, now)
        change = removal(linked(work, found), work.authenticators(found.user_id))
        if change.is_last and self.keep_last:
            return LastAuthenticator()
        for each in change.gone:
            remove(work, each, now, self.authority.login_id)
        ended = before if self.sign_out else before.by({each.id for each in change.gone})
        if change.is_told:
            work.record(self.authority.trail.event(change.event, now, found.id, ended.details))
            work.notify(self.authority.trail.notice(change.notice, now, found.id))
        if self.sign_out:
            sign_out(work, found.user_id)
        return ended


class Authenticators:
    """Enrolls, lists, renames and removes authenticators on the user's own authority."""

    def __init__(
        self,
        *,
        enrolling: Enrolling,
        policies: Policies,
        records: Records,
        decider: Decider,
        oob_codes: OobCodes,
        dispatch: Dispatch,
    ) -> None:
        self._enrolling = enrolling
        self._policies = policies
        self._records = records
        self._decider = decider
        self._oob_codes = oob_codes
        self._dispatch = dispatch

    async def enroll(self, caller: Caller, request: EnrollmentRequest) -> Enrolled:
        """Begin an enrollment.

        Raises:
            AuthenticatorTypeUnsupported: The kind is unknown.
            FactorRetired: The kind was retired.
            FactorDisabled: The kind is switched off.
            AlreadyEnrolled: An mfa_token enrolls the first authenticator only.
            AssociationRequired: Recovery codes require that the user is enrolled.
            InvalidRequest: The factor refuses an option.
            DeliveryFailed: The message was not sent, or its delivery is unknown; the enrollment is withdrawn.
            DestinationRefused: The destination can't receive messages; the enrollment is withdrawn.
            CofactorError: The token is no longer valid, or its authentication level is too low.
        """
        authority = Authority.of(caller)
        if alternative := RETIRED.get(request.kind):
            raise FactorRetired(kind=request.kind, alternative=alternative)
        if request.kind not in OURS and not self._enrolling.credentials.is_known(request.kind):
            raise AuthenticatorTypeUnsupported
        if self._enrolling.credentials.factor(request.kind) is None:
            raise FactorDisabled
        self._check(request)
        if request.kind == RECOVERY_CODE:
            return await self._replace_recovery_codes(caller, authority, request)
        with self._decider.under_way(caller):
            made = await self._decider.decide(caller, Enroll(self._enrolling, authority, request))
        prompt, challenge = made.prepared.prompt, made.prepared.challenge
        if challenge is not None and prompt is not None:
            await self._dispatch.send(caller, challenge, prompt.send, code_before=made.code_before)
        return Enrolled(
            authenticator=made.prepared.authenticator,
            show={**made.show, **(prompt.show if prompt else {})},
            oob_code=self._oob_codes.seal(challenge.id) if challenge else "",
            recovery_codes=made.recovery_codes,
            quota=made.prepared.quota,
        )

    async def list(self, caller: Caller) -> Sequence[Authenticator]:
        """Return the user's authenticators in the order of offer, with pending ones that can still be confirmed.

        The profile's address counts as an authenticator only if codes by mail are on.
        """
        account = await self._account(caller)
        now = self._enrolling.clock.now()
        serves = self._enrolling.credentials.factor
        return offered_order(
            a for a in account.authenticators if not a.lapsed(now) and (not a.implicit or serves(a.kind))
        )

    async def get(self, caller: Caller, authenticator_id: str) -> Authenticator:
        """Return one authenticator of the user.

        Raises:
            AuthenticatorNotFound: The user has no such authenticator.
        """
        for authenticator in await self.list(caller):
            if authenticator.id == authenticator_id:
                return authenticator
        raise AuthenticatorNotFound

    async def rename(self, caller: Caller, authenticator_id: str, name: str) -> Authenticator:
        """Rename an authenticator and return it.

        Raises:
            AuthenticatorNotFound: The user has no such authenticator.
        """
        decision = Rename(self._enrolling.clock, Authority.of(caller), authenticator_id, name)
        with self._decider.under_way(caller):
            return await self._decider.decide(caller, decision)

    async def remove(self, caller: Caller, authenticator_id: str, *, sign_out: bool = False) -> Opened:
        """Remove an authenticator and linked ones; return what ends with them.

        Args:
            caller: The caller, who acts on their own account.
            authenticator_id: The id of the authenticator.
            sign_out: End everything that the user has open, the caller's own token too.

        Raises:
            AuthenticatorNotFound: The user has no such authenticator.
            AuthenticatorUndeletable: It is the profile's verified address.
            LastAuthenticator: It is the last one, and the settings or a policy rule keep it.
            InsufficientAuthentication: The token's level is below what the user's authenticators can reach.
        """
        authority = Authority.of(caller)
        keep_last = await self._policies.keep_last(authority.user_id)
        decision = Remove(self._enrolling.clock, authority, authenticator_id, keep_last, sign_out)
        with self._decider.under_way(caller):
            return await self._decider.decide(caller, decision)

    async def _replace_recovery_codes(
        self, caller: Caller, authority: Authority, request: EnrollmentRequest
    ) -> Enrolled:
        with self._decider.under_way(caller):
            replaced = await self._decider.decide(caller, ReplaceRecoveryCodes(self._enrolling, authority, request))
        return Enrolled(authenticator=replaced.authenticator, show={}, recovery_codes=replaced.codes)

    def _check(self, request: EnrollmentRequest) -> None:
        """Let the factor refuse bad options before anything is queued; its result is discarded."""
        factor = self._enrolling.credentials.factor(request.kind)
        if request.kind == EMAIL and not request.destination:
            return  # this means the profile's address, which is read under the lock
        if factor is not None:
            factor.enroll(Account("", "", ""), request.destination, request.options)

    async def _account(self, caller: Caller) -> queries.Account:
        authority = Authority.of(caller)
        account = await self._records.read(queries.account, authority.user_id, authority.login_id)
        if account is None:
            raise MfaTokenStale
        if refusal := user_refusal(account.user, authority.epoch):
            raise refusal
        if account.spent:
            raise MfaTokenStale if authority.login else BearerInvalid
        access = authority.access
        if access is not None and not await is_opened(self._records, account, access.jti, access.authenticators):
            raise BearerInvalid
        if access is not None and access.level is Level.ONE_FACTOR and enrolled(account.authenticators):
            raise BearerInvalid
        return account


def _own(work: Work, authority: Authority, authenticator_id: str, now: int) -> Authenticator | CofactorError:
    if refusal := authority.refusal(work, now):
        return refusal
    mine = (a for a in work.authenticators(authority.user_id) if not a.lapsed(now))
    return next((a for a in mine if a.id == authenticator_id), AuthenticatorNotFound())
