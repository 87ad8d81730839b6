"""What commands print: tables for people, JSON for programs, one line for what went wrong."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Problem(Exception):
    """A command can't do what it is asked; the text is for whoever typed it."""


def say(text: str) -> None:
    """Print a line for people."""
    typer.echo(text)


def dump(value: Any) -> None:
    """Print one line of JSON for a program."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their columns; nothing is cut off, wherever the output goes."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))  # as text: what is stored has no markup in it
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # told to `print`, it would be taken for the most, and not for the least
    console.print(shown, crop=False)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show on a terminal that something is under way."""
    from rich.console import Console

    with Console(stderr=True).status(f"{what} …"):  # prints nothing where there is no terminal
        yield


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how many are done, of how many: whoever does them tells."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, due: bar.update(task, completed=done, total=due)


def instant(microseconds: int | None) -> str:
    """Return an instant of the store as RFC 3339 has it; empty where there is none."""
    if microseconds is None:
        return ""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).isoformat().replace("+00:00", "Z")


def ask_password(*, from_stdin: bool, confirm: bool = False) -> str:
    """Return a password: the first line of standard input, or typed without being shown; never an argument."""
    if from_stdin:
        password = typer.get_text_stream("stdin").readline().rstrip("\r\n")
        if not password:
            raise Problem("--password-stdin: standard input has no password in its first line")
        return password
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))


def agreed(question: str, *, yes: bool) -> None:
    """Ask whoever sits at the terminal; a program is taken at its word.

    Raises:
        Problem: The answer was no.
    """
    if not yes and typer.get_text_stream("stdin").isatty() and not typer.confirm(question, err=True):
        raise Problem("nothing was changed")


def explained(error: BaseException) -> str | None:
    """Return one line for an error that an operator can do something about; None for a bug."""
    from cofactor_server.app import Unfit
    from cofactor_server.errors import CofactorError, Unavailable
    from cofactor_server.factors.registry import FactorConflict, FactorUnusable
    from cofactor_server.rpc.server import PlaintextRefused
    from cofactor_server.rpc.transport.tls import TlsUnusable
    from cofactor_server.serving.listening import StartFailed
    from cofactor_server.settings import SettingsInvalid
    from cofactor_server.store.transactions.database import Contention, DatabaseAway, OutcomeUnknown
    from cofactor_server.vault.keyring import KeyringInvalid

    match error:
        case Unavailable() | DatabaseAway() | Contention() | OutcomeUnknown():
            return "the database can't be reached"
        case CofactorError(violations=violations) if violations:
            return "; ".join(f"{name}: {text}" for name, text in violations)
        case (
            Problem()
            | SettingsInvalid()
            | StartFailed()
            | PlaintextRefused()
            | TlsUnusable()
            | Unfit()
            | KeyringInvalid()
            | FactorConflict()
            | FactorUnusable()
            | CofactorError()
        ):
            return " ".join(str(error).split())
        case OSError(strerror=reason, filename=name) if name:
            return f"{name}: {reason}"
    return None
