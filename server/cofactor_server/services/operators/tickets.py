"""Issues enrollment tickets to operators who call with a token (ADR-3 and ADR-5)."""

from cofactor_server.domain.authenticators.kinds import PHONE_KINDS
from cofactor_server.domain.authenticators.methods import PHONE
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.authenticators.tickets import IssuedTicket, NewTicket
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.operators import Role
from cofactor_server.errors import BearerMissing, CallerNotAllowed, FactorDisabled, NotFound
from cofactor_server.services.authenticators.ticket_issuance import TicketOffice
from cofactor_server.services.proofs.credentials import Credentials
from cofactor_server.services.transactions.refusals import Missing


class OperatorTickets:
    """Issues tickets to operators, and returns only what the operator's role may see."""

    def __init__(self, office: TicketOffice, credentials: Credentials) -> None:
        self._office = office
        self._credentials = credentials

    async def issue(self, caller: Caller, new: NewTicket, factor: Kind) -> IssuedTicket:
        """Issue a ticket; the role support gets a result without the ticket and its URL.

        Args:
            caller: The operator.
            new: The requested ticket, without its kinds.
            factor: A kind, or `phone` for every enabled way to reach a phone; empty for any kind.

        Raises:
            CallerNotAllowed: The role support may only have tickets mailed to the profile's address.
            NotFound: There is no such user.
            CofactorError: As `TicketOffice.issue` raises.
        """
        if caller.operator is None:
            raise BearerMissing
        is_support = caller.operator.role is not Role.ADMIN
        if is_support and (new.email or not new.send_mail):
            raise CallerNotAllowed
        kinds: frozenset[Kind] = frozenset({factor} - {""})
        if factor == PHONE:
            kinds = frozenset(kind for kind in PHONE_KINDS if self._credentials.factor(kind) is not None)
            if not kinds:
                raise FactorDisabled
        try:
            issued = await self._office.issue(caller, caller.operator.id, replace(new, kinds=kinds))
        except Missing:
            raise NotFound from None
        return replace(issued, ticket="", url="") if is_support else issued
