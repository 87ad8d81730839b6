"""Browsers know which authenticators they are remembered by; refresh families keep theirs in `authentication`."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply.

    Of a browser of before nobody can tell whether what it is remembered by is still there: it is asked once more. So is
    a refresh token of before that a factor opened; its row stays as it is.
    """
    op.add_column(
        "browsers",
        sa.Column(
            "authenticators",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="ids of those that it is remembered by, separated by spaces",
        ),
    )
    op.add_column("browsers", sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    """Undo."""
    op.drop_column("browsers", "epoch")
    op.drop_column("browsers", "authenticators")
