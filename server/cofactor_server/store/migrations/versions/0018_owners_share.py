"""Messages that a user's known sources ask for have budgets of their own, and so have their unanswered challenges."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_BUDGETS = ("known_phone_full_at", "known_email_full_at", "known_push_full_at")


def upgrade() -> None:
    """Apply."""
    for name in _BUDGETS:
        op.add_column("users", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("challenges", sa.Column("known", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Undo."""
    op.drop_column("challenges", "known")
    for name in reversed(_BUDGETS):
        op.drop_column("users", name)
