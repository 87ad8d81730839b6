"""Events in the order of time on SQLite, where nobody splits them by user."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: a table in the order of its key is written at its end, instead of on a page for every user.

    Engines that more than one machine can be have the users first, by whom they split (design part 10).
    """
    _keep("id", "user_id")


def downgrade() -> None:
    """Undo."""
    _keep("user_id", "id")


def _keep(*key: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        with op.batch_alter_table("events", copy_from=_events(*key), recreate="always"):
            pass  # it is copied into one of that key


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
