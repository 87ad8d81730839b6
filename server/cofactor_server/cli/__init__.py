"""The command `cofactor`."""

from cofactor_server.cli.commands import app, main

__all__ = ["app", "main"]
