"""Enrollment tickets."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "tickets",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("kinds", sa.Text(), server_default="", nullable=False, comment="separated by commas; empty for any"),
        sa.Column("several", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "id", name=op.f("pk_tickets")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tickets_sha256")),
        comment="enrollment tickets by their hashes; those that were used are among the spent",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_tickets_expires_at"), "tickets", ["expires_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_tickets_expires_at"), table_name="tickets")
    op.drop_table("tickets")
