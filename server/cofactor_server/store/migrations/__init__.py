"""The schema's history, applied by Alembic from inside the wheel."""
