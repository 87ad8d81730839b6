"""On whose authority a user's authenticators are changed, and whether it is enough."""

from collections.abc import Sequence
from dataclasses import dataclass

from cofactor_server.domain.acr import Level
from cofactor_server.domain.authenticators import Authenticator, enrolled
from cofactor_server.domain.callers import Access, Caller
from cofactor_server.domain.demands import kind_reach, level_to_change
from cofactor_server.domain.logins import Login
from cofactor_server.domain.proofs import Kind
from cofactor_server.domain.tickets import EnrollmentTicket
from cofactor_server.errors import (
    BearerInvalid,
    BearerMissing,
    CofactorError,
    InsufficientAuthentication,
)
from cofactor_server.services.standing import login_refusal, still_opened, ticket_refusal, user_refusal
from cofactor_server.services.trails import Trail
from cofactor_server.store.needs import Needs
from cofactor_server.store.work import Work


@dataclass(frozen=True, slots=True)
class Authority:
    """On whose authority authenticators are changed: a login's, a ticket's, an access token's for the MFA audience."""

    login: Login | None
    access: Access | None
    source: str
    ticket: EnrollmentTicket | None = None

    @classmethod
    def of(cls, caller: Caller) -> "Authority":
        """Return the caller's authority.

        Raises:
            BearerMissing: The caller has no bearer token, and no ticket.
        """
        if caller.login is None and caller.access is None and caller.ticket is None:
            raise BearerMissing
        return cls(caller.login, caller.access, caller.source, caller.ticket)

    @property
    def user_id(self) -> str:
        """The user whose authenticators they are."""
        return self._granted.user_id

    @property
    def login_id(self) -> str:
        """The id of the mfa_token or the ticket, or the jti of the access token."""
        granted = self._granted
        return granted.jti if isinstance(granted, Access) else granted.id

    @property
    def client_id(self) -> str:
        """The client the token was issued to; empty for a ticket, which is no client's."""
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
        """On whose account it is done."""
        return Trail(self.user_id, self.client_id, self.login_id, self.source)

    def needs(self) -> Needs:
        """Return what deciding anything on this authority reads."""
        return Needs(
            self.user_id, client_id=self.client_id, token_id=self.login_id, source=self.source, pending_challenges=True
        )

    def known(self, work: Work, now: int) -> bool:
        """Whether it comes from where the user completed MFA lately, or from a remembered browser (security.md 9)."""
        remembered = self.login is not None and self.login.remembered
        return remembered or work.is_known(self.user_id, self.source, now)

    def refusal(self, work: Work, now: int) -> CofactorError | None:
        """Return why the token is not good any more, read under the user's lock; None if it is."""
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
        """Return why an access token is too weak to add or remove an authenticator; None if it is not (security.md 8).

        An enrolled user shows at least the highest level that his authenticators can reach, used or not, those that
        failures disabled among them: exhausting one must not lower what the others have to show. What the new one
        can't exceed is enough for adding it. So is a recovery code for everything, being there for replacing what was
        lost (S32).

        Args:
            mine: The user's authenticators.
            new: The kind of the one that is to be added; None where one is removed, or a recovery code replaced.
        """
        access = self._access
        if not enrolled(mine):
            return None
        if access.level is Level.ONE_FACTOR:
            return BearerInvalid()
        highest = level_to_change(mine)
        needed = highest if new is None else min(highest, kind_reach(new))
        return None if access.level >= needed or access.recovery else InsufficientAuthentication()
