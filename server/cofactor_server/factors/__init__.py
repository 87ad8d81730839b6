"""One file per way to prove possession: factors compute, the core stores and sends (ADR-47)."""
