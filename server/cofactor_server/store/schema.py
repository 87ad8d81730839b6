"""Compares the schema of a database with the one that this version expects, and migrates it."""

from sqlalchemy import Connection, text

HEAD = "0018"
"""The newest migration; a test holds it to the folder of migrations."""


def migrate(connection: Connection) -> tuple[str, str]:
    """Apply every migration that is missing, in the transaction of `connection`.

    Returns:
        The revision before (empty for a new database) and after.
    """
    before = _revision(connection)
    if before != HEAD:
        from cofactor_server.store import alembic_migrations

        alembic_migrations.upgrade(connection)
    return before, HEAD


def is_current(connection: Connection) -> bool:
    """Whether the schema is what this version expects."""
    return _revision(connection) == HEAD


def _revision(connection: Connection) -> str:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return ""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")
