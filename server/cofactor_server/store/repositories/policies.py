"""An operator's rules, as they are stored: few, read all at once."""

import json
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, delete, insert, select

from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.logins.policies import Rule
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.store import tables as t


def add(connection: Connection, rule: Rule) -> None:
    """Add a rule with a new id."""
    attributes = {
        "ask": rule.ask,
        "client_id": rule.client_id,
        "user_id": rule.user_id,
        "audience": rule.audience,
        "scope": rule.scope,
        "level": rule.level,
        "two_kinds": rule.two_kinds,
        "max_age": rule.max_age,
    }
    if rule.keep_one:  # left out otherwise, so that replicas of the version before read the others
        attributes["keep_one"] = True
    row = {"id": rule.id, "created_at": rule.created_at, "attributes": json.dumps(attributes)}
    connection.execute(insert(t.policies).values(row))


def every(connection: Connection) -> tuple[Rule, ...]:
    """Return every rule, the oldest first."""
    found = connection.execute(select(t.policies).order_by(t.policies.c.created_at, t.policies.c.id))
    return tuple(_rule(row.id, row.created_at, json.loads(row.attributes)) for row in found)


def remove(connection: Connection, rule_id: str) -> bool:
    """Remove a rule; return whether there was one."""
    return bool(connection.execute(delete(t.policies).where(t.policies.c.id == rule_id)).rowcount)


def replace(connection: Connection, replaced: Callable[[Rule], bool], rules: Sequence[Rule]) -> None:
    """Put `rules` in the place of those that `replaced` picks."""
    gone = [rule.id for rule in every(connection) if replaced(rule)]
    connection.execute(delete(t.policies).where(t.policies.c.id.in_(gone)))
    for rule in rules:
        add(connection, rule)


def _rule(rule_id: str, created_at: int, attributes: dict[str, object]) -> Rule:
    said = {**attributes, "ask": MfaPolicy(str(attributes["ask"])), "level": Level(int(str(attributes["level"])))}
    return Rule(id=rule_id, created_at=created_at, **said)  # type: ignore[arg-type]
