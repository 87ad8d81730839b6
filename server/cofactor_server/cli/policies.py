"""`cofactor policies`: when a second factor is asked for, and how strong it has to be."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cofactor_server.cli.output import Json, Problem, dump, instant, say, table
from cofactor_server.domain.acr import Level
from cofactor_server.domain.users import MfaPolicy
from cofactor_server.seams import SECOND

if TYPE_CHECKING:
    from cofactor_server.domain.policies import Rule

app = typer.Typer(no_args_is_help=True, help="Add, list and remove rules; servers follow within five seconds.")


class Strength(StrEnum):
    """Levels that can be demanded, as tokens name them in `acr`, weakest first."""

    MFA_LOW = "mfa-low"
    MFA = "mfa"
    PHISHING_RESISTANT = "phr"
    PHISHING_RESISTANT_HARDWARE = "phrh"


def _view(rule: "Rule") -> dict[str, Any]:
    return {
        "id": rule.id,
        "ask": rule.ask,
        "client_id": rule.client_id or None,
        "user_id": rule.user_id or None,
        "audience": rule.audience or None,
        "scope": rule.scope or None,
        "acr": rule.level.acr if rule.level > Level.ONE_FACTOR else None,
        "two_kinds": rule.two_kinds,
        "max_age": rule.max_age // SECOND if rule.max_age is not None else None,
        "created_at": instant(rule.created_at),
    }


@app.command()
def add(
    ask: Annotated[MfaPolicy, typer.Option(help="The strongest of everything that applies wins.")] = MfaPolicy.ALWAYS,
    client: Annotated[str, typer.Option(help="For logins at the client with this id.")] = "",
    user: Annotated[str, typer.Option(metavar="NAME", help="For this user.")] = "",
    realm: Annotated[str, typer.Option(help="The user's. Default: COFACTOR_DEFAULT_REALM.")] = "",
    audience: Annotated[str, typer.Option(help="For tokens of this resource server.")] = "",
    scope: Annotated[str, typer.Option(help="For tokens with this scope, whatever else they have.")] = "",
    acr: Annotated[Strength | None, typer.Option(help="The least level, also of a token that is refreshed.")] = None,
    two_kinds: Annotated[bool, typer.Option("--two-kinds", help="Two factors of different possession.")] = False,
    max_age: Annotated[
        int | None, typer.Option(help="Seconds: a refresh asks for a factor where the last one was shown before.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Add a rule. Each condition has to apply; without any it is for everybody."""
    from cofactor_server.cli.opening import within
    from cofactor_server.services.operators import Missing
    from cofactor_server.services.policies import NewRule

    level = Level[acr.name] if acr is not None else Level.ONE_FACTOR
    age = max_age * SECOND if max_age is not None else None

    def new(default_realm: str) -> NewRule:
        return NewRule(ask, client, realm or default_realm, user, audience, scope, level, two_kinds, age)

    try:
        rule = within(lambda application, settings: application.policies.add(new(settings.default_realm)))
    except Missing:
        raise Problem("there is no such client or user") from None
    if as_json:
        dump(_view(rule))
    else:
        say(f"{rule.id}: added")


@app.command("list")
def list_rules(as_json: Json = False) -> None:
    """List rules."""
    from cofactor_server.cli.opening import within

    found = within(lambda application, _: application.policies.every())
    if as_json:
        dump([_view(rule) for rule in found])
        return
    rows = []
    for view in map(_view, found):
        where = [f"{name} {view[name]}" for name in ("client_id", "user_id", "audience", "scope") if view[name]]
        demands = [str(view["acr"])] if view["acr"] else []
        demands += ["two kinds"] if view["two_kinds"] else []
        demands += [f"max_age {view['max_age']}"] if view["max_age"] is not None else []
        rows.append((view["id"], str(view["ask"]), ", ".join(where) or "everybody", ", ".join(demands)))
    table(("id", "ask", "where", "demands"), rows)


@app.command()
def remove(rule: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Remove a rule."""
    from cofactor_server.cli.opening import within
    from cofactor_server.services.operators import Missing

    try:
        within(lambda application, _: application.policies.remove(rule))
    except Missing:
        raise Problem(f"there is no rule {rule}") from None
    if as_json:
        dump({"removed": rule})
    else:
        say(f"{rule}: removed")
