"""When refresh tokens were rotated."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Of families of before it is not known, and no token of theirs is taken twice."""
    op.add_column("refresh_families", sa.Column("rotated_at", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("refresh_families") as families:
        families.drop_column("rotated_at")
