"""Sending notices."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Notices of before are not due: nobody knows any more where they should have gone."""
    comment = "sealed; those known before the change, until it is sent"
    op.add_column("notices", sa.Column("addresses", sa.LargeBinary(), nullable=True, comment=comment))
    comment = "numbers of the addresses that have it"
    op.add_column("notices", sa.Column("told", sa.Text(), server_default="", nullable=False, comment=comment))
    op.add_column("notices", sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))
    op.add_column("notices", sa.Column("due_at", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_notices_due_at"), "notices", ["due_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_notices_due_at"), table_name="notices")
    with op.batch_alter_table("notices") as notices:
        for name in ("due_at", "attempts", "told", "addresses"):
            notices.drop_column(name)
