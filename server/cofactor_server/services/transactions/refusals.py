"""Refusals of operators' requests that name something."""


class Conflict(Exception):
    """Raised when what a request adds exists already."""


class Missing(Exception):
    """Raised when what a request names does not exist."""
