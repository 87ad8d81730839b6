"""Checks what a challenge is bound to, and activates an authenticator once it is proven (ADR-2 and ADR-3)."""

from cofactor_server.domain.authenticators.authenticator import (
    ACTIVE_CODE_AUTHENTICATORS,
    Authenticator,
    State,
    enrolled,
    held,
)
from cofactor_server.domain.authenticators.kinds import RECOVERY_CODE
from cofactor_server.domain.authenticators.proofs import Purpose
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState
from cofactor_server.domain.foundation.events import EventName, NoticeName
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.login import Login
from cofactor_server.errors import CofactorError, TooManyAuthenticators
from cofactor_server.services.proofs.credentials import linked, remove
from cofactor_server.services.proofs.verification import NotProven, Proven
from cofactor_server.services.transactions.audit import Trail
from cofactor_server.store.transactions.work import Work


def bound(work: Work, login: Login, challenge_id: str, now: int) -> tuple[Challenge, Authenticator] | None:
    """Return a challenge and its authenticator if everything the challenge is bound to is unchanged; else None.

    The result is None, too, if the login's user has no such challenge: a caller can't tell the two cases apart (ADR-2).

    Args:
        work: The transaction; the caller holds the user's lock.
        login: The login that answers or redeems the challenge.
        challenge_id: The challenge.
        now: Microseconds since the Unix epoch.
    """
    challenge = work.challenge(login.user_id, challenge_id)
    authenticator = _bound(work, login, challenge, now) if challenge is not None else None
    return (challenge, authenticator) if challenge is not None and authenticator is not None else None


def _bound(work: Work, login: Login, challenge: Challenge, now: int) -> Authenticator | None:
    if (challenge.client_id, challenge.login_id, challenge.epoch) != (login.client_id, login.id, login.epoch):
        return None
    mine = work.authenticators(login.user_id)
    found = next((a for a in mine if a.id == challenge.authenticator_id), None)
    if found is None:
        return None
    match challenge.state:
        case ChallengeState.REDEEMED:
            # Its authenticator may be in any state by now: the caller answers "expired", not "malformed".
            return found
        case ChallengeState.APPROVED:
            # The approval activated a pending authenticator.
            return found if found.usable() else None
    entitled = Purpose.ENROLL if login.by_access_token or not enrolled(mine) else Purpose.LOGIN
    if challenge.purpose is not entitled and challenge.state is ChallengeState.PENDING:
        return None
    return found if answers_for(found, login, challenge.purpose, now) else None


def answers_for(authenticator: Authenticator, login: Login, purpose: Purpose, now: int) -> bool:
    """Whether an authenticator may answer: an active one to log in, the login's own pending one to enroll."""
    if purpose is Purpose.ENROLL:
        return authenticator.pending_for(login.id, now)
    return authenticator.usable()


def activated(work: Work, verdict: Proven | NotProven, trail: Trail, now: int) -> CofactorError | None:
    """Activate a proven authenticator that is pending; return a refusal if that is not possible, else None."""
    if isinstance(verdict, Proven) and verdict.authenticator.state is State.PENDING:
        return activate(work, verdict.authenticator, trail, now)
    return None


def activate(work: Work, authenticator: Authenticator, trail: Trail, now: int) -> CofactorError | None:
    """Activate a pending authenticator, and the recovery code that was issued with it (ADR-3).

    The first activation removes every other pending authenticator and recovery code of the user: an attacker may have
    enrolled one in the meantime, and wait for the owner to confirm it.

    Args:
        work: The transaction; the caller holds the user's lock.
        authenticator: The authenticator that was proven.
        trail: The login that proved it.
        now: Microseconds since the Unix epoch.

    Returns:
        A refusal if the user has as many authenticators as allowed; None otherwise.
    """
    mine = work.authenticators(authenticator.user_id)
    if held(mine) >= ACTIVE_CODE_AUTHENTICATORS:
        return TooManyAuthenticators()
    first = not enrolled(mine)
    user = work.user(authenticator.user_id)
    if first and user is not None and user.enrollment is not None:
        # An operator's enrollment setting after a reset applies to this enrollment alone (ADR-3).
        work.save_user(replace(user, enrollment=None))
    has_recovery_code = any(a.kind == RECOVERY_CODE and a.usable() for a in mine)
    together = {a.id for a in linked(work, authenticator)}
    for a in mine:
        mine_of_login = a.kind == RECOVERY_CODE and a.pending_for(trail.login_id, now)
        if a.id in together or (mine_of_login and (first or not has_recovery_code)):
            work.save_authenticator(replace(a, state=State.ACTIVE, confirmed_at=now, login_id=""))
        elif first and (a.state is State.PENDING or a.kind == RECOVERY_CODE):
            remove(work, a, now, trail.login_id)
    work.record(trail.event(EventName.AUTHENTICATOR_ADDED, now, authenticator.id))
    work.notify(trail.notice(NoticeName.AUTHENTICATOR_ADDED, now, authenticator.id))
    return None
