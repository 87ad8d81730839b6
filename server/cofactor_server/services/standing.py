"""Whether the user and client behind a token still stand behind it (ADR-7)."""

from cofactor_server.domain.clients import Client
from cofactor_server.domain.logins import Login
from cofactor_server.domain.tickets import EnrollmentTicket
from cofactor_server.domain.users import User
from cofactor_server.errors import (
    CofactorError,
    InvalidClient,
    MfaTokenExpired,
    MfaTokenForeign,
    MfaTokenStale,
    TicketInvalid,
    UserBlocked,
)
from cofactor_server.store.work import Work


def user_refusal(user: User | None, epoch: int) -> CofactorError | None:
    """Return why a token of this epoch is not good for the user any more; None if it is."""
    if user is None or user.epoch != epoch:
        return MfaTokenStale()
    return UserBlocked() if user.blocked else None


def ticket_refusal(work: Work, ticket: EnrollmentTicket, now: int) -> TicketInvalid | None:
    """Return that a ticket is no good any more, read under the user's lock, and never why; None if it is good."""
    over = ticket.expired(now) or work.is_spent(ticket.user_id, ticket.id)
    return TicketInvalid() if over or user_refusal(work.user(ticket.user_id), ticket.epoch) else None


def client_refusal(work: Work, client: Client) -> CofactorError | None:
    """Return why a client that authenticated a moment ago is refused after all; None if it is not.

    Clients are remembered for some seconds; what is decided is decided on how the client is now.
    """
    return None if work.client(client.id) == client else InvalidClient()


def party_refusal(work: Work, login: Login, client: Client | None) -> CofactorError | None:
    """Return why the client or the user does not stand behind a login any more; None if both do."""
    if client is not None:
        if client.id != login.client_id:
            return MfaTokenForeign()
        if refusal := client_refusal(work, client):
            return refusal
    return user_refusal(work.user(login.user_id), login.epoch)


def login_refusal(work: Work, login: Login, client: Client | None, now: int) -> CofactorError | None:
    """Return why a login can't go on, read under the user's lock; None if it can."""
    return party_refusal(work, login, client) or token_refusal(work, login, now)


def token_refusal(work: Work, login: Login, now: int) -> CofactorError | None:
    """Return why a login's token is used up or over; None if it is good."""
    if work.is_spent(login.user_id, login.id):
        return MfaTokenStale()
    return MfaTokenExpired() if login.expired(now) else None
