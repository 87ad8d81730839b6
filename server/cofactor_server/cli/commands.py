"""All commands, and what becomes of an error."""

import logging
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from cofactor_server import logs
from cofactor_server.cli import apis, authenticators, clients, device, keys, management, policies, server, users
from cofactor_server.cli.output import explained


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Run the command; what goes wrong is one line on standard error."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, TyperException):  # help and wrong usage explain themselves
            raise
        except Exception as error:
            if (line := explained(error)) is None:
                raise
            typer.echo(f"cofactor: {line}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    name="cofactor",
    help="Cofactor, a self-hosted multi-factor authentication service.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
server.register(app)
app.add_typer(users.app, name="users")
app.add_typer(clients.app, name="clients")
app.add_typer(apis.app, name="apis")
app.add_typer(authenticators.app, name="authenticators")
app.add_typer(device.app, name="device")
app.add_typer(policies.app, name="policies")
app.add_typer(keys.app, name="keys")
app.add_typer(management.app, name="management")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(metadata.version("cofactor-server"))
        raise typer.Exit


@app.callback()
def _cofactor(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Cofactor, a self-hosted multi-factor authentication service."""
    logs.configure(for_people=True, level=logging.WARNING)


def main() -> None:
    """Run the command line."""
    sys.exit(app())
