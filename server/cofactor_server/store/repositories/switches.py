"""What operators switched off: few rows, read all at once."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, select

from cofactor_server.domain.authenticators.switches import Switch
from cofactor_server.store import tables as t
from cofactor_server.store.transactions.statements import inserting

_KNOWN = {switch.value: switch for switch in Switch}


def off(connection: Connection) -> frozenset[Switch]:
    """Return the switches that are off; those of another version are passed over."""
    found = connection.execute(select(t.switches.c.name).where(t.switches.c.is_on.is_(False)))
    return frozenset(_KNOWN[name] for name in found.scalars() if name in _KNOWN)


def turn(
    connection: Connection,
    changes: Mapping[Switch, bool],
    allows: Callable[[frozenset[Switch], frozenset[Switch]], bool],
    now: int,
) -> bool:
    """Turn switches on and off, unless what is off before and after is not allowed; return whether it was."""
    insert = inserting(connection.dialect.name)(t.switches)
    # One row stands for all: whoever changes any of them holds it, so that two changes never see the same state.
    first = {"name": Switch.PHONE.value, "is_on": True, "changed_at": now}
    lock = insert.on_conflict_do_update(index_elements=["name"], set_={"is_on": t.switches.c.is_on})
    connection.execute(lock, first)
    before = off(connection)
    after = frozenset(switch for switch in Switch if not changes.get(switch, switch not in before))
    if not allows(before, after):
        return False
    change = insert.on_conflict_do_update(
        index_elements=["name"], set_={"is_on": insert.excluded.is_on, "changed_at": insert.excluded.changed_at}
    )
    for switch in sorted(changes):
        connection.execute(change, {"name": switch.value, "is_on": changes[switch], "changed_at": now})
    return True
