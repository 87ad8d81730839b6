"""`cofactor policies`: when a second factor is asked for, and how strong it has to be."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cofactor_server.cli.output import Json, Problem, dump, instant, say, table
from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.seams import SECOND

if TYPE_CHECKING:
    from cofactor_server.domain.logins.explanations import BudgetStanding, Explanation
    from cofactor_server.domain.logins.policies import Rule

app = typer.Typer(
    no_args_is_help=True, help="Add, list and remove rules, which servers follow within five seconds; explain."
)


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
        "acr": rule.level.demanded or None,
        "two_kinds": rule.two_kinds,
        "max_age": rule.max_age // SECOND if rule.max_age is not None else None,
        "keep_one": rule.keep_one,
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
    keep_one: Annotated[
        bool,
        typer.Option("--keep-one", help="Nobody it is for removes the last authenticator; for everybody or a user."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Add a rule. Each condition has to apply; without any it is for everybody."""
    from cofactor_server.cli.opening import within
    from cofactor_server.services.policy.rules import NewRule
    from cofactor_server.services.transactions.refusals import Missing

    level = Level[acr.name] if acr is not None else Level.ONE_FACTOR
    age = max_age * SECOND if max_age is not None else None

    def new(default_realm: str) -> NewRule:
        return NewRule(ask, client, realm or default_realm, user, audience, scope, level, two_kinds, age, keep_one)

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
        demands += ["keep one"] if view["keep_one"] else []
        rows.append((view["id"], str(view["ask"]), ", ".join(where) or "everybody", ", ".join(demands)))
    table(("id", "ask", "where", "demands"), rows)


@app.command()
def remove(rule: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Remove a rule."""
    from cofactor_server.cli.opening import within
    from cofactor_server.services.transactions.refusals import Missing

    try:
        within(lambda application, _: application.policies.remove(rule))
    except Missing:
        raise Problem(f"there is no rule {rule}") from None
    if as_json:
        dump({"removed": rule})
    else:
        say(f"{rule}: removed")


@app.command()
def explain(
    user: Annotated[str, typer.Argument(metavar="NAME", help="What the user calls itself.")],
    client: Annotated[str, typer.Option(help="The id of the client that the user would log in at.")],
    realm: Annotated[str, typer.Option(help="Default: COFACTOR_DEFAULT_REALM.")] = "",
    audience: Annotated[str, typer.Option(help="Default: the client's first.")] = "",
    scope: Annotated[str, typer.Option(help="Values with spaces between them.")] = "",
    acr: Annotated[list[Strength] | None, typer.Option(help="What the client would want; may be repeated.")] = None,
    max_age: Annotated[int | None, typer.Option(min=0, help="Likewise, in seconds.")] = None,
    source: Annotated[str, typer.Option(metavar="ADDRESS", help="Where from. Default: nobody knows.")] = "",
    vouched: Annotated[bool, typer.Option("--vouched", help="The client vouches for the first factor.")] = False,
    ask_hook: Annotated[bool, typer.Option("--ask-hook", help="Ask COFACTOR_HOOK_TARGET, as a dry run.")] = False,
    as_json: Json = False,
) -> None:
    """Explain what a login would be asked for, by whose word, and where every counter stands. Nothing changes."""
    from cofactor_server.cli.opening import within
    from cofactor_server.domain.callers import Caller
    from cofactor_server.domain.logins.explanations import DecisionQuestion
    from cofactor_server.domain.logins.grants import Target
    from cofactor_server.errors import CofactorError, NotFound, Unavailable
    from cofactor_server.rpc.source import counted

    where = counted(source)
    if source and not where:
        raise Problem(f"{source} is no address")
    values = tuple(Level[strength.name].acr for strength in acr or ())
    target = Target(scope, audience, values, max_age * SECOND if max_age is not None else None)
    asked = DecisionQuestion(user, realm, client, target, vouched, where, ask_hook)
    try:
        found = within(lambda application, _: application.explaining.explain(Caller(), asked))
    except NotFound:
        raise Problem("there is no such client or user") from None
    except Unavailable:
        raise
    except CofactorError as refused:
        raise Problem(str(refused)) from None
    if as_json:
        dump(_explained(found))
    else:
        _tell(found)


def _explained(found: "Explanation") -> dict[str, Any]:
    ruling, wanted = found.ruling, found.wanted
    return {
        "outcome": found.consequence,
        "policy": ruling.policy,
        "decided_by": list(ruling.by),
        "acr": wanted.level.demanded or None,
        "two_kinds": wanted.two_kinds,
        "max_age": wanted.max_age // SECOND if wanted.max_age is not None else None,
        "wanted_by": list(wanted.by),
        "hook": found.hook,
        "may_be_remembered": found.may_be_remembered,
        "enrolled": found.is_enrolled,
        "source_known": found.source_known,
        "kinds": list(found.kinds),
        "enrollment_way": found.enrollment_way,
        "keeps_last_authenticator": found.keeps_last_authenticator,
        "unlocked_at": _later(found, found.wait),
        "budgets": [_budget(budget) for budget in found.budgets],
        "authenticators": [
            {
                "id": standing.authenticator.id,
                "state": standing.authenticator.state,
                "offered": standing.offered,
                "consecutive_failures": standing.authenticator.guard.failures,
                "disabled_at_failures": standing.disabled_at,
                "unlocked_at": _later(found, standing.wait),
                "budgets": [_budget(budget) for budget in standing.budgets],
            }
            for standing in found.authenticators
        ],
    }


def _later(found: "Explanation", wait: int) -> str | None:
    return instant(found.now + wait) if wait else None


def _budget(budget: "BudgetStanding") -> dict[str, Any]:
    quota = budget.quota
    return {
        "name": quota.name,
        "limit": quota.limit,
        "remaining": quota.remaining,
        "next_at": instant(budget.next_at) if budget.next_at is not None else None,
        "applies": budget.applies,
    }


def _tell(found: "Explanation") -> None:
    view = _explained(found)
    demands = [name for name in ("acr", "two_kinds", "max_age") if view[name]]
    say(f"outcome     {view['outcome']}{': ' if found.kinds else ''}{', '.join(found.kinds)}")
    if found.enrollment_way is not None:
        say(f"enrollment  {found.enrollment_way}")
    say(f"policy      {view['policy']}, by {', '.join(view['decided_by'])}")
    if demands:
        wants = ", ".join(str(view[name]) if name == "acr" else f"{name} {view[name]}" for name in demands)
        say(f"wanted      {wants}, by {', '.join(view['wanted_by'])}")
    say(f"hook        {view['hook']}")
    say(f"enrolled    {'yes' if found.is_enrolled else 'no'}; source {'known' if found.source_known else 'unknown'}")
    if found.wait:
        say(f"locked      until {view['unlocked_at']}")
    rows = [("", *_row(budget)) for budget in view["budgets"]]
    for standing in view["authenticators"]:
        state = str(standing["state"]) if standing["offered"] else f"{standing['state']}, not offered"
        failures = f"{standing['consecutive_failures']} failures in a row"
        rows.append((standing["id"], f"{state}; {failures}", "", standing["unlocked_at"] or "", ""))
        rows += [(standing["id"], *_row(budget)) for budget in standing["budgets"]]
    table(("of", "what", "left", "next or unlocked", "counts"), rows)


def _row(budget: dict[str, Any]) -> tuple[str, str, str, str]:
    left = f"{budget['remaining']} of {budget['limit']}"
    return budget["name"], left, budget["next_at"] or "", "yes" if budget["applies"] else ""
