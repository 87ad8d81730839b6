"""Which prompts wait for devices that listen: one query for all."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from cofactor_server.domain.challenges.challenge import Challenge
from cofactor_server.store.transactions import rows
from cofactor_server.store.transactions.statements import Statements

Name = tuple[str, str]
"""The ids of a user and of a device's authenticator."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A device, and the challenges that wait for it, as they were at one moment. Nothing is decided upon it."""

    usable: bool
    """Whether the device is still the user's, and the user not blocked."""
    challenges: tuple[Challenge, ...]


def waiting(connection: Connection, statements: Statements, names: Collection[Name]) -> dict[Name, Waiting]:
    """Return what waits for each of the named devices; those that do not exist are not usable."""
    statement, _ = statements.prompted
    found = connection.exec_driver_sql(statement.sql, statement.arguments(statements.pairs(names)))
    usable: dict[Name, bool] = {}
    challenges: dict[Name, list[Challenge]] = {}
    for row in found:
        name = row.named_user, row.named_id
        usable[name] = bool(row.usable)
        if row.id is not None and row.spent_token is None:
            challenges.setdefault(name, []).append(rows.challenge(row))
    return {
        name: Waiting(usable.get(name, False), tuple(sorted(challenges.get(name, ()), key=lambda c: c.created_at)))
        for name in names
    }


def prompted(connection: Connection, statements: Statements, names: Collection[Name]) -> list[Name]:
    """Return those of the named devices for which something waits, or that are not usable any more."""
    _, statement = statements.prompted
    found = connection.exec_driver_sql(statement.sql, statement.arguments(statements.pairs(names)))
    return [(row.user_id, row.id) for row in found]
