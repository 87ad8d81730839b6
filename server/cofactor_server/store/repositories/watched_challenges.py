"""Where challenges stand, for those who watch them: one query for all."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from cofactor_server.domain.authenticators.authenticator import State
from cofactor_server.domain.challenges.challenge import Challenge
from cofactor_server.store.transactions import rows
from cofactor_server.store.transactions.statements import Statements

Name = tuple[str, str]
"""The ids of a user and of a challenge."""


@dataclass(frozen=True, slots=True)
class Stand:
    """A challenge and what it depends on, as they were at one moment. Nothing is decided upon it."""

    challenge: Challenge
    epoch: int | None
    """The user's; None where there is no such user."""
    blocked: bool
    authenticator: State | None
    authenticator_login_id: str
    authenticator_created_at: int
    spent: bool
    """Whether the login that the challenge was made for is over."""
    client_known: bool


def standing(connection: Connection, statements: Statements, names: Collection[Name]) -> dict[Name, Stand]:
    """Return where the named challenges stand; those that do not exist are left out."""
    statement, _ = statements.watched
    found = connection.exec_driver_sql(statement.sql, statement.arguments(statements.pairs(names)))
    return {
        (row.named_user, row.named_id): Stand(
            challenge=rows.challenge(row),
            epoch=row.user_epoch,
            blocked=bool(row.user_blocked),
            authenticator=State(row.authenticator_state) if row.authenticator_state else None,
            authenticator_login_id=row.authenticator_login_id or "",
            authenticator_created_at=row.authenticator_created_at or 0,
            spent=row.spent_token is not None,
            client_known=row.known_client is not None,
        )
        for row in found
        if row.id is not None
    }


def doubtful(connection: Connection, statements: Statements, names: Collection[Name]) -> list[Name]:
    """Return those of the named challenges that somebody answered, or that something they depend on has left."""
    _, statement = statements.watched
    found = connection.exec_driver_sql(statement.sql, statement.arguments(statements.pairs(names)))
    return [(row.user_id, row.id) for row in found]
