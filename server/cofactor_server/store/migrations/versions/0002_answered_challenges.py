"""answered challenges."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    # A challenge keeps what its answer showed until its login redeems it, and how fast that login may poll.
    comment = "sealed; what an approval showed, until it is redeemed"
    for column in (
        sa.Column("answered_at", sa.BigInteger(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True, comment=comment),
        sa.Column("poll_interval", sa.BigInteger(), nullable=False, server_default="5000000"),
        sa.Column("next_poll_at", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("challenges", column)
