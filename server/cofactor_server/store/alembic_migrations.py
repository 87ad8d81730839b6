"""Runs Alembic. Only a schema that has to change imports it: Alembic takes 6 MB and a quarter of a second."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

_SCRIPTS = str(Path(__file__).parent / "migrations")


def upgrade(connection: Connection) -> None:
    """Apply every migration that is missing, in the transaction of `connection`."""
    command.upgrade(configure(connection), "head")


def configure(connection: Connection) -> Config:
    """Return what Alembic's commands take, to be run in the transaction of `connection`."""
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.attributes["connection"] = connection
    return config
