"""Rows and transactions, on SQLAlchemy Core: SQLite for one process, PostgreSQL for many."""
