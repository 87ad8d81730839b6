"""The statements of a deciding transaction, built once per engine: ids travel in one parameter."""

from collections.abc import Collection
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    exists,
    false,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import pysqlite

from cofactor_server.domain.authenticators.authenticator import State
from cofactor_server.domain.authenticators.proofs import Purpose
from cofactor_server.domain.challenges.challenge import ChallengeState
from cofactor_server.store import tables as t
from cofactor_server.store.transactions.driver import Prepared


def inserting(dialect: str) -> Any:
    """Return the INSERT of an engine that has ON CONFLICT, by SQLAlchemy's name of the engine."""
    if dialect != "postgresql":
        return sqlite.insert
    from sqlalchemy.dialects import postgresql

    return postgresql.insert


def _dialect(name: str) -> Any:
    if name != "postgresql":
        return pysqlite.dialect()
    from sqlalchemy.dialects.postgresql import asyncpg

    return asyncpg.dialect()  # type: ignore[no-untyped-call]


class Statements:
    """Statements for one engine.

    Args:
        dialect: SQLAlchemy's name of the engine, `sqlite` or `postgresql`.
    """

    def __init__(self, dialect: str) -> None:  # noqa: PLR0915 - a list of statements
        self._array = dialect == "postgresql"
        self.skips_locked = self._array
        among, owned = self._among, self._owned
        upsert = inserting(dialect)
        self._dialect = _dialect(dialect)

        def prepared(statement: Any) -> Prepared:
            return Prepared(statement, self._dialect)

        users = select(t.users).where(among(t.users.c.id, "users")).order_by(t.users.c.id)
        mine = among(t.authenticators.c.user_id, "users")
        unanswered = among(t.challenges.c.user_id, "users")
        self.lock_users = prepared(users.with_for_update(key_share=True))
        self.lock_free_users = prepared(users.with_for_update(key_share=True, skip_locked=True))
        self.clients = prepared(select(t.clients).where(among(t.clients.c.id, "clients")))
        self.authenticators = prepared(select(t.authenticators).where(mine, t.authenticators.c.state != "removed"))
        held = t.authenticators.c
        self.unique_holder = prepared(
            select(held.user_id, held.id).where(held.kind == bindparam("kind"), held.unique_ref == bindparam("unique"))
        )
        removed = held.login_id == bindparam("token_id"), held.state == State.REMOVED.value
        self.removed_by = prepared(select(held.id).where(held.user_id == bindparam("user_id"), *removed))
        self.lost_since = prepared(
            select(held.id).where(
                held.user_id == bindparam("user_id"),
                held.state == State.REMOVED.value,
                held.confirmed_at.is_not(None),
                held.removed_at >= bindparam("since", type_=BigInteger),
                held.login_id != bindparam("token_id"),
            )
        )
        kept, remembered = t.refresh_families.c, t.browsers.c
        self.opened_families = prepared(
            select(t.refresh_families).where(kept.user_id == bindparam("user_id"), kept.expires_at > bindparam("now"))
        )
        self.opened_browsers = prepared(
            select(t.browsers).where(
                remembered.user_id == bindparam("user_id"), remembered.expires_at > bindparam("now")
            )
        )
        self.challenges = prepared(owned(t.challenges, t.challenges.c.id))
        self.pending_challenges = prepared(select(t.challenges).where(unanswered, t.challenges.c.state == "pending"))
        self.spent = prepared(owned(t.spent, t.spent.c.token_id))
        self.browsers = prepared(owned(t.browsers, t.browsers.c.id))
        self.sources = prepared(owned(t.sources, t.sources.c.source))
        self.families = prepared(owned(t.refresh_families, t.refresh_families.c.id))
        self.outcomes = prepared(owned(t.outcomes, t.outcomes.c.request_id))
        self.source_budgets = prepared(select(t.source_budgets).where(among(t.source_budgets.c.source, "rows")))

        self.insert_authenticators = prepared(insert(t.authenticators))
        self.insert_challenges = prepared(insert(t.challenges))
        self.insert_families = prepared(insert(t.refresh_families))
        self.insert_browsers = prepared(insert(t.browsers))
        self.insert_tickets = prepared(insert(t.tickets))
        self.insert_spent = prepared(insert(t.spent))
        self.insert_events = prepared(insert(t.events))
        self.insert_notices = prepared(insert(t.notices))
        self.update_users = prepared(_update(t.users, "id"))
        # A column that is set is taken out of its index and put in again, changed or not: a page more for every login.
        self.update_authenticators = prepared(_update(t.authenticators, "user_id", "id", but=("kind", "unique_ref")))
        self.update_references = prepared(_update(t.authenticators, "user_id", "id"))
        self.update_challenges = prepared(_update(t.challenges, "user_id", "id"))
        self.update_families = prepared(_update(t.refresh_families, "user_id", "id"))
        seen = upsert(t.sources)
        self.upsert_sources = prepared(
            seen.on_conflict_do_update(index_elements=["user_id", "source"], set_={"seen_at": seen.excluded.seen_at})
        )
        # A row that is over stands until it is pruned, and its request id may come again before that.
        outcome = upsert(t.outcomes)
        self.upsert_outcomes = prepared(
            outcome.on_conflict_do_update(
                index_elements=["user_id", "client_id", "request_id"],
                set_={name: outcome.excluded[name] for name in ("request_sha256", "issue", "expires_at")},
            )
        )
        # A source's budget is shared by users, so no user's lock guards it: the charge is one atomic addition.
        start = func.greatest if self._array else func.max
        now, refill = bindparam("now", type_=BigInteger), bindparam("refill", type_=BigInteger)
        charge = upsert(t.source_budgets).values(source=bindparam("source"), full_at=now + refill)
        self.charge_sources = prepared(
            charge.on_conflict_do_update(
                index_elements=["source"], set_={"full_at": start(t.source_budgets.c.full_at, now) + refill}
            )
        )

    def pairs(self, values: Collection[tuple[str, str]]) -> dict[str, Any]:
        """Return pairs of a user's id and a row's as the parameters that `_each` binds."""
        if self._array:
            return {"users": [user for user, _ in values], "rows": [row for _, row in values]}
        return {"pairs": _json(list(values))}

    def ids(self, values: Collection[str]) -> Any:
        """Return `values` as the one parameter that `_among` binds."""
        return sorted(values) if self._array else _json(sorted(values))

    def _among(self, column: ColumnElement[str], name: str) -> ColumnElement[bool]:
        if self._array:
            return column == any_(bindparam(name, type_=ARRAY(Text)))
        each = func.json_each(bindparam(name, type_=Text)).table_valued("value")
        return column.in_(select(each.c.value))

    @cached_property
    def watched(self) -> tuple[Prepared, Prepared]:
        """Two statements: where named challenges stand, each with what it depends on, and which of them are in doubt.

        The names come first, so that a challenge that is gone is a row, too.
        """
        named = self._each()
        c, u, a = t.challenges.c, t.users.c, t.authenticators.c
        user_id, id_ = named.c.user_id, named.c.id
        joined = (
            named.outerjoin(t.challenges, and_(c.user_id == user_id, c.id == id_))
            .outerjoin(t.users, u.id == user_id)
            .outerjoin(t.authenticators, and_(a.user_id == user_id, a.id == c.authenticator_id))
            .outerjoin(t.spent, and_(t.spent.c.user_id == user_id, t.spent.c.token_id == c.login_id))
            .outerjoin(t.clients, t.clients.c.id == c.client_id)
        )
        standing = select(
            t.challenges,
            user_id.label("named_user"),
            id_.label("named_id"),
            u.epoch.label("user_epoch"),
            u.blocked.label("user_blocked"),
            a.state.label("authenticator_state"),
            a.login_id.label("authenticator_login_id"),
            a.created_at.label("authenticator_created_at"),
            t.spent.c.token_id.label("spent_token"),
            t.clients.c.id.label("known_client"),
        ).select_from(joined)
        doubtful = or_(
            c.id.is_(None),
            c.state != ChallengeState.PENDING.value,
            u.id.is_(None),
            u.blocked,
            u.epoch != c.epoch,
            a.id.is_(None),
            and_(a.state != State.ACTIVE.value, a.state != State.PENDING.value),
            t.spent.c.token_id.is_not(None),
            t.clients.c.id.is_(None),
        )
        in_doubt = select(user_id, id_).select_from(joined).where(doubtful)
        return Prepared(standing, self._dialect), Prepared(in_doubt, self._dialect)

    @cached_property
    def prompted(self) -> tuple[Prepared, Prepared]:
        """Two statements: what waits for named devices, and for which of them anything may have changed."""
        named = self._each()
        c, u, a = t.challenges.c, t.users.c, t.authenticators.c
        user_id, id_ = named.c.user_id, named.c.id
        usable = and_(a.state == State.ACTIVE.value, not_(u.blocked))
        waits = and_(
            c.user_id == user_id,
            c.authenticator_id == id_,
            c.state == ChallengeState.PENDING.value,
            c.purpose == Purpose.LOGIN.value,
            c.epoch == u.epoch,
        )
        devices = named.outerjoin(t.users, u.id == user_id).outerjoin(
            t.authenticators, and_(a.user_id == user_id, a.id == id_)
        )
        joined = devices.outerjoin(t.challenges, waits).outerjoin(
            t.spent, and_(t.spent.c.user_id == user_id, t.spent.c.token_id == c.login_id)
        )
        waiting = select(
            t.challenges,
            user_id.label("named_user"),
            id_.label("named_id"),
            func.coalesce(usable, false()).label("usable"),
            t.spent.c.token_id.label("spent_token"),
        ).select_from(joined)
        doubtful = or_(a.id.is_(None), u.id.is_(None), not_(usable), exists().where(waits))
        return Prepared(waiting, self._dialect), Prepared(
            select(user_id, id_).select_from(devices).where(doubtful), self._dialect
        )

    def _each(self) -> Any:
        if self._array:
            names = [bindparam(name, type_=ARRAY(Text)) for name in ("users", "rows")]
            return func.unnest(*names).table_valued("user_id", "id").render_derived("named")
        each = func.json_each(bindparam("pairs", type_=Text)).table_valued("value")
        value = [func.json_extract(each.c.value, f"$[{place}]", type_=Text) for place in (0, 1)]
        return select(value[0].label("user_id"), value[1].label("id")).select_from(each).subquery("named")

    def _owned(self, table: Any, column: ColumnElement[str]) -> Select[Any]:
        # By pairs: of two lists an engine looks for every user's every row, which a batch of 128 makes 16,384.
        named = self._each()
        owned = and_(table.c.user_id == named.c.user_id, column == named.c.id)
        return select(table).select_from(named.join(table, owned))


def _json(values: list[Any]) -> str:
    return msgspec.json.encode(values).decode()


def _update(table: Any, *key: str, but: Collection[str] = ()) -> Any:
    where = [table.c[name] == bindparam(f"key_{name}") for name in key]
    changing: dict[str, Any] = {c.name: bindparam(c.name) for c in table.c if c.name not in (*key, *but)}
    return update(table).where(*where).values(changing)
