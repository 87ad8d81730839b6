"""Engines, and the deciding transaction: lock, read, decide, write, commit in groups."""
