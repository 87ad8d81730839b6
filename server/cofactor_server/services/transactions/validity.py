"""Checks that a token's user and client are still valid (ADR-7)."""

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
    """Return why a token of this epoch is no longer valid for its user; None if it is valid."""
    if user is None or user.epoch != epoch:
        return MfaTokenStale()
    return UserBlocked() if user.blocked else None


def sign_out(work: Work, user_id: str) -> None:
    """Invalidate every token issued to a user so far; the caller holds the user's lock (ADR-7)."""
    user = work.user(user_id)
    if user is not None:
        work.save_user(replace(user, epoch=user.epoch + 1))


def ticket_refusal(work: Work, ticket: EnrollmentTicket, now: int) -> TicketInvalid | None:
    """Return a refusal if a ticket is invalid; None if it is valid. The refusal does not disclose the reason.

    The caller holds the user's lock.
    """
    over = ticket.expired(now) or work.is_spent(ticket.user_id, ticket.id)
    return TicketInvalid() if over or user_refusal(work.user(ticket.user_id), ticket.epoch) else None


def client_refusal(work: Work, client: Client) -> CofactorError | None:
    """Return a refusal if a client changed since it authenticated; None if it did not.

    Authentication uses a cache with a TTL of some seconds. A decision must rest on the client as it is stored now.
    """
    return None if work.client(client.id) == client else InvalidClient()


def still_opened(work: Work, user_id: str, token_id: str, opened_by: Iterable[str]) -> bool:
    """Check that the authenticators behind a token still exist (`domain.authenticators.endings`).

    The caller holds the user's lock. A token stays valid after it removes such an authenticator itself: a user who
    replaces a telephone need not log in again for the rest. The token lasts ten minutes, and an attacker gains
    nothing by the removal.

    Args:
        work: The transaction, with the user's authenticators.
        user_id: The user.
        token_id: The id of the mfa_token, or the access token's jti.
        opened_by: Ids of the authenticators that the user showed to get the token.
    """
    gone = gone_of(opened_by, work.authenticators(user_id))
    return not gone or gone <= work.removed_by(user_id, token_id)


def party_refusal(work: Work, login: Login, client: Client | None) -> CofactorError | None:
    """Return why a login's client, user or authenticators are no longer valid; None if all of them are."""
    if client is not None:
        if client.id != login.client_id:
            return MfaTokenForeign()
        if refusal := client_refusal(work, client):
            return refusal
    if refusal := user_refusal(work.user(login.user_id), login.epoch):
        return refusal
    return None if still_opened(work, login.user_id, login.id, login.rests_on) else MfaTokenStale()


def login_refusal(work: Work, login: Login, client: Client | None, now: int) -> CofactorError | None:
    """Return why a login can't continue; None if it can. The caller holds the user's lock."""
    return party_refusal(work, login, client) or token_refusal(work, login, now)


def token_refusal(work: Work, login: Login, now: int) -> CofactorError | None:
    """Return a refusal if a login's token is spent or expired; None if it is valid."""
    if work.is_spent(login.user_id, login.id):
        return MfaTokenStale()
    return MfaTokenExpired() if login.expired(now) else None
