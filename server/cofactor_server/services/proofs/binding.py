"""What a challenge is bound to, and what a good proof makes of the authenticator it was for (ADR-2 and ADR-3)."""

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
    """Return a challenge and its authenticator if everything it was bound to is as it was; None otherwise.

    None too where there is no such challenge of this login's user: the answer is the same (ADR-2).
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
            # Its authenticator may be of any state by now: the answer is "expired", not "malformed".
            return found
        case ChallengeState.APPROVED:
            # The approval made a pending one active.
            return found if found.usable() else None
    entitled = Purpose.ENROLL if login.by_access_token or not enrolled(mine) else Purpose.LOGIN
    if challenge.purpose is not entitled and challenge.state is ChallengeState.PENDING:
        return None
    return found if answers_for(found, login, challenge.purpose, now) else None


def answers_for(authenticator: Authenticator, login: Login, purpose: Purpose, now: int) -> bool:
    """Whether an authenticator may answer for this login: an active one to log in, the login's own to enroll."""
    if purpose is Purpose.ENROLL:
        return authenticator.pending_for(login.id, now)
    return authenticator.usable()


def activated(work: Work, verdict: Proven | NotProven, trail: Trail, now: int) -> CofactorError | None:
    """Make what was proven active if it is pending, and return why it can't be; None if all is well."""
    if isinstance(verdict, Proven) and verdict.authenticator.state is State.PENDING:
        return activate(work, verdict.authenticator, trail, now)
    return None


def activate(work: Work, authenticator: Authenticator, trail: Trail, now: int) -> CofactorError | None:
    """Make a pending authenticator active, and its recovery code with it (ADR-3).

    The first activation removes every other pending authenticator and recovery code of the user: what somebody else
    enrolled in the meantime, and waits for the owner to confirm, is gone.

    Returns:
        A refusal where the user holds as many authenticators as allowed; None otherwise.
    """
    mine = work.authenticators(authenticator.user_id)
    if held(mine) >= ACTIVE_CODE_AUTHENTICATORS:
        return TooManyAuthenticators()
    first = not enrolled(mine)
    user = work.user(authenticator.user_id)
    if first and user is not None and user.enrollment is not None:
        # What an operator said after a reset was about this enrollment, and no other (ADR-3).
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
