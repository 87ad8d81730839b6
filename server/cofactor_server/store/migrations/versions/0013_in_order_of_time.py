"""Events and used tokens in the order of time on SQLite, where nobody splits them by user."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: what is written together lies together, instead of on a page for every user.

    Engines that more than one machine can be have the users first, by whom they split (ADR-48).
    """
    _keep(_events("id", "user_id"))
    _keep(_spent("token_id", "user_id"))


def downgrade() -> None:
    """Undo."""
    _keep(_events("user_id", "id"))
    _keep(_spent("user_id", "token_id"))


def _keep(table: sa.Table) -> None:
    """Copy a table into one of another key."""
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table(table.name, copy_from=table, recreate="always"):
            pass


def _events(*key: str) -> sa.Table:
    return sa.Table(
        "events",
        sa.MetaData(),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), server_default="", nullable=False),
        sa.Column("login_id", sa.Text(), server_default="", nullable=False),
        sa.Column("authenticator_id", sa.Text(), server_default="", nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_events"),
        sqlite_with_rowid=False,
    )


def _spent(*key: str) -> sa.Table:
    return sa.Table(
        "spent",
        sa.MetaData(),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_spent"),
        sa.Index("ix_spent_expires_at", "expires_at"),
        sqlite_with_rowid=False,
    )
