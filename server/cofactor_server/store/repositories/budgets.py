"""Budgets that many share: each taken from by one statement, so that no replica counts on what it read before."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, func, select, update

from cofactor_server.domain.foundation.budgets import Charge
from cofactor_server.store import tables as t
from cofactor_server.store.transactions.statements import inserting

_FULL_AT = select(t.budgets.c.full_at).where(t.budgets.c.key == bindparam("key"))
_GIVE_BACK = (
    update(t.budgets)
    .where(t.budgets.c.key == bindparam("named"))
    .values(full_at=t.budgets.c.full_at - bindparam("refill", type_=BigInteger))
)


@dataclass(frozen=True, slots=True)
class Taken:
    """Where the buckets stand: when each is full again."""

    full_at: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Empty:
    """A bucket had nothing left: whose, and when it is full again."""

    charge: Charge
    full_at: int


def take(connection: Connection, charges: Sequence[Charge], now: int) -> Taken | Empty:
    """Take one from each bucket, or from none where one of them is empty.

    Args:
        connection: Of the transaction, which waits here for others that take from the same bucket.
        charges: In an order that every caller keeps, since the rows are locked in it.
        now: Microseconds since the Unix epoch.

    Returns:
        Where they stand, or the first that is empty.
    """
    statement = _taking(connection.dialect.name)
    taken: list[Charge] = []
    full_at: list[int] = []
    for charge in charges:
        bucket = charge.bucket
        values = {
            "key": charge.key,
            "now": now,
            "refill": bucket.refill,
            "most": now + (bucket.size - 1) * bucket.refill,
        }
        row = connection.execute(statement, values).first()
        if row is None:
            give_back(connection, taken)
            return Empty(charge, connection.execute(_FULL_AT, {"key": charge.key}).scalar_one())
        taken.append(charge)
        full_at.append(row.full_at)
    return Taken(tuple(full_at))


def standing(connection: Connection, charges: Sequence[Charge]) -> Taken:
    """Return where the buckets of charges stand, taking from none."""
    return Taken(tuple(connection.execute(_FULL_AT, {"key": charge.key}).scalar() or 0 for charge in charges))


def give_back(connection: Connection, charges: Sequence[Charge]) -> None:
    """Give back what was taken."""
    for charge in charges:
        connection.execute(_GIVE_BACK, {"named": charge.key, "refill": charge.bucket.refill})


@functools.cache
def _taking(dialect: str) -> Any:
    """Return the statement that takes one, and returns no row where the bucket is empty."""
    later = func.greatest if dialect == "postgresql" else func.max
    now, refill, most = (bindparam(name, type_=BigInteger) for name in ("now", "refill", "most"))
    start = later(t.budgets.c.full_at, now)
    taking = inserting(dialect)(t.budgets).values(key=bindparam("key"), full_at=now + refill)
    return taking.on_conflict_do_update(
        index_elements=["key"], set_={"full_at": start + refill}, where=start <= most
    ).returning(t.budgets.c.full_at)
