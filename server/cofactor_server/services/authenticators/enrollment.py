"""Decides an enrollment: adds a pending authenticator, and a recovery code if the user has none (ADR-3)."""

from collections.abc import Sequence

from cofactor_server.domain.authenticators.authenticator import (
    ACTIVE_CODE_AUTHENTICATORS,
    PENDING_PER_LOGIN,
    PENDING_PER_USER,
    Authenticator,
    State,
    enrolled,
    held,
    id_of,
    new_suffix,
)
from cofactor_server.domain.authenticators.kinds import EMAIL, PHONE_KINDS, PUSH, RECOVERY_CODE
from cofactor_server.domain.authenticators.proofs import Account, Context, Kind, Purpose
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.domain.foundation.values import Secret, Value, replace
from cofactor_server.domain.parties.users import User
from cofactor_server.domain.requests import EnrollmentRequest
from cofactor_server.errors import (
    AlreadyEnrolled,
    BearerInvalid,
    CofactorError,
    FactorDisabled,
    InvalidRequest,
    TooManyAuthenticators,
)
from cofactor_server.factors.registry import EncodedEnrollment, Registered
from cofactor_server.seams import Clock, Entropy, new_id
from cofactor_server.services.challenges.creation import Prepared, prepare
from cofactor_server.services.messages.sending import charge, messages_left
from cofactor_server.services.policy.first_enrollments import enrollment_refusal
from cofactor_server.services.proofs.authority import Authority
from cofactor_server.services.proofs.credentials import Credentials, remove
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


class Enrolling(Value, frozen=True):
    """The collaborators of every enrollment decision."""

    deployment: Deployment
    credentials: Credentials
    clock: Clock
    entropy: Entropy


class Made(Value, frozen=True):
    """A stored pending authenticator, and what the client must show to the user."""

    prepared: Prepared
    show: Secret[dict[str, str]]
    recovery_codes: Secret[tuple[str, ...]] = ()
    code_before: Authenticator | None = None
    """The pending recovery code of the same login that the new one replaced."""


class Enroll(Value, frozen=True):
    """Decides an enrollment: adds a pending authenticator that belongs to this login."""

    enrolling: Enrolling
    authority: Authority
    request: EnrollmentRequest

    @property
    def needs(self) -> Needs:
        """The user's authenticators and the token's state."""
        return self.authority.needs()

    def decide(self, work: Work) -> Made | CofactorError:
        """Add the pending authenticator and, if the user has no recovery code, one of those too."""
        now = self.enrolling.clock.now()
        authority = self.authority
        if refusal := authority.refusal(work, now):
            return refusal
        user, client = work.user(authority.user_id), work.client(authority.client_id)
        if user is None:
            return BearerInvalid()
        mine = work.authenticators(user.id)
        if refusal := self._forbidden(work, user, mine):
            return refusal
        factor = self.enrolling.credentials.factor(self.request.kind)
        if factor is None:
            return FactorDisabled()
        if isinstance(destination := self._destination(user), CofactorError):
            return destination
        known = authority.known(work, now)
        if refusal := charge(work, user, factor.kind, now, known=known):
            return refusal
        self._make_room(work, mine, now)
        account = self.enrolling.deployment.account(user)
        made, authenticator = self._add(work, factor, account, destination, now)
        work.record(authority.trail.event(EventName.AUTHENTICATOR_ENROLLING, now, authenticator.id))
        siblings = self.enrolling.credentials.siblings(factor, authenticator, mine) if factor.prompts else ()
        application = client.name if client is not None else account.issuer_label
        context = Context(application, Purpose.ENROLL, now, authority.source, siblings=siblings)
        owner = (authority.login_id, authority.client_id, user.epoch)
        prepared = prepare(
            work, self.enrolling.credentials, self.enrolling.entropy, authenticator, context, owner, known=known
        )
        if factor.kind != PUSH:  # push sends no message here: the device pairs by a code on the screen
            prepared = replace(prepared, quota=messages_left(work.user(user.id) or user, factor.kind, now, known=known))
        # Enrollment by ticket creates the recovery code at confirmation, which no other party can have begun.
        codes, code_before = self._recovery_codes(work, account, mine, now) if authority.ticket is None else ((), None)
        return Made(prepared, dict(made.show), codes, code_before)

    def _forbidden(self, work: Work, user: User, mine: Sequence[Authenticator]) -> CofactorError | None:
        authority = self.authority
        login, ticket = authority.login, authority.ticket
        if login is not None:
            if enrolled(mine):
                return AlreadyEnrolled()
            client = work.client(authority.client_id)
            if client is None:
                return BearerInvalid()
            return enrollment_refusal(login, user, client, self.enrolling.deployment.support_contact)
        if ticket is not None:
            if not ticket.takes(self.request.kind):
                return FactorDisabled()
            if enrolled(mine) and not ticket.several:
                return AlreadyEnrolled()
        elif refusal := authority.may_change(mine, self.request.kind):
            return refusal
        return TooManyAuthenticators() if held(mine) >= ACTIVE_CODE_AUTHENTICATORS else None

    def _destination(self, user: User) -> str | InvalidRequest:
        """Return the destination of the factor's messages: the requested one, or the profile's verified address."""
        if self.request.kind != EMAIL or self.request.destination:
            return self.request.destination
        if user.email and user.email_verified:
            return user.email
        return InvalidRequest(violations=(("email", "is required: the profile has no verified address"),))

    def _add(
        self, work: Work, factor: Registered, account: Account, destination: str, now: int
    ) -> tuple[EncodedEnrollment, Authenticator]:
        """Add the pending authenticator and, if SMS and voice are both on, the phone's other authenticator.

        The two authenticators of one phone share the suffix of their ids. They are linked: confirmed, limited and
        removed together.
        """
        request, credentials, entropy = self.request, self.enrolling.credentials, self.enrolling.entropy
        made = factor.enroll(account, destination, request.options)
        suffix = new_suffix(entropy)
        others = sorted(PHONE_KINDS - {factor.kind}) if factor.kind in PHONE_KINDS else []
        twins = [twin for kind in others if (twin := credentials.factor(kind)) is not None]
        link_id = new_id(entropy, "") if twins else ""
        for twin in twins:
            theirs = twin.enroll(account, destination, {})
            name = request.name or theirs.name
            work.save_authenticator(
                self._pending(account, twin.kind, name, theirs.credential, now, suffix=suffix, link_id=link_id)
            )
        authenticator = self._pending(
            account, factor.kind, request.name or made.name, made.credential, now, suffix=suffix, link_id=link_id
        )
        authenticator = replace(authenticator, unique_ref=made.unique)
        work.save_authenticator(authenticator)
        return made, authenticator

    def _make_room(self, work: Work, mine: Sequence[Authenticator], now: int) -> None:
        """Remove the oldest pending authenticators so that one more fits the limits per login and per user."""
        pending = [a for a in mine if a.state is State.PENDING and a.kind != RECOVERY_CODE]
        pending.sort(key=lambda a: a.created_at)
        here = list(dict.fromkeys(a.group for a in pending if a.login_id == self.authority.login_id))
        gone = here[: max(0, len(here) - PENDING_PER_LOGIN + 1)]
        left = [group for group in dict.fromkeys(a.group for a in pending) if group not in gone]
        gone += left[: max(0, len(left) - PENDING_PER_USER + 1)]
        for oldest in pending:
            if oldest.group in gone:
                remove(work, oldest, now)

    def _pending(
        self,
        account: Account,
        kind: Kind,
        name: str,
        credential: bytes,
        now: int,
        *,
        suffix: str = "",
        link_id: str = "",
    ) -> Authenticator:
        authenticator_id = id_of(kind, suffix or new_suffix(self.enrolling.entropy))
        return Authenticator(
            user_id=account.user_id,
            id=authenticator_id,
            kind=kind,
            state=State.PENDING,
            created_at=now,
            credential=self.enrolling.credentials.seal(account.user_id, authenticator_id, credential),
            login_id=self.authority.login_id,
            name=name,
            link_id=link_id,
        )

    def _recovery_codes(
        self, work: Work, account: Account, mine: Sequence[Authenticator], now: int
    ) -> tuple[tuple[str, ...], Authenticator | None]:
        """Create a recovery code, pending like the authenticator, if the user has no valid one (ADR-3).

        Returns:
            The code to show, and the pending code of this login that it replaces.
        """
        factor = self.enrolling.credentials.factor(RECOVERY_CODE)
        codes = [a for a in mine if a.kind == RECOVERY_CODE]
        if factor is None or any(code.usable() for code in codes):
            return (), None
        codes.sort(key=lambda code: code.created_at)
        too_many = codes[: max(0, len(codes) - PENDING_PER_USER + 1)]
        for shown_before in codes:
            if shown_before.login_id == self.authority.login_id or shown_before in too_many:
                remove(work, shown_before, now)
        made = factor.enroll(account, "", {})
        work.save_authenticator(self._pending(account, RECOVERY_CODE, "", made.credential, now))
        before = [code for code in codes if code.login_id == self.authority.login_id]
        return (made.show["recovery_code"],), before[-1] if before else None
