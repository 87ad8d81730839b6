"""Shared parts of the use cases: transactional decisions, reads, idempotency, validity checks, the audit log."""
