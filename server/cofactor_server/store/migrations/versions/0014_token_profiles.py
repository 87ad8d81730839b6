"""The form of an API's access tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("apis", sa.Column("token_profile", sa.Text(), server_default="rfc9068", nullable=False))


def downgrade() -> None:
    """Undo."""
    op.drop_column("apis", "token_profile")
