"""Policies and remembered browsers."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "policies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False, comment="the rest of the rule, JSON"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
        comment="when a second factor is asked for, beside what user, client and deployment say",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "browsers",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_browsers")),
        comment="browsers that are remembered; without its row a token is worth nothing",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_browsers_expires_at"), "browsers", ["expires_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_browsers_expires_at"), table_name="browsers")
    op.drop_table("browsers")
    op.drop_table("policies")
