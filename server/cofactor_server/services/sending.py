"""How many messages one user is sent, whoever asks for them (contract section 8)."""

from dataclasses import replace

from cofactor_server.domain.budgets import EMAIL_SENDS, PHONE_SENDS
from cofactor_server.domain.factor_kinds import EMAIL, PHONE_KINDS
from cofactor_server.domain.proofs import Kind
from cofactor_server.domain.users import User
from cofactor_server.errors import TooManyMessages
from cofactor_server.seams import SECOND
from cofactor_server.store.work import Work


def charge(work: Work, user: User, kind: Kind, now: int) -> TooManyMessages | None:
    """Take one message of a kind from the budget of a locked user, before anything else is written.

    Returns:
        A refusal where the budget is empty; None where the message may be sent, or the kind sends none of these.
    """
    if kind in PHONE_KINDS:
        if wait := PHONE_SENDS.wait(user.phone_full_at, now):
            return TooManyMessages(retry_after=wait / SECOND)
        work.save_user(replace(user, phone_full_at=PHONE_SENDS.charged(user.phone_full_at, now)))
    elif kind == EMAIL:
        if wait := EMAIL_SENDS.wait(user.email_full_at, now):
            return TooManyMessages(retry_after=wait / SECOND)
        work.save_user(replace(user, email_full_at=EMAIL_SENDS.charged(user.email_full_at, now)))
    return None
