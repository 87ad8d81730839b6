"""Deletes rows whose time is long over, a thousand a transaction."""

from typing import Any

from sqlalchemy import Connection, Delete, and_, delete, or_, select, tuple_

from cofactor_server.domain.authenticators.authenticator import PENDING_LIFE, State
from cofactor_server.domain.foundation.budgets import KNOWN_SOURCE_LIFE
from cofactor_server.seams import DAY, MINUTE, id_in_order_before
from cofactor_server.store import tables as t

ROWS = 1_000
"""A transaction's worth, so that nobody waits long for its locks."""
LONGEST_WINDOW = DAY
"""For which a message to a number that nobody had verified can count."""
GRACE = 15 * MINUTE
"""How long past its time a row is kept, for replicas whose clocks differ (ADR-24)."""


def prune(connection: Connection, now: int, events_retention: int) -> int:
    """Delete up to `ROWS` rows of each table; return how many went.

    What is bound stays: of authenticators only those that nobody ever confirmed are deleted (S33).

    Args:
        connection: In a transaction.
        now: Microseconds since the Unix epoch.
        events_retention: How long events are kept, in microseconds; 0 keeps them for ever.
    """
    before = now - GRACE
    a = t.authenticators.c
    never_confirmed = and_(
        a.confirmed_at.is_(None),
        or_(a.state == State.REMOVED, a.state == State.PENDING),
        a.created_at < before - PENDING_LIFE,
    )
    expired = [
        (t.spent, t.spent.c.expires_at < before),
        (t.browsers, t.browsers.c.expires_at < before),
        (t.tickets, t.tickets.c.expires_at < before),
        (t.outcomes, t.outcomes.c.expires_at < before),
        (t.challenges, t.challenges.c.expires_at < before),
        (t.refresh_families, t.refresh_families.c.expires_at < before),
        (t.sources, t.sources.c.seen_at < before - KNOWN_SOURCE_LIFE),
        (t.source_budgets, t.source_budgets.c.full_at < before),
        (t.budgets, t.budgets.c.full_at < before),
        (t.phone_enrollments, t.phone_enrollments.c.sent_at < before - LONGEST_WINDOW),
        (t.authenticators, never_confirmed),
        (t.signing_keys, t.signing_keys.c.retire_at < before),  # one without that time stays
    ]
    statements = [_some(table, condition) for table, condition in expired]
    if events_retention:
        statements.append(_oldest_events(connection, before - events_retention))
    return sum(connection.execute(statement).rowcount for statement in statements)


def _oldest_events(connection: Connection, before: int) -> Delete:
    """Return what deletes events of before an instant, found by what each engine has in the order of time."""
    e = t.events.c
    if connection.dialect.name == "sqlite":
        return _some(t.events, e.id < id_in_order_before(before), e.id)
    return _some(t.events, e.time < before, e.time)


def _some(table: Any, condition: Any, *order: Any) -> Delete:
    key = list(table.primary_key.columns)
    chosen = select(*key).where(condition).order_by(*order).limit(ROWS)
    return delete(table).where((tuple_(*key) if len(key) > 1 else key[0]).in_(chosen))
