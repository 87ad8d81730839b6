"""The command `cofactor`."""

from cofactor_server.lean_imports import import_without

import_without("structlog", "rich")  # before anything else imports it

from cofactor_server.cli.commands import app, main  # noqa: E402

__all__ = ["app", "main"]
