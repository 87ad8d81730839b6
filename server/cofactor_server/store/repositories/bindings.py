"""Authenticators that an operator binds to users, many in one transaction."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, select

from cofactor_server.domain.authenticators.authenticator import (
    ACTIVE_CODE_AUTHENTICATORS,
    Authenticator,
    State,
    enrolled,
    held,
)
from cofactor_server.domain.authenticators.kinds import RECOVERY_CODE
from cofactor_server.domain.foundation.events import Event, EventName, Notice, NoticeName
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.users import User
from cofactor_server.store import tables as t
from cofactor_server.store.repositories import accounts
from cofactor_server.store.transactions import rows
from cofactor_server.store.transactions.rows import AddressesOf

SLICE = 500
"""Names or ids in one statement: every engine takes as many."""


def bind(
    connection: Connection,
    realm: str,
    owners: Sequence[str],
    made: Callable[[User, int], Authenticator],
    addresses_of: AddressesOf,
    now: int,
) -> list[tuple[int, str]]:
    """Bind one authenticator to each of `owners`, active at once; write nothing if one of them can't be bound.

    Args:
        connection: Of the transaction.
        realm: The users'.
        owners: Their names, in the order of what is bound.
        made: Makes the authenticator for a locked user, by its place in that order.
        addresses_of: Says where notices go.
        now: The time of the change.

    Returns:
        Places and what is wrong with them; nothing where all was bound.
    """
    users = _locked(connection, realm, owners)
    mine = {user.id: accounts.authenticators(connection, user.id) for user in users.values()}
    count = {user_id: held(found) for user_id, found in mine.items()}
    bound, problems = [], []
    for place, name in enumerate(owners):
        user = users.get(name)
        if user is None:
            problems.append((place, f"user: there is none of this name in {realm}"))
            continue
        if count[user.id] >= ACTIVE_CODE_AUTHENTICATORS:
            problems.append((place, f"user: has {ACTIVE_CODE_AUTHENTICATORS} authenticators, which is the most"))
            continue
        count[user.id] += 1
        bound.append((place, made(user, place)))
    taken = _taken(connection, [authenticator for _, authenticator in bound])
    problems += [(place, "serial: is bound already") for place, a in bound if (a.kind, a.unique_ref) in taken]
    if problems:
        return sorted(problems)
    for user in users.values():
        if not enrolled(mine[user.id]):
            _first(connection, user, mine[user.id], now)
    for _, authenticator in bound:
        connection.execute(insert(t.authenticators).values(rows.of_authenticator(authenticator)))
        event = Event(authenticator.user_id, EventName.AUTHENTICATOR_ADDED, now, authenticator_id=authenticator.id)
        accounts.record(connection, event)
        notice = Notice(authenticator.user_id, NoticeName.AUTHENTICATOR_ADDED, now, authenticator.id)
        accounts.tell(connection, notice, mine[authenticator.user_id], addresses_of)
    return []


def _locked(connection: Connection, realm: str, names: Sequence[str]) -> dict[str, User]:
    """Return the users there are of these names, locked in the order of their ids."""
    ids: list[str] = []
    wanted = sorted(set(names))
    for start in range(0, len(wanted), SLICE):
        some = wanted[start : start + SLICE]
        query = select(t.users.c.id).where(t.users.c.realm == realm, t.users.c.subject.in_(some))
        ids += connection.execute(query).scalars()
    ids.sort()
    users: dict[str, User] = {}
    for start in range(0, len(ids), SLICE):
        some = ids[start : start + SLICE]
        query = select(t.users).where(t.users.c.id.in_(some)).order_by(t.users.c.id)
        for row in connection.execute(query.with_for_update(key_share=True)):
            user = rows.user(row)
            users[user.subject] = user
    return users


def _taken(connection: Connection, authenticators: Sequence[Authenticator]) -> set[tuple[str, str | None]]:
    found: set[tuple[str, str | None]] = set()
    refs = sorted({a.unique_ref for a in authenticators if a.unique_ref is not None})
    kinds = {a.kind for a in authenticators}
    for start in range(0, len(refs), SLICE):
        query = select(t.authenticators.c.kind, t.authenticators.c.unique_ref).where(
            t.authenticators.c.kind.in_(kinds), t.authenticators.c.unique_ref.in_(refs[start : start + SLICE])
        )
        found.update((row.kind, row.unique_ref) for row in connection.execute(query))
    return found


def _first(connection: Connection, user: User, mine: Sequence[Authenticator], now: int) -> None:
    """Do what a first activation does: whatever somebody else has begun to enroll is gone (ADR-3)."""
    for authenticator in mine:
        if authenticator.state is State.PENDING or authenticator.kind == RECOVERY_CODE:
            accounts.save_authenticator(connection, authenticator.removed(now))
    if user.enrollment is not None:
        accounts.save_user(connection, replace(user, enrollment=None))
