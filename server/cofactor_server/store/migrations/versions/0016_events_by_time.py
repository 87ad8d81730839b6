"""Events by their time on PostgreSQL, so that old ones are found without reading all of them."""

from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. On SQLite the key begins with the time already (0013)."""
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(op.f("ix_events_time"), "events", ["time"])


def downgrade() -> None:
    """Undo."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index(op.f("ix_events_time"), table_name="events")
