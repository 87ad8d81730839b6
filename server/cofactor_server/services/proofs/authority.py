"""Checks that a caller's token may change a user's authenticators."""

from collections.abc import Sequence
from dataclasses import dataclass

from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.authenticators.authenticator import Authenticator, enrolled
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.authenticators.tickets import EnrollmentTicket
from cofactor_server.domain.callers import Access, Caller
from cofactor_server.domain.logins.demands import kind_reach, level_to_change
from cofactor_server.domain.logins.login import Login
from cofactor_server.errors import (
    BearerInvalid,
    BearerMissing,
    CofactorError,
    InsufficientAuthentication,
)
from cofactor_server.services.transactions.audit import Trail
from cofactor_server.services.transactions.validity import login_refusal, still_opened, ticket_refusal, user_refusal
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work


@dataclass(frozen=True, slots=True)
class Authority:
    """The token that authorizes a change of authenticators: an mfa_token, a ticket, or an MFA access token.

    An MFA access token is one for the MFA audience. Exactly one of `login`, `access` and `ticket` is set.
    """

    login: Login | None
    access: Access | None
    source: str
    ticket: EnrollmentTicket | None = None

    @classmethod
    def of(cls, caller: Caller) -> "Authority":
        """Return the caller's authority.

        Args:
            caller: The authenticated caller.

        Raises:
            BearerMissing: The caller has neither a bearer token nor a ticket.
        """
        if caller.login is None and caller.access is None and caller.ticket is None:
            raise BearerMissing
        return cls(caller.login, caller.access, caller.source, caller.ticket)

    @property
    def user_id(self) -> str:
        """The user whose authenticators change."""
        return self._granted.user_id

    @property
    def login_id(self) -> str:
        """The id of the mfa_token or the ticket, or the jti of the access token."""
        granted = self._granted
        return granted.jti if isinstance(granted, Access) else granted.id

    @property
    def client_id(self) -> str:
        """The client that the token was issued to; empty for a ticket, which belongs to no client."""
        granted = self._granted
        return "" if isinstance(granted, EnrollmentTicket) else granted.client_id

    @property
    def epoch(self) -> int:
        """The user's epoch when the token was issued."""
        return self._granted.epoch

    @property
    def _granted(self) -> Login | EnrollmentTicket | Access:
        return self.login or self.ticket or self._access

    @property
    def _access(self) -> Access:
        if self.access is None:
            raise BearerMissing
        return self.access

    @property
    def trail(self) -> Trail:
        """Who makes the change, for the audit log."""
        return Trail(self.user_id, self.client_id, self.login_id, self.source)

    def needs(self) -> Needs:
        """Return the rows that any decision on this authority reads."""
        return Needs(
            self.user_id, client_id=self.client_id, token_id=self.login_id, source=self.source, pending_challenges=True
        )

    def known(self, work: Work, now: int) -> bool:
        """Whether it comes from where the user completed MFA lately, or from a remembered browser (ADR-9)."""
        remembered = self.login is not None and self.login.remembered
        return remembered or work.is_known(self.user_id, self.source, now)

    def refusal(self, work: Work, now: int) -> CofactorError | None:
        """Return why the token is no longer valid; None if it is valid. The caller holds the user's lock."""
        if self.ticket is not None:
            return ticket_refusal(work, self.ticket, now)
        if work.client(self.client_id) is None:
            return BearerInvalid()
        if self.login is not None:
            return login_refusal(work, self.login, None, now)
        if refusal := user_refusal(work.user(self.user_id), self.epoch):
            return refusal
        stands = still_opened(work, self.user_id, self.login_id, self._access.authenticators)
        return None if stands and not work.is_spent(self.user_id, self.login_id) else BearerInvalid()

    def may_change(self, mine: Sequence[Authenticator], new: Kind | None = None) -> CofactorError | None:
        """Return why an access token is too weak to add or remove an authenticator; None if it is not (ADR-8).

        An enrolled user must have shown the highest level that the user's authenticators can reach, used or not.
        Authenticators that failures disabled count too: exhausting one must not lower the level that the others
        require. To add an authenticator, the highest level that its kind can reach is enough. A recovery code is enough
        for every change, since it exists for replacing a lost authenticator (S32).

        Args:
            mine: The user's authenticators.
            new: The kind of the authenticator to add; None to remove one or to replace a recovery code.
        """
        access = self._access
        if not enrolled(mine):
            return None
        if access.level is Level.ONE_FACTOR:
            return BearerInvalid()
        highest = level_to_change(mine)
        needed = highest if new is None else min(highest, kind_reach(new))
        return None if access.level >= needed or access.recovery else InsufficientAuthentication()
