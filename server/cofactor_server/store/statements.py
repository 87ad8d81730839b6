"""The statements of a deciding transaction, built once per engine: ids travel in one parameter."""

import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Select, Text, any_, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from cofactor_server.store import tables as t


class Statements:
    """Statements for one engine.

    Args:
        dialect: SQLAlchemy's name of the engine, `sqlite` or `postgresql`.
    """

    def __init__(self, dialect: str) -> None:
        self._array = dialect == "postgresql"
        self.skips_locked = self._array
        among = self._among
        upsert = postgresql.insert if self._array else sqlite.insert
        users = select(t.users).where(among(t.users.c.id, "users")).order_by(t.users.c.id)
        self.lock_users = users.with_for_update(key_share=True)
        self.lock_free_users = users.with_for_update(key_share=True, skip_locked=True)
        self.clients = select(t.clients).where(among(t.clients.c.id, "clients"))
        self.authenticators = select(t.authenticators).where(
            among(t.authenticators.c.user_id, "users"), t.authenticators.c.state != "removed"
        )
        self.challenges = self._owned(t.challenges, t.challenges.c.id)
        self.pending_challenges = select(t.challenges).where(
            among(t.challenges.c.user_id, "users"), t.challenges.c.state == "pending"
        )
        self.spent = self._owned(t.spent, t.spent.c.token_id)
        self.sources = self._owned(t.sources, t.sources.c.source)
        self.families = self._owned(t.refresh_families, t.refresh_families.c.id)
        self.outcomes = self._owned(t.outcomes, t.outcomes.c.request_id)
        self.source_budgets = select(t.source_budgets).where(among(t.source_budgets.c.source, "rows"))

        self.insert_authenticators = insert(t.authenticators)
        self.insert_challenges = insert(t.challenges)
        self.insert_families = insert(t.refresh_families)
        self.insert_spent = insert(t.spent)
        self.insert_events = insert(t.events)
        self.insert_notices = insert(t.notices)
        self.update_users = _update(t.users, "id")
        self.update_authenticators = _update(t.authenticators, "user_id", "id")
        self.update_challenges = _update(t.challenges, "user_id", "id")
        self.update_families = _update(t.refresh_families, "user_id", "id")
        seen = upsert(t.sources)
        self.upsert_sources = seen.on_conflict_do_update(
            index_elements=["user_id", "source"], set_={"seen_at": seen.excluded.seen_at}
        )
        # A row that is over stands until it is pruned, and its request id may come again before that.
        outcome = upsert(t.outcomes)
        self.upsert_outcomes = outcome.on_conflict_do_update(
            index_elements=["user_id", "client_id", "request_id"],
            set_={name: outcome.excluded[name] for name in ("request_sha256", "issue", "expires_at")},
        )
        # A source's budget is shared by users, so no user's lock guards it: the charge is one atomic addition.
        start = func.greatest if self._array else func.max
        charge = upsert(t.source_budgets).values(
            source=bindparam("source"),
            full_at=bindparam("now", type_=BigInteger) + bindparam("refill", type_=BigInteger),
        )
        self.charge_sources = charge.on_conflict_do_update(
            index_elements=["source"],
            set_={
                "full_at": start(t.source_budgets.c.full_at, bindparam("now", type_=BigInteger))
                + bindparam("refill", type_=BigInteger)
            },
        )

    def ids(self, values: Collection[str]) -> Any:
        """Return `values` as the one parameter that `_among` binds."""
        return sorted(values) if self._array else json.dumps(sorted(values))

    def _among(self, column: ColumnElement[str], name: str) -> ColumnElement[bool]:
        if self._array:
            return column == any_(bindparam(name, type_=ARRAY(Text)))
        each = func.json_each(bindparam(name, type_=Text)).table_valued("value")
        return column.in_(select(each.c.value))

    def _owned(self, table: Any, column: ColumnElement[str]) -> Select[Any]:
        return select(table).where(self._among(table.c.user_id, "users"), self._among(column, "rows"))


def _update(table: Any, *key: str) -> Any:
    where = [table.c[name] == bindparam(f"key_{name}") for name in key]
    return update(table).where(*where).values({c.name: bindparam(c.name) for c in table.c if c.name not in key})
