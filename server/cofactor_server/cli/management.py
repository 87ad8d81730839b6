"""`cofactor management`: tokens for the Management API, on the authority of the keyring."""

import re
from typing import Annotated

import typer

from cofactor_server.cli.output import Json, dump, instant, say
from cofactor_server.domain.parties.operators import Role
from cofactor_server.seams import HOUR, MINUTE

app = typer.Typer(no_args_is_help=True, help="Mint tokens for the Management API, which `serve --management` serves.")

_life = re.compile(r"([1-9][0-9]{0,4})([mh])").fullmatch
_UNITS = {"m": MINUTE, "h": HOUR}


@app.callback()
def _management() -> None:
    """The Management API."""


@app.command()
def token(
    role: Annotated[Role, typer.Option(help="read; support, which sees and picks no secret; admin.")],
    scope: Annotated[list[str] | None, typer.Option(help="Fewer of the role's; may be repeated.")] = None,
    life: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Such as 30m or 8h, 24h at most: it can't be called back.")
    ] = "1h",
    as_json: Json = False,
) -> None:
    """Print a token, which nothing keeps: whoever has it is an operator until its time is over."""
    from cofactor_server.cli.opening import configured
    from cofactor_server.services.callers.operator_tokens import OperatorTokens
    from cofactor_server.settings import load
    from cofactor_server.vault.tokens import TokenSealer

    found = _life(life)
    if found is None:
        raise typer.BadParameter("is a number and m or h, such as 30m or 8h", param_hint="--for")
    configuration = configured(load())
    sealer = TokenSealer(configuration.keyring, configuration.deployment.issuer)
    tokens = OperatorTokens(sealer, configuration.clock, configuration.entropy)
    minted, operator = tokens.mint(role, int(found[1]) * _UNITS[found[2]], scope or ())
    if as_json:
        scopes = sorted(operator.scopes)
        expires_at = instant(operator.expires_at)
        dump({"token": minted, "id": operator.id, "role": role, "scopes": scopes, "expires_at": expires_at})
    else:
        say(minted)
