"""Enrollment by ticket: the holder inspects the ticket, begins an enrollment, confirms it (ADR-3)."""

from cofactor_server.domain.authenticators.authenticator import enrolled
from cofactor_server.domain.authenticators.proofs import Code, PublicKeyCredential
from cofactor_server.domain.authenticators.tickets import Confirmed, EnrollmentTicket, TicketOffer, Waiting, masked
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.foundation.budgets import SOURCE_TICKETS, Charge
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.requests import Enrolled, EnrollmentRequest
from cofactor_server.errors import AlreadyEnrolled, EnrollmentGone, FactorDisabled, TicketInvalid, TooManyRequests
from cofactor_server.seams import SECOND
from cofactor_server.services.authenticators.confirmation import Begun, Confirm
from cofactor_server.services.authenticators.enrollment import Enrolling
from cofactor_server.services.authenticators.management import Authenticators
from cofactor_server.services.proofs.oob_codes import OobCodes
from cofactor_server.services.proofs.verification import Guessing
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.queries import Records
from cofactor_server.services.transactions.validity import user_refusal
from cofactor_server.store.repositories import budgets, queries, tickets
from cofactor_server.vault.digests import sha256
from cofactor_server.vault.keyring import SealBroken
from cofactor_server.vault.tokens import TokenSealer

PURPOSE = "enrollment"
_BETWEEN = "\n"


class Tickets:
    """Serves holders of a ticket."""

    def __init__(
        self,
        *,
        enrolling: Enrolling,
        guessing: Guessing,
        authenticators: Authenticators,
        oob_codes: OobCodes,
        sealer: TokenSealer,
        records: Records,
        decider: Decider,
    ) -> None:
        self._enrolling = enrolling
        self._guessing = guessing
        self._authenticators = authenticators
        self._oob_codes = oob_codes
        self._sealer = sealer
        self._records = records
        self._decider = decider

    async def offer(self, caller: Caller, ticket: str) -> TicketOffer:
        """Return what a ticket is for, without using it up.

        Raises:
            TicketInvalid: The ticket is invalid; the reason is not disclosed.
            AlreadyEnrolled: The ticket is for a first authenticator, and the user has one.
            TooManyRequests: The caller's source has presented too many tickets that were never issued.
        """
        found = await self._presented(caller, ticket)
        account = await self._records.read(queries.account, found.user_id, found.id)
        over = found.expired(self._enrolling.clock.now())
        if account is None or account.spent or over or user_refusal(account.user, found.epoch):
            raise TicketInvalid
        if enrolled(account.authenticators) and not found.several:
            raise AlreadyEnrolled
        return TicketOffer(
            issuer_label=self._enrolling.deployment.friendly_name,
            user_label=masked(account.user.shown_label),
            kinds=tuple(kind for kind in self._enrolling.credentials.kinds if found.takes(kind)),
            expires_at=found.expires_at,
        )

    async def begin(self, caller: Caller, ticket: str, request: EnrollmentRequest) -> tuple[str, Enrolled]:
        """Begin an enrollment, as `Authenticators.enroll` does.

        Returns:
            A sealed reference to the enrollment, and what the client must show to the user.

        Raises:
            TicketInvalid: The ticket is invalid; the reason is not disclosed.
            FactorDisabled: The ticket is not for this kind, or the kind is switched off.
            CofactorError: As `offer` and `Authenticators.enroll` raise.
        """
        found = await self._presented(caller, ticket)
        if not found.takes(request.kind):
            raise FactorDisabled
        made = await self._authenticators.enroll(replace(caller, ticket=found), request)
        challenge_id = self._oob_codes.open(made.oob_code) if made.oob_code else ""
        named = _BETWEEN.join((made.authenticator.id, challenge_id))
        return self._sealer.seal(PURPOSE, named.encode()), made

    async def confirm(
        self, caller: Caller, ticket: str, enrollment: str, proof: Code | PublicKeyCredential | None
    ) -> Confirmed | Waiting:
        """Confirm an enrollment with its first right answer, which uses up the ticket.

        Args:
            caller: The holder of the ticket.
            ticket: The ticket as presented.
            enrollment: The reference that `begin` returned.
            proof: The answer; None if a device answers.

        Raises:
            TicketInvalid: The ticket is invalid; the reason is not disclosed.
            EnrollmentGone: No enrollment of this ticket is pending under that reference.
            SlowDown: The caller polled too soon for the device's answer.
            CofactorError: The answer is wrong, or was refused before verification.
        """
        found = await self._presented(caller, ticket)
        decision = Confirm(self._enrolling, self._guessing, found, caller.source, self._opened(enrollment), proof)
        holder = replace(caller, ticket=found)
        with self._decider.under_way(holder):
            return await self._decider.decide(holder, decision)

    def _opened(self, enrollment: str) -> Begun:
        try:
            authenticator_id, challenge_id = self._sealer.open(PURPOSE, enrollment).decode().split(_BETWEEN)
        except (SealBroken, ValueError):
            raise EnrollmentGone from None
        return Begun(authenticator_id, challenge_id)

    async def _presented(self, caller: Caller, ticket: str) -> EnrollmentTicket:
        """Return a ticket that was issued at some time, valid or not.

        A ticket that was never issued counts against the rate limit of its source. Tickets can't be guessed (S36); this
        bounds how often a source tries.
        """
        found = await self._records.read(tickets.presented, sha256(ticket))
        if found is not None:
            return found
        if caller.source:
            charge = Charge(f"ticket-source:{caller.source}", "tickets-of-source", SOURCE_TICKETS)
            now = self._enrolling.clock.now()
            taken = await self._records.change(budgets.take, [charge], now)
            if isinstance(taken, budgets.Empty):
                bucket, wait = charge.bucket, charge.bucket.wait(taken.full_at, now)
                raise TooManyRequests(retry_after=wait / SECOND, quota=bucket.quota(charge.name, taken.full_at, now))
        raise TicketInvalid
