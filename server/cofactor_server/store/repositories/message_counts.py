"""What messages are counted in: shared budgets, and the ranges of the numbers that are being enrolled."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, func, select

from cofactor_server.domain.foundation.budgets import Charge, Pumping
from cofactor_server.domain.foundation.events import Event
from cofactor_server.store import tables as t
from cofactor_server.store.repositories import accounts, budgets
from cofactor_server.store.repositories.budgets import Empty, Taken
from cofactor_server.store.transactions.statements import inserting

_SENT, _HELD = t.phone_enrollments.c, t.authenticators.c
_LATELY = (
    select(func.count(), func.count(_HELD.confirmed_at), func.min(_SENT.sent_at))
    .select_from(
        t.phone_enrollments.outerjoin(
            t.authenticators, and_(_HELD.user_id == _SENT.user_id, _HELD.id == _SENT.authenticator_id)
        )
    )
    .where(_SENT.prefix == bindparam("prefix"), _SENT.sent_at > bindparam("since"))
)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The prefix gets no more: microseconds until the first message that counts no longer does."""

    wait: int


def take(
    connection: Connection, charges: Sequence[Charge], stopped: Event, prefix: str, pumping: Pumping, now: int
) -> Taken | Empty | Stopped:
    """Take one from each budget, and count the message for its prefix; or do neither.

    Args:
        connection: Of the transaction.
        charges: In an order that every caller keeps.
        stopped: What is recorded where the prefix is stopped; it names user and authenticator.
        prefix: Of the number that is being enrolled; empty for none.
        pumping: When a prefix is stopped.
        now: Microseconds since the Unix epoch.
    """
    taken = budgets.take(connection, charges, now)
    if isinstance(taken, Empty) or not prefix:
        return taken
    refused = _count(connection, stopped.user_id, stopped.authenticator_id, prefix, pumping, now)
    if refused is None:
        return taken
    budgets.give_back(connection, charges)
    accounts.record(connection, stopped)
    return refused


def _count(
    connection: Connection, user_id: str, authenticator_id: str, prefix: str, pumping: Pumping, now: int
) -> Stopped | None:
    """Count a message to a number that is being enrolled, unless its prefix is stopped.

    What was verified is read where it stands anyway, so that no login pays for this. Whoever takes from a client's
    budget waits for its row: of the messages of one client none is overlooked, of those that other clients cause in
    the same instant one each may be.
    """
    since = now - pumping.window
    sent, verified, first = connection.execute(_LATELY, {"prefix": prefix, "since": since}).one()
    if pumping.stops(sent, verified):
        return Stopped(first - since)
    row = {"user_id": user_id, "authenticator_id": authenticator_id, "prefix": prefix, "sent_at": now}
    connection.execute(inserting(connection.dialect.name)(t.phone_enrollments).values(row).on_conflict_do_nothing())
    return None
