"""What operators switch off, and authenticators by their id alone."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "switches",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_on", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_switches")),
        comment="factors that operators switched off or on again; one without a row is on",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_authenticators_id"), "authenticators", ["id"])


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_authenticators_id"), table_name="authenticators")
    op.drop_table("switches")
