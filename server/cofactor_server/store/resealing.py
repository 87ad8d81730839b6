"""Seals stored values again, under the root key that is active now: some rows a transaction, while servers decide.

Two rules find them: a column whose comment begins with `sealed` is sealed, and its place is named by table, column, the
row's user, and what else is in the row's key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    LargeBinary,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    not_,
    select,
    tuple_,
    update,
)

from cofactor_server.store import tables as t
from cofactor_server.store.repositories import deployments
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.keyring import Keyring, SealBroken

ROWS = 200
"""Of one transaction: their users are locked for some milliseconds."""

SEALED: Mapping[str, Column[Any]] = {
    f"{table.name}.{column.name}": column
    for table in t.metadata.sorted_tables
    for column in table.c
    if column.comment is not None and column.comment.startswith("sealed")
}
"""By `table.column`."""

_OWNER = "user_id"


@dataclass(frozen=True, slots=True)
class Step:
    """What one transaction did."""

    resealed: int
    broken: tuple[tuple[str, ...], ...]
    """Keys of rows that no key of the keyring opens; they are left as they are."""
    last: tuple[str, ...] | None
    """The key after which the next step begins; None at the end."""


def counts(connection: Connection, keyring: Keyring) -> dict[str, dict[str, int]]:
    """Return how many values of each column are under each root key; those under none of the keyring's under ``.

    The keyring's canary is counted as a column of its own.
    """
    found = {}
    ids = [key.id for key in keyring.keys]
    for name, column in SEALED.items():
        under = [func.coalesce(func.sum(case((_under(column, keyring, key_id), 1), else_=0)), 0) for key_id in ids]
        total, *each = connection.execute(select(func.count(), *under).where(_there(column))).one()
        by_key = {key_id: int(count) for key_id, count in zip(ids, each, strict=True) if count}
        unknown = total - sum(by_key.values())
        found[name] = by_key | ({"": unknown} if unknown else {})
    if canary := deployments.fact(connection, deployments.CANARY):
        found[deployments.CANARY] = {keyring.key_id_of(canary): 1}
    return found


def reseal(
    connection: Connection, columns: Columns, keyring: Keyring, name: str, after: tuple[str, ...] | None
) -> Step:
    """Seal up to `ROWS` values of one of `SEALED` again, in the order of their rows' keys.

    The users are locked first, as by every transaction that decides. A value is replaced only where it still is the one
    that was read. Who read a row before, and writes it afterwards, writes the old value again: a later pass finds it.
    """
    column = SEALED[name]
    key = list(column.table.primary_key.columns)
    due = and_(_there(column), not_(_under(column, keyring, keyring.active_id)))
    page = select(*key).where(due).order_by(*key).limit(ROWS)
    if after is not None:
        page = page.where(tuple_(*key) > tuple_(*map(literal, after)))
    chosen = [tuple(row) for row in connection.execute(page)]
    if not chosen:
        return Step(0, (), None)
    if _OWNER in column.table.c:
        connection.execute(_lock(sorted({row[0] for row in chosen})))
    changes, broken = [], []
    for *names, sealed in connection.execute(select(*key, column).where(tuple_(*key).in_(chosen))):
        try:
            again = _again(columns, column, tuple(names), bytes(sealed))
        except SealBroken:
            broken.append(tuple(names))
            continue
        if again is not None:
            named = {f"key_{c.name}": name for c, name in zip(key, names, strict=True)}
            changes.append({**named, "old": bytes(sealed), "new": again})
    if changes:
        connection.execute(_replacing(column), changes)
    return Step(len(changes), tuple(broken), chosen[-1] if len(chosen) == ROWS else None)


def renew_canary(connection: Connection, keyring: Keyring) -> bool:
    """Seal the canary again if it is due, and return whether it was."""
    canary = deployments.fact(connection, deployments.CANARY)
    if canary is None or keyring.key_id_of(canary) == keyring.active_id:
        return False
    connection.execute(
        update(t.settings).where(t.settings.c.name == deployments.CANARY).values(value=keyring.make_canary())
    )
    return True


def _again(columns: Columns, column: Column[Any], key: tuple[str, ...], sealed: bytes) -> bytes | None:
    """Return the value under the active key; None where somebody else has sealed it so already."""
    if not sealed or not columns.is_due(sealed):
        return None
    user_id, rest = (key[0], key[1:]) if _OWNER in column.table.c else ("", key)
    place = (column.table.name, column.name, user_id, "\0".join(rest))
    return columns.seal(*place, columns.open(*place, sealed))


def _lock(users: list[str]) -> Select[Any]:
    # Those who are deleted are not there to be locked; what they left is decided by nobody.
    return select(t.users.c.id).where(t.users.c.id.in_(users)).order_by(t.users.c.id).with_for_update(key_share=True)


def _replacing(column: Column[Any]) -> Any:
    same = [c == bindparam(f"key_{c.name}") for c in column.table.primary_key.columns]
    return update(column.table).where(*same, column == bindparam("old")).values({column.name: bindparam("new")})


def _there(column: Column[Any]) -> Any:
    return func.length(column) > 0


def _under(column: Column[Any], keyring: Keyring, key_id: str) -> Any:
    start = keyring.start_of(key_id)
    return func.substr(column, 1, len(start), type_=LargeBinary) == literal(start, LargeBinary)
