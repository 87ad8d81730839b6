"""Budgets that many share."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "budgets",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("full_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_budgets")),
        comment="what many share: a name's wrong passwords, a number's messages; names and numbers as MACs",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_budgets_full_at"), "budgets", ["full_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_budgets_full_at"), table_name="budgets")
    op.drop_table("budgets")
