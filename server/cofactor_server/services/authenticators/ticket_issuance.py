"""Issues enrollment tickets for operators: returned once, or sent by mail (ADR-3 and ADR-25)."""

from dataclasses import dataclass
from datetime import UTC, datetime

from cofactor_server.domain.authenticators.kinds import EMAIL, RECOVERY_CODE
from cofactor_server.domain.authenticators.proofs import Account, Message, Purpose
from cofactor_server.domain.authenticators.tickets import (
    STRICT_TICKET_LIFE,
    TICKET_LIFE,
    EnrollmentTicket,
    IssuedTicket,
    NewTicket,
    new_ticket,
)
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.foundation.events import Event, EventName
from cofactor_server.errors import CofactorError, FactorDisabled, InvalidRequest
from cofactor_server.seams import SECOND, new_id
from cofactor_server.services.authenticators.enrollment import Enrolling
from cofactor_server.services.messages.sending import Sender, charge
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.queries import Records
from cofactor_server.services.transactions.refusals import Missing
from cofactor_server.store.repositories import tickets
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work
from cofactor_server.vault.digests import sha256

PAGE = "mfa/enrollment"
"""The path of the enrollment page, below the issuer (W10.2)."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A stored ticket, and the address to mail it to; empty for none."""

    ticket: EnrollmentTicket
    address: str


@dataclass(frozen=True, slots=True)
class Issue:
    """Decides a ticket for an existing user."""

    enrolling: Enrolling
    operator: str
    new: NewTicket
    sha256: bytes

    @property
    def needs(self) -> Needs:
        """Only the user."""
        return Needs(self.new.user_id, authenticators=False)

    def decide(self, work: Work) -> Issued | CofactorError | None:
        """Store the ticket's hash with the user's epoch; return None if there is no such user."""
        now, new = self.enrolling.clock.now(), self.new
        user = work.user(new.user_id)
        if user is None:
            return None
        # An unverified address may belong to another person, and anyone who receives the mail can enroll as the user.
        own = user.email if user.email_verified else ""
        address = (new.email or own) if new.send_mail else ""
        if new.send_mail:
            if not address:
                return InvalidRequest(violations=(("email", "is required: the profile has no verified address"),))
            # An operator is no stranger, and whoever has the password must not keep the user's letter back.
            if refusal := charge(work, user, EMAIL, now, known=True):
                return refusal
        strict = self.enrolling.deployment.strict
        ticket = EnrollmentTicket(
            user_id=user.id,
            id=new_id(self.enrolling.entropy, "tkt_"),
            sha256=self.sha256,
            epoch=user.epoch,
            created_at=now,
            expires_at=now + (STRICT_TICKET_LIFE if strict else TICKET_LIFE),
            kinds=new.kinds,
            several=new.several,
        )
        work.issue_ticket(ticket)
        details = {"operator": self.operator, "kinds": ",".join(sorted(new.kinds)), "sent": "mail" if address else ""}
        said = {name: value for name, value in details.items() if value}
        work.record(Event(user.id, EventName.TICKET_ISSUED, now, login_id=ticket.id, details=said))
        return Issued(ticket, address)


class TicketOffice:
    """Issues tickets."""

    def __init__(self, *, enrolling: Enrolling, records: Records, decider: Decider, sender: Sender) -> None:
        self._enrolling = enrolling
        self._records = records
        self._decider = decider
        self._sender = sender

    async def issue(self, caller: Caller, operator: str, new: NewTicket) -> IssuedTicket:
        """Issue a ticket, and mail it if requested.

        Args:
            caller: The caller.
            operator: The id of the operator, for the audit log.
            new: What the ticket is for.

        Returns:
            The ticket, which is returned here and never again.

        Raises:
            Missing: There is no such user.
            FactorDisabled: A kind is switched off, or can't be enrolled on its own.
            InvalidRequest: There is no address to send it to, or this deployment does not mail tickets (S36).
            TooManyMessages: The user's rate limit for mail is exhausted.
            DeliveryFailed: The mail was not sent, or its delivery is unknown; the ticket is withdrawn.
            DestinationRefused: The address can't receive mail; the ticket is withdrawn.
        """
        self._check(new)
        ticket = new_ticket(self._enrolling.entropy)
        with self._decider.under_way(caller):
            issued = await self._decider.decide(caller, Issue(self._enrolling, operator, new, sha256(ticket)))
        if issued is None:
            raise Missing
        url = f"{self._enrolling.deployment.issuer}{PAGE}?ticket={ticket}"
        if issued.address:
            await self._send(issued, url, new)
        return IssuedTicket(ticket, url, issued.ticket.expires_at)

    async def _send(self, issued: Issued, url: str, new: NewTicket) -> None:
        until = datetime.fromtimestamp(issued.ticket.expires_at / SECOND, UTC)
        letter = Message(
            EMAIL,
            issued.address,
            purpose=Purpose.ENROLL,
            languages=new.languages,
            facts={"time": f"{until:%Y-%m-%d %H:%M} UTC"},
            link=url,
        )
        try:
            await self._sender.send(letter)
        except CofactorError:
            await self._records.change(tickets.withdraw, issued.ticket)
            raise

    def _check(self, new: NewTicket) -> None:
        credentials = self._enrolling.credentials
        if any(kind == RECOVERY_CODE or credentials.factor(kind) is None for kind in new.kinds):
            raise FactorDisabled
        if not new.send_mail:
            return
        if self._enrolling.deployment.strict:
            raise InvalidRequest(violations=(("send_mail", "is not served here: a ticket never goes by mail"),))
        if not self._sender.carries(EMAIL):
            raise InvalidRequest(violations=(("send_mail", "is not served here: nothing carries mail"),))
        if new.email:
            credentials.known(EMAIL).enroll(Account("", "", ""), new.email, {})
