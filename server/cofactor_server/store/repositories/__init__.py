"""Reads and lone changes of each kind of row."""
