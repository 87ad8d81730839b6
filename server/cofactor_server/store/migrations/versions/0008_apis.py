"""APIs with their scopes and lifetimes."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "apis",
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False, comment="what tokens may allow there, JSON"),
        sa.Column("access_token_seconds", sa.Integer(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("audience", name=op.f("pk_apis")),
        comment="resource servers that tokens are for",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("apis")
