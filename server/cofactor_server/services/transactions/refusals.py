"""Refusals of operator requests: a named thing exists already, or does not exist."""


class Conflict(Exception):
    """Raised when a request adds something that exists already."""


class Missing(Exception):
    """Raised when a request names something that does not exist."""
