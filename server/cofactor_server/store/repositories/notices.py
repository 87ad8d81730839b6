"""Notices that are due: leased to one worker at a time, and marked when they are sent."""

from dataclasses import dataclass, field

from sqlalchemy import Connection, select, tuple_, update

from cofactor_server.domain.foundation.events import NoticeName
from cofactor_server.store import tables as t

_n = t.notices.c


@dataclass(frozen=True, slots=True)
class DueNotice:
    """A notice that this worker has until `due_at`."""

    user_id: str
    id: str
    time: int
    name: str
    """A `NoticeName`, or one of a later version."""
    authenticator_id: str
    source: str
    addresses: bytes = field(repr=False)
    """Sealed."""
    told: frozenset[int]
    """The numbers of the addresses that have it."""
    attempts: int
    """This one among them."""
    due_at: int

    @property
    def known_name(self) -> NoticeName | None:
        """What it tells; None where this version does not know."""
        return NoticeName(self.name) if self.name in _NAMES else None


_NAMES = frozenset(NoticeName)


def lease(connection: Connection, now: int, until: int, count: int) -> list[DueNotice]:
    """Return up to `count` notices that are due, and keep other workers off them until `until`.

    Of two workers that read the same rows, the second waits for the first's locks and finds them no longer due.
    """
    due = select(_n.user_id, _n.id).where(_n.due_at <= now).order_by(_n.due_at).limit(count)
    leased = (
        update(t.notices)
        .where(tuple_(_n.user_id, _n.id).in_(due), _n.due_at <= now)
        .values(due_at=until, attempts=_n.attempts + 1)
        .returning(*t.notices.c)
    )
    return [
        DueNotice(
            user_id=row.user_id,
            id=row.id,
            time=row.time,
            name=row.name,
            authenticator_id=row.authenticator_id,
            source=row.source,
            addresses=bytes(row.addresses or b""),
            told=frozenset(int(number) for number in row.told.split(",") if number),
            attempts=row.attempts,
            due_at=row.due_at,
        )
        for row in connection.execute(leased)
    ]


def note_told(connection: Connection, notice: DueNotice, told: frozenset[int]) -> None:
    """Keep which addresses have it, so that they are not told again when others are."""
    _change(connection, notice, told=",".join(map(str, sorted(told))))


def put_off(connection: Connection, notice: DueNotice, due_at: int | None) -> None:
    """Have it sent later, or never again."""
    _change(connection, notice, due_at=due_at)


def mark_sent(connection: Connection, notice: DueNotice, now: int) -> None:
    """Mark it as sent, and forget the addresses."""
    _change(connection, notice, sent_at=now, due_at=None, addresses=b"")


def _change(connection: Connection, notice: DueNotice, **values: object) -> None:
    # A worker that took longer than its lease leaves the row to the one that has it now.
    mine = (_n.user_id == notice.user_id, _n.id == notice.id, _n.due_at == notice.due_at)
    connection.execute(update(t.notices).where(*mine).values(**values))
