"""Facts of the whole deployment, and its signing keys."""

from sqlalchemy import Connection, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from cofactor_server.store import tables as t
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
    build = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(build(t.settings).values(name=name, value=value).on_conflict_do_nothing())
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
    taken = set(connection.execute(select(t.signing_keys.c.algorithm)).scalars())
    for key in keys:
        if key.algorithm not in taken:
            sealed = columns.seal("signing_keys", "private_pem", "", key.kid, key.private_pem)
            connection.execute(
                insert(t.signing_keys).values(
                    kid=key.kid,
                    algorithm=key.algorithm,
                    private_pem=sealed,
                    created_at=key.created_at,
                    active_from=key.active_from,
                    retire_at=key.retire_at,
                )
            )


def database_time(connection: Connection) -> int:
    """Return the database's own clock, in microseconds since the Unix epoch; PostgreSQL only."""
    seconds = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
    return int(seconds * 1_000_000)
