"""`cofactor apis`: resource servers that tokens are for."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cofactor_server.cli.clients import Algorithm
from cofactor_server.cli.output import Json, Problem, agreed, dump, instant, say, table
from cofactor_server.domain.parties.apis import TokenProfile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cofactor_server.app import Application
    from cofactor_server.domain.parties.apis import Api
    from cofactor_server.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="Register, list, change and delete APIs, and say what tokens may allow there."
)


def _view(api: "Api") -> dict[str, Any]:
    return {
        "audience": api.audience,
        "name": api.name,
        "scopes": list(api.scopes),
        "access_token_seconds": api.access_token_seconds,
        "algorithm": api.algorithm,
        "token_profile": str(api.token_profile),
        "created_at": instant(api.created_at),
    }


@app.command()
def create(
    audience: Annotated[str, typer.Argument(help="How tokens name it, such as https://api.example.com/.")],
    name: Annotated[str, typer.Option(help="For lists. Default: the audience.")] = "",
    scopes: Annotated[
        list[str] | None, typer.Option("--scope", help="May be repeated. Clients can ask for no other.")
    ] = None,
    access_token_seconds: Annotated[int, typer.Option(help="How long access tokens live.")] = 86_400,
    algorithm: Annotated[
        Algorithm, typer.Option(help="Signs access tokens: RS256 for REST clients, ES256 for gRPC.")
    ] = Algorithm.RS256,
    token_profile: Annotated[
        TokenProfile,
        typer.Option(help="Form of access tokens: rfc9068 (typ at+jwt), auth0 (typ JWT, for decoders made for Auth0)."),
    ] = TokenProfile.RFC9068,
    as_json: Json = False,
) -> None:
    """Register an API. Clients get tokens for it by `clients create --audience`."""
    from cofactor_server.cli.opening import within
    from cofactor_server.domain.parties.apis import Api
    from cofactor_server.services.transactions.refusals import Conflict

    async def created(application: "Application", _: "Settings") -> "Api":
        now = application.configuration.clock.now()
        wanted = tuple(dict.fromkeys(scopes or ()))
        api = Api(audience, name or audience, now, wanted, access_token_seconds, str(algorithm), token_profile)
        await application.apis.create(api)
        return api

    try:
        api = within(created)
    except Conflict:
        raise Problem(f"{audience} is registered already") from None
    if as_json:
        dump(_view(api))
    else:
        say(f"{audience}: registered")


@app.command()
def update(
    audience: Annotated[str, typer.Argument(help="As `apis list` shows it.")],
    name: Annotated[str | None, typer.Option(help="For lists.")] = None,
    added: Annotated[list[str] | None, typer.Option("--add-scope", help="May be repeated.")] = None,
    removed: Annotated[
        list[str] | None,
        typer.Option("--remove-scope", help="May be repeated. Refresh tokens of before get none with it any more."),
    ] = None,
    access_token_seconds: Annotated[int | None, typer.Option(help="How long access tokens live.")] = None,
    algorithm: Annotated[Algorithm | None, typer.Option(help="Signs access tokens.")] = None,
    token_profile: Annotated[TokenProfile | None, typer.Option(help="Form of access tokens.")] = None,
    as_json: Json = False,
) -> None:
    """Change what tokens may allow, how long they live and what signs them. Servers follow within five seconds."""
    from cofactor_server.cli.opening import within
    from cofactor_server.domain.foundation.values import replace
    from cofactor_server.services.transactions.refusals import Missing

    def change(api: "Api") -> "Api":
        kept = (scope for scope in (*api.scopes, *(added or ())) if scope not in (removed or ()))
        return replace(
            api,
            name=api.name if name is None else name,
            scopes=tuple(dict.fromkeys(kept)),
            access_token_seconds=api.access_token_seconds if access_token_seconds is None else access_token_seconds,
            algorithm=str(algorithm or api.algorithm),
            token_profile=token_profile or api.token_profile,
        )

    async def updated(application: "Application", _: "Settings") -> "Api":
        return await application.apis.update(audience, change)

    try:
        api = within(updated)
    except Missing:
        raise Problem(f"there is no API {audience}") from None
    if as_json:
        dump(_view(api))
    else:
        say(f"{audience}: changed")


@app.command("list")
def list_apis(as_json: Json = False) -> None:
    """List APIs."""
    from cofactor_server.cli.opening import within

    async def found(application: "Application", _: "Settings") -> "Sequence[Api]":
        return await application.apis.listed()

    apis = within(found)
    if as_json:
        dump([_view(api) for api in apis])
        return
    rows = [
        (
            api.audience,
            api.name,
            " ".join(api.scopes),
            str(api.access_token_seconds),
            api.algorithm,
            str(api.token_profile),
        )
        for api in apis
    ]
    table(("audience", "name", "scopes", "seconds", "algorithm", "profile"), rows)


@app.command()
def delete(
    audience: Annotated[str, typer.Argument(help="As `apis list` shows it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete an API that no client asks tokens for."""
    from cofactor_server.cli.opening import within
    from cofactor_server.services.policy.apis import InUse
    from cofactor_server.services.transactions.refusals import Missing

    agreed(f"Delete {audience}?", yes=yes)

    async def deleted(application: "Application", _: "Settings") -> None:
        await application.apis.delete(audience)

    try:
        within(deleted)
    except Missing:
        raise Problem(f"there is no API {audience}") from None
    except InUse as clients:
        raise Problem(f"clients ask tokens for it: {clients}") from None
    if as_json:
        dump({"deleted": audience})
    else:
        say(f"{audience}: deleted")
