"""Brings the schema to what this version expects."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def migrate(connection: Connection) -> tuple[str, str]:
    """Apply every migration that is missing, in the transaction of `connection`.

    Returns:
        The revision before (empty for a new database) and after.
    """
    config = _config(connection)
    before = MigrationContext.configure(connection).get_current_revision() or ""
    command.upgrade(config, "head")
    return before, ScriptDirectory.from_config(config).get_current_head() or ""


def is_current(connection: Connection) -> bool:
    """Whether the schema is what this version expects."""
    head = ScriptDirectory.from_config(_config(connection)).get_current_head()
    return MigrationContext.configure(connection).get_current_revision() == head


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
