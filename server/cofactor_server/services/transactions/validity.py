"""Whether the user and client behind a token still stand behind it (ADR-7)."""

from collections.abc import Iterable

from cofactor_server.domain.authenticators.endings import gone_of
from cofactor_server.domain.authenticators.tickets import EnrollmentTicket
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.parties.users import User
from cofactor_server.errors import (
    CofactorError,
    InvalidClient,
    MfaTokenExpired,
    MfaTokenForeign,
    MfaTokenStale,
    TicketInvalid,
    UserBlocked,
)
from cofactor_server.store.transactions.work import Work


def user_refusal(user: User | None, epoch: int) -> CofactorError | None:
    """Return why a token of this epoch is not good for the user any more; None if it is."""
    if user is None or user.epoch != epoch:
        return MfaTokenStale()
    return UserBlocked() if user.blocked else None


def sign_out(work: Work, user_id: str) -> None:
    """End every token of a locked user that was issued so far (ADR-7)."""
    user = work.user(user_id)
    if user is not None:
        work.save_user(replace(user, epoch=user.epoch + 1))


def ticket_refusal(work: Work, ticket: EnrollmentTicket, now: int) -> TicketInvalid | None:
    """Return that a ticket is no good any more, read under the user's lock, and never why; None if it is good."""
    over = ticket.expired(now) or work.is_spent(ticket.user_id, ticket.id)
    return TicketInvalid() if over or user_refusal(work.user(ticket.user_id), ticket.epoch) else None


def client_refusal(work: Work, client: Client) -> CofactorError | None:
    """Return why a client that authenticated a moment ago is refused after all; None if it is not.

    Clients are remembered for some seconds; what is decided is decided on how the client is now.
    """
    return None if work.client(client.id) == client else InvalidClient()


def still_opened(work: Work, user_id: str, token_id: str, opened_by: Iterable[str]) -> bool:
    """Whether what a token rests on is still there, read under the user's lock (`domain.ending`).

    A token goes on after it removed what it came from itself: who replaces a telephone need not log in anew for the
    rest. It lasts ten minutes, and nobody has gained anything by the removal.

    Args:
        work: With the user's authenticators.
        user_id: The user.
        token_id: Of the mfa_token, or the access token's jti.
        opened_by: Ids of the authenticators that it came from.
    """
    gone = gone_of(opened_by, work.authenticators(user_id))
    return not gone or gone <= work.removed_by(user_id, token_id)


def party_refusal(work: Work, login: Login, client: Client | None) -> CofactorError | None:
    """Return why client, user or what was shown does not stand behind a login any more; None if all do."""
    if client is not None:
        if client.id != login.client_id:
            return MfaTokenForeign()
        if refusal := client_refusal(work, client):
            return refusal
    if refusal := user_refusal(work.user(login.user_id), login.epoch):
        return refusal
    return None if still_opened(work, login.user_id, login.id, login.rests_on) else MfaTokenStale()


def login_refusal(work: Work, login: Login, client: Client | None, now: int) -> CofactorError | None:
    """Return why a login can't go on, read under the user's lock; None if it can."""
    return party_refusal(work, login, client) or token_refusal(work, login, now)


def token_refusal(work: Work, login: Login, now: int) -> CofactorError | None:
    """Return why a login's token is used up or over; None if it is good."""
    if work.is_spent(login.user_id, login.id):
        return MfaTokenStale()
    return MfaTokenExpired() if login.expired(now) else None
