"""Facts of the whole deployment, and its signing keys."""

from sqlalchemy import Connection, insert, select, update

from cofactor_server.store import tables as t
from cofactor_server.store.transactions.statements import inserting
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.signing_keys import Algorithm, SigningKey

CANARY = "canary"
DEMO = "demo"
ISSUER = "issuer"


def fact(connection: Connection, name: str) -> bytes | None:
    """Return a fact; None where it was never stated."""
    row = connection.execute(select(t.settings.c.value).where(t.settings.c.name == name)).first()
    return bytes(row.value) if row else None


def state(connection: Connection, name: str, value: bytes) -> bytes:
    """State a fact unless it stands already, and return what stands."""
    statement = inserting(connection.dialect.name)(t.settings).values(name=name, value=value)
    connection.execute(statement.on_conflict_do_nothing())
    standing = fact(connection, name)
    return value if standing is None else standing


def signing_keys(connection: Connection, columns: Columns) -> list[SigningKey]:
    """Return every signing key, oldest first."""
    found = connection.execute(select(t.signing_keys).order_by(t.signing_keys.c.created_at, t.signing_keys.c.kid))
    return [
        SigningKey(
            kid=row.kid,
            algorithm=Algorithm(row.algorithm),
            private_pem=columns.open("signing_keys", "private_pem", "", row.kid, bytes(row.private_pem)),
            created_at=row.created_at,
            active_from=row.active_from,
            retire_at=row.retire_at,
        )
        for row in found
    ]


def add_first_signing_keys(connection: Connection, columns: Columns, keys: list[SigningKey]) -> None:
    """Add keys for the algorithms that have none; of two replicas that start at once, one is first."""
    _lock(connection)
    taken = set(connection.execute(select(t.signing_keys.c.algorithm)).scalars())
    _add(connection, columns, [key for key in keys if key.algorithm not in taken])


def rotate_signing_keys(
    connection: Connection, columns: Columns, keys: list[SigningKey], retire_at: int, now: int
) -> bool:
    """Add keys that sign next and say when those of now retire; return False, and add none, where others wait."""
    _lock(connection)
    s = t.signing_keys
    waiting = select(s.c.kid).where(s.c.active_from > now)
    if connection.execute(waiting).first() is not None:
        return False
    connection.execute(update(s).where(s.c.retire_at.is_(None)).values(retire_at=retire_at))
    _add(connection, columns, keys)
    return True


def replace_signing_keys(connection: Connection, columns: Columns, keys: list[SigningKey], now: int) -> None:
    """Add keys that sign at once, and retire every other, those too that wait."""
    _lock(connection)
    connection.execute(update(t.signing_keys).values(retire_at=now))
    _add(connection, columns, keys)


def _lock(connection: Connection) -> None:
    """Keep other replicas from changing keys until this transaction ends; what is read next is what they committed.

    A row that does not exist yet can't be locked (ADR-4), so the lock is on one that a start states before it
    looks for keys. SQLite has one writer anyway.
    """
    issuer = select(t.settings.c.name).where(t.settings.c.name == ISSUER)
    connection.execute(issuer.with_for_update(key_share=True)).one()


def _add(connection: Connection, columns: Columns, keys: list[SigningKey]) -> None:
    for key in keys:
        sealed = columns.seal("signing_keys", "private_pem", "", key.kid, key.private_pem)
        row = {
            "kid": key.kid,
            "algorithm": key.algorithm,
            "private_pem": sealed,
            "created_at": key.created_at,
            "active_from": key.active_from,
            "retire_at": key.retire_at,
        }
        connection.execute(insert(t.signing_keys).values(row))


def database_time(connection: Connection) -> int:
    """Return the database's own clock, in microseconds since the Unix epoch; PostgreSQL only."""
    seconds = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
    return int(seconds * 1_000_000)
