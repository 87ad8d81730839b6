"""A user's own authenticators: enrolled, listed, renamed, removed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cofactor_server.domain.acr import Level
from cofactor_server.domain.authenticators import (
    ACTIVE_CODE_AUTHENTICATORS,
    PENDING_PER_LOGIN,
    PENDING_PER_USER,
    Authenticator,
    State,
    enrolled,
    offered_order,
)
from cofactor_server.domain.callers import Access, Caller
from cofactor_server.domain.clients import Client
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.events import Event, EventName, Notice, NoticeName
from cofactor_server.domain.factor_kinds import OURS, RECOVERY_CODE
from cofactor_server.domain.logins import Login
from cofactor_server.domain.proofs import Account, Context, Kind, Purpose
from cofactor_server.domain.requests import Enrolled, EnrollmentRequest
from cofactor_server.domain.users import User
from cofactor_server.errors import (
    AlreadyEnrolled,
    AuthenticatorNotFound,
    AuthenticatorTypeUnsupported,
    BearerInvalid,
    BearerMissing,
    CofactorError,
    EnrollmentNotAllowed,
    FactorDisabled,
    InsufficientAuthentication,
    MfaTokenStale,
    TooManyAuthenticators,
)
from cofactor_server.seams import ALPHANUMERIC, Clock, Entropy
from cofactor_server.services.challenges import Prepared, Sender, prepare
from cofactor_server.services.credentials import Credentials, linked, remove
from cofactor_server.services.deciding import Decider
from cofactor_server.services.oob_codes import OobCodes
from cofactor_server.services.records import Records
from cofactor_server.services.standing import login_refusal, user_refusal
from cofactor_server.store import queries
from cofactor_server.store.work import Needs, Work


@dataclass(frozen=True, slots=True)
class Authority:
    """On whose authority authenticators are changed: a login's, or an access token's for the MFA audience."""

    login: Login | None
    access: Access | None
    source: str

    @classmethod
    def of(cls, caller: Caller) -> "Authority":
        """Return the caller's authority.

        Raises:
            BearerMissing: The caller has no bearer token.
        """
        if caller.login is None and caller.access is None:
            raise BearerMissing
        return cls(caller.login, caller.access, caller.source)

    @property
    def user_id(self) -> str:
        """The user whose authenticators they are."""
        return self.login.user_id if self.login else self._access.user_id

    @property
    def login_id(self) -> str:
        """The id of the mfa_token, or the jti of the access token."""
        return self.login.id if self.login else self._access.jti

    @property
    def client_id(self) -> str:
        """The client the token was issued to."""
        return self.login.client_id if self.login else self._access.client_id

    @property
    def epoch(self) -> int:
        """The user's epoch when the token was issued."""
        return self.login.epoch if self.login else self._access.epoch

    @property
    def _access(self) -> Access:
        if self.access is None:
            raise BearerMissing
        return self.access

    def needs(self) -> Needs:
        """Return what deciding anything on this authority reads."""
        return Needs(
            self.user_id, client_id=self.client_id, token_id=self.login_id, source=self.source, pending_challenges=True
        )

    def refusal(self, work: Work, now: int) -> CofactorError | None:
        """Return why the token is not good any more, read under the user's lock; None if it is."""
        if work.client(self.client_id) is None:
            return BearerInvalid()
        if self.login is not None:
            return login_refusal(work, self.login, None, now)
        if refusal := user_refusal(work.user(self.user_id), self.epoch):
            return refusal
        return BearerInvalid() if work.is_spent(self.user_id, self.login_id) else None

    def may_change(self, mine: Sequence[Authenticator]) -> CofactorError | None:
        """Return why an access token is too weak to add or remove an authenticator; None if it is not (security.md 8).

        An enrolled user shows at least the highest level that his authenticators reach, those that failures disabled
        among them: exhausting one must not lower what the others have to show. A recovery code is enough, being there
        for replacing what was lost (S32).
        """
        access = self._access
        if not enrolled(mine):
            return None
        if access.level is Level.ONE_FACTOR:
            return BearerInvalid()
        confirmed = (a for a in mine if a.state is not State.PENDING)
        highest = max((Level.of(a.acr) for a in confirmed), default=Level.ONE_FACTOR)
        return None if access.level >= highest or access.recovery else InsufficientAuthentication()


@dataclass(frozen=True, slots=True)
class Enrolling:
    """What deciding an enrollment takes."""

    deployment: Deployment
    credentials: Credentials
    clock: Clock
    entropy: Entropy


@dataclass(frozen=True, slots=True)
class Made:
    """A stored pending authenticator, and what its user must see."""

    prepared: Prepared
    show: dict[str, str] = field(repr=False)
    recovery_codes: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Enroll:
    """Decides an enrollment: a pending authenticator that belongs to this login."""

    enrolling: Enrolling
    authority: Authority
    request: EnrollmentRequest

    @property
    def needs(self) -> Needs:
        """The user's authenticators and the token's state."""
        return self.authority.needs()

    def decide(self, work: Work) -> Made | CofactorError:
        """Add the pending authenticator and, where there is none, a recovery code beside it."""
        now = self.enrolling.clock.now()
        authority = self.authority
        if refusal := authority.refusal(work, now):
            return refusal
        user, client = work.user(authority.user_id), work.client(authority.client_id)
        if user is None or client is None:
            return BearerInvalid()
        mine = work.authenticators(user.id)
        if refusal := self._forbidden(user, client, mine):
            return refusal
        factor = self.enrolling.credentials.factor(self.request.kind)
        if factor is None:
            return FactorDisabled()
        self._make_room(work, mine, now)
        account = Account(user.id, user.label or user.subject, self.enrolling.deployment.friendly_name)
        made = factor.enroll(account, self.request.destination, self.request.options)
        authenticator = self._pending(user, self.request.kind, self.request.name or made.name, made.credential, now)
        work.save_authenticator(authenticator)
        event = Event(user.id, EventName.AUTHENTICATOR_ENROLLING, now, client.id, authority.login_id, authenticator.id)
        work.record(replace(event, source=authority.source))
        context = Context(client.name, Purpose.ENROLL, now, authority.source)
        owner = (authority.login_id, client.id, user.epoch)
        prepared = prepare(work, self.enrolling.credentials, self.enrolling.entropy, authenticator, context, owner)
        return Made(prepared, dict(made.show), self._recovery_codes(work, user, account, mine, now))

    def _forbidden(self, user: User, client: Client, mine: Sequence[Authenticator]) -> CofactorError | None:
        authority = self.authority
        login = authority.login
        if login is not None:
            if enrolled(mine):
                return AlreadyEnrolled()
            return None if login.may_enroll(user, client) else EnrollmentNotAllowed()
        if refusal := authority.may_change(mine):
            return refusal
        active = sum(a.usable() and a.kind != RECOVERY_CODE for a in mine)
        return TooManyAuthenticators() if active >= ACTIVE_CODE_AUTHENTICATORS else None

    def _make_room(self, work: Work, mine: Sequence[Authenticator], now: int) -> None:
        """Let the oldest pending ones of this login, and of all the user's logins, give way to one more."""
        pending = [a for a in mine if a.state is State.PENDING and a.kind != RECOVERY_CODE]
        pending.sort(key=lambda a: a.created_at)
        here = [a for a in pending if a.login_id == self.authority.login_id]
        gone = here[: max(0, len(here) - PENDING_PER_LOGIN + 1)]
        left = [a for a in pending if a not in gone]
        for oldest in (*gone, *left[: max(0, len(left) - PENDING_PER_USER + 1)]):
            remove(work, oldest, now)

    def _pending(self, user: User, kind: Kind, name: str, credential: bytes, now: int) -> Authenticator:
        # `dev_` and 16 alphanumerics: contract section 6.
        authenticator_id = f"{kind}|dev_{self.enrolling.entropy.choose(ALPHANUMERIC, 16)}"
        return Authenticator(
            user_id=user.id,
            id=authenticator_id,
            kind=kind,
            state=State.PENDING,
            created_at=now,
            credential=self.enrolling.credentials.seal(user.id, authenticator_id, credential),
            login_id=self.authority.login_id,
            name=name,
        )

    def _recovery_codes(
        self, work: Work, user: User, account: Account, mine: Sequence[Authenticator], now: int
    ) -> tuple[str, ...]:
        """Make a recovery code, pending like the authenticator, where no valid one exists (security.md 3)."""
        factor = self.enrolling.credentials.factor(RECOVERY_CODE)
        codes = [a for a in mine if a.kind == RECOVERY_CODE]
        if factor is None or any(code.usable() for code in codes):
            return ()
        codes.sort(key=lambda code: code.created_at)
        too_many = codes[: max(0, len(codes) - PENDING_PER_USER + 1)]
        for shown_before in codes:
            if shown_before.login_id == self.authority.login_id or shown_before in too_many:
                remove(work, shown_before, now)
        made = factor.enroll(account, "", {})
        work.save_authenticator(self._pending(user, RECOVERY_CODE, "", made.credential, now))
        return (made.show["recovery_code"],)


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
        work.record(_event(self.authority, EventName.AUTHENTICATOR_RENAMED, found, now))
        return renamed


@dataclass(frozen=True, slots=True)
class Remove:
    """Decides a removal: the authenticator, what it is linked to and, after the last one, the recovery code."""

    clock: Clock
    authority: Authority
    authenticator_id: str

    @property
    def needs(self) -> Needs:
        """The user's authenticators and the token's state."""
        return self.authority.needs()

    def decide(self, work: Work) -> CofactorError | None:
        """Remove it."""
        now = self.clock.now()
        found = _own(work, self.authority, self.authenticator_id, now)
        if isinstance(found, CofactorError):
            return found
        if refusal := self.authority.may_change(work.authenticators(found.user_id)):
            return refusal
        for twin in linked(work, found):
            remove(work, twin, now)
        if found.state is not State.PENDING:
            work.record(_event(self.authority, EventName.AUTHENTICATOR_REMOVED, found, now))
            source = self.authority.source
            work.notify(Notice(found.user_id, NoticeName.AUTHENTICATOR_REMOVED, now, found.id, source))
        rest = work.authenticators(found.user_id)
        if found.kind != RECOVERY_CODE and found.state is not State.PENDING and not enrolled(rest):
            for left in rest:
                remove(work, left, now)
        return None


class Authenticators:
    """Enrolls, lists, renames and removes on the user's own authority."""

    def __init__(
        self,
        *,
        enrolling: Enrolling,
        records: Records,
        decider: Decider,
        oob_codes: OobCodes,
        sender: Sender,
    ) -> None:
        self._enrolling = enrolling
        self._records = records
        self._decider = decider
        self._oob_codes = oob_codes
        self._sender = sender

    async def enroll(self, caller: Caller, request: EnrollmentRequest) -> Enrolled:
        """Begin an enrollment.

        Raises:
            AuthenticatorTypeUnsupported: The kind is unknown.
            FactorDisabled: The kind is switched off.
            AlreadyEnrolled: An mfa_token enrolls the first authenticator only.
            InvalidRequest: The factor refuses an option.
            CofactorError: The token is not good any more, or too weak.
        """
        authority = Authority.of(caller)
        if request.kind not in OURS and not self._enrolling.credentials.is_known(request.kind):
            raise AuthenticatorTypeUnsupported
        if request.kind == RECOVERY_CODE or self._enrolling.credentials.factor(request.kind) is None:
            raise FactorDisabled
        self._check(request)
        with self._decider.under_way(caller):
            made = await self._decider.decide(caller, Enroll(self._enrolling, authority, request))
        prompt, challenge = made.prepared.prompt, made.prepared.challenge
        if prompt is not None and prompt.send is not None:
            await self._sender.send(prompt.send)
        return Enrolled(
            authenticator=made.prepared.authenticator,
            show={**made.show, **(prompt.show if prompt else {})},
            oob_code=self._oob_codes.seal(challenge.id) if challenge else "",
            recovery_codes=made.recovery_codes,
        )

    async def list(self, caller: Caller) -> Sequence[Authenticator]:
        """Return the user's authenticators as they are offered; pending ones while they can be confirmed."""
        account = await self._account(caller)
        now = self._enrolling.clock.now()
        return offered_order(a for a in account.authenticators if not a.lapsed(now))

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
        """Rename an authenticator, and return it.

        Raises:
            AuthenticatorNotFound: The user has no such authenticator.
        """
        decision = Rename(self._enrolling.clock, Authority.of(caller), authenticator_id, name)
        with self._decider.under_way(caller):
            return await self._decider.decide(caller, decision)

    async def remove(self, caller: Caller, authenticator_id: str) -> None:
        """Remove an authenticator and what it is linked to.

        Raises:
            AuthenticatorNotFound: The user has no such authenticator.
            InsufficientAuthentication: The token shows less than the user's authenticators reach.
        """
        decision = Remove(self._enrolling.clock, Authority.of(caller), authenticator_id)
        with self._decider.under_way(caller):
            await self._decider.decide(caller, decision)

    def _check(self, request: EnrollmentRequest) -> None:
        """Let the factor refuse bad options before anything is queued; what it makes is thrown away."""
        factor = self._enrolling.credentials.factor(request.kind)
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
        if access is not None and access.level is Level.ONE_FACTOR and enrolled(account.authenticators):
            raise BearerInvalid
        return account


def _own(work: Work, authority: Authority, authenticator_id: str, now: int) -> Authenticator | CofactorError:
    if refusal := authority.refusal(work, now):
        return refusal
    mine = (a for a in work.authenticators(authority.user_id) if not a.lapsed(now))
    return next((a for a in mine if a.id == authenticator_id), AuthenticatorNotFound())


def _event(authority: Authority, name: EventName, authenticator: Authenticator, now: int) -> Event:
    return Event(
        authenticator.user_id,
        name,
        now,
        authority.client_id,
        authority.login_id,
        authenticator.id,
        authority.source,
    )
