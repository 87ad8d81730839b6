"""Brings the schema to what this version expects."""

import functools
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

_SCRIPTS = str(Path(__file__).parent / "migrations")


def migrate(connection: Connection) -> tuple[str, str]:
    """Apply every migration that is missing, in the transaction of `connection`.

    Returns:
        The revision before (empty for a new database) and after.
    """
    before, head = _revision(connection), _head()
    if before != head:
        command.upgrade(configured(connection), "head")
    return before, head


def configured(connection: Connection) -> Config:
    """Return what Alembic's commands take, to be run in the transaction of `connection`."""
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.attributes["connection"] = connection
    return config


def is_current(connection: Connection) -> bool:
    """Whether the schema is what this version expects."""
    return _revision(connection) == _head()


def _revision(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or ""


@functools.cache
def _head() -> str:
    """Return the newest revision that this version has; finding it loads every migration, which takes 20 ms."""
    return ScriptDirectory(_SCRIPTS).get_current_head() or ""
