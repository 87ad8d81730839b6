"""Messages to numbers that nobody had verified, and prompts on devices."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("users", sa.Column("push_full_at", sa.BigInteger(), server_default="0", nullable=False))
    op.create_table(
        "phone_enrollments",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("authenticator_id", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "authenticator_id", name=op.f("pk_phone_enrollments")),
        comment="messages to numbers that nobody had verified, to stop those that nobody verifies",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_phone_enrollments_prefix_sent_at"), "phone_enrollments", ["prefix", "sent_at"])
    op.create_index(op.f("ix_phone_enrollments_sent_at"), "phone_enrollments", ["sent_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_phone_enrollments_sent_at"), table_name="phone_enrollments")
    op.drop_index(op.f("ix_phone_enrollments_prefix_sent_at"), table_name="phone_enrollments")
    op.drop_table("phone_enrollments")
    with op.batch_alter_table("users") as users:
        users.drop_column("push_full_at")
