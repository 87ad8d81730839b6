"""Profile addresses, and budgets of messages."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("users", sa.Column("email", sa.Text(), server_default="", nullable=False))
    op.add_column("users", sa.Column("email_verified", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("users", sa.Column("phone_full_at", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("users", sa.Column("email_full_at", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("authenticators", sa.Column("implicit", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("authenticators") as authenticators:
        authenticators.drop_column("implicit")
    with op.batch_alter_table("users") as users:
        for name in ("email_full_at", "phone_full_at", "email_verified", "email"):
            users.drop_column(name)
