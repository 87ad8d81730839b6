"""Enrollment tickets as they are looked up, and taken back."""

from sqlalchemy import Connection, bindparam, delete, select

from cofactor_server.domain.authenticators.tickets import EnrollmentTicket
from cofactor_server.store import tables as t
from cofactor_server.store.transactions import rows

_PRESENTED = select(t.tickets).where(t.tickets.c.sha256 == bindparam("sha256"))


def presented(connection: Connection, sha256: bytes) -> EnrollmentTicket | None:
    """Return the ticket with this hash, good or not; None if there is none. Nothing of it ever changes."""
    row = connection.execute(_PRESENTED, {"sha256": sha256}).first()
    return rows.ticket(row) if row else None


def withdraw(connection: Connection, ticket: EnrollmentTicket) -> None:
    """Take back a ticket that reached nobody."""
    c = t.tickets.c
    connection.execute(delete(t.tickets).where(c.user_id == ticket.user_id, c.id == ticket.id))
