"""`cofactor keys`: the root keys that seal everything else."""

from pathlib import Path
from typing import Annotated

import typer

from cofactor_server.cli.output import Json, dump, say

app = typer.Typer(no_args_is_help=True, help="Make root keys.")


@app.callback()
def _keys() -> None:
    """Root keys."""


@app.command()
def generate(
    file: Annotated[Path, typer.Argument(help="The keyring to make; one that exists is left alone.")],
    as_json: Json = False,
) -> None:
    """Make a keyring of one new root key, readable by you only. Keep a copy: without it the database is lost."""
    from cofactor_server.seams import SystemEntropy
    from cofactor_server.vault.keyring import Keyring

    keys = Keyring.generate(SystemEntropy())
    Keyring.write(file, keys)
    if as_json:
        dump({"file": str(file), "active": keys[0].id})
    else:
        say(f"{file}: made with the root key {keys[0].id}. Keep a copy elsewhere; set COFACTOR_KEYRING_FILE={file}")
