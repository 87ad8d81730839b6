"""`cofactor clients`: applications that ask for tokens."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cofactor_server.cli.output import Json, Problem, agreed, dump, instant, say, table
from cofactor_server.domain.parties.clients import MFA_GRANTS, Capability, GrantType, Method
from cofactor_server.domain.parties.users import Enrollment, MfaPolicy

if TYPE_CHECKING:
    from cofactor_server.domain.parties.clients import Client

app = typer.Typer(no_args_is_help=True, help="Create, list and delete clients.")


class Grant(StrEnum):
    """Names for the command line."""

    PASSWORD = "password"
    PASSWORD_REALM = "password-realm"
    REFRESH_TOKEN = "refresh-token"
    MFA = "mfa"
    VOUCHED = "vouched"


class Algorithm(StrEnum):
    """What signs access tokens."""

    RS256 = "RS256"
    ES256 = "ES256"


_GRANT_TYPES: dict[Grant, frozenset[GrantType]] = {
    Grant.PASSWORD: frozenset({GrantType.PASSWORD}),
    Grant.PASSWORD_REALM: frozenset({GrantType.PASSWORD_REALM}),
    Grant.REFRESH_TOKEN: frozenset({GrantType.REFRESH_TOKEN}),
    Grant.MFA: MFA_GRANTS,
    Grant.VOUCHED: frozenset({GrantType.VOUCHED}),
}


def _view(client: "Client") -> dict[str, Any]:
    return {
        "client_id": client.id,
        "name": client.name,
        "public": not client.confidential,
        "authentication": client.method,
        "tls_san": client.tls_san or None,
        "origins": list(client.origins),
        "key_ids": [key.get("kid") for key in json.loads(client.jwks)["keys"]] if client.jwks else [],
        "grants": _short(client),
        "capabilities": sorted(client.capabilities),
        "audiences": list(client.audiences),
        "algorithm": client.algorithm,
        "realms": list(client.realms),
        "vouch_methods": list(client.vouch_methods) if Capability.VOUCH in client.capabilities else [],
        "mfa_policy": client.mfa_policy,
        "enrollment": client.enrollment,
        "remember_days": client.remember_days,
        "created_at": instant(client.created_at),
    }


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{file}: {getattr(error, 'strerror', None) or 'not text'}") from None


def _short(client: "Client") -> list[str]:
    return [str(grant) for grant, types in _GRANT_TYPES.items() if types <= client.grant_types]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Shown to users and in logs.")],
    grants: Annotated[list[Grant] | None, typer.Option("--grant", help="May be repeated; none by default.")] = None,
    audiences: Annotated[
        list[str] | None,
        typer.Option("--audience", help="A resource server, such as https://api.example.com/; the first is default."),
    ] = None,
    realms: Annotated[
        list[str] | None, typer.Option("--realm", help="Whose users it logs in. Default: the default realm.")
    ] = None,
    capabilities: Annotated[list[Capability] | None, typer.Option("--capability", help="None by default.")] = None,
    vouch_methods: Annotated[
        list[str] | None, typer.Option("--vouch-method", help="First factors it may vouch for. Default: pwd.")
    ] = None,
    mfa_policy: Annotated[MfaPolicy | None, typer.Option(help="Default: COFACTOR_MFA_POLICY.")] = None,
    enrollment: Annotated[
        Enrollment, typer.Option(help="How users who are not enrolled enroll.")
    ] = Enrollment.AT_LOGIN,
    algorithm: Annotated[
        Algorithm,
        typer.Option(
            help="Signs access tokens: RS256 for REST clients, ES256 for gRPC, whose keys are /.well-known/keys.json."
        ),
    ] = Algorithm.RS256,
    public: Annotated[bool, typer.Option("--public", help="It can't keep a secret: an app or a browser.")] = False,
    tls_san: Annotated[
        str,
        typer.Option(
            help="Known by its certificate over gRPC, and has no secret: dns:payments.example.com or "
            "uri:spiffe://example.com/payments, the name to the letter. Takes COFACTOR_TLS_CLIENT_CA_FILE."
        ),
    ] = "",
    origins: Annotated[
        list[str] | None,
        typer.Option("--origin", help="Of web pages that may read its answers, such as https://app.example.com."),
    ] = None,
    jwks: Annotated[
        Path | None,
        typer.Option(
            help="Known by what it signs (private_key_jwt), and has no secret: the file of its public keys, a JSON Web "
            "Key Set of RSA keys of 2,048 bits or more, or of P-256.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    remember_days: Annotated[
        int, typer.Option(help="How long a browser may be remembered after a second factor; 0 for never.")
    ] = 30,
    as_json: Json = False,
) -> None:
    """Create a client. Its secret is drawn, printed here, and never shown again."""
    from cofactor_server.cli.opening import operate
    from cofactor_server.services.operators.users_and_clients import NewClient

    new = NewClient(
        name=name,
        public=public,
        grant_types=frozenset().union(*(_GRANT_TYPES[grant] for grant in grants or ())),
        capabilities=frozenset(capabilities or ()),
        audiences=tuple(audiences or ()),
        algorithm=algorithm,
        realms=tuple(realms or ()),
        vouch_methods=tuple(vouch_methods or ("pwd",)),
        mfa_policy=mfa_policy,
        enrollment=enrollment,
        tls_san=tls_san,
        remember_days=remember_days,
        jwks=_read(jwks) if jwks else "",
        origins=tuple(origins or ()),
    )
    client, secret = operate(lambda operators, _: operators.create_client(new))
    if as_json:
        dump(_view(client) | ({"client_secret": secret} if secret else {}))
        return
    say(f"client_id      {client.id}")
    if secret:
        say(f"client_secret  {secret}")
        say("The secret is not shown again.")


@app.command("list")
def list_clients(as_json: Json = False) -> None:
    """List clients."""
    from cofactor_server.cli.opening import operate

    found = operate(lambda operators, _: operators.clients())
    if as_json:
        dump([_view(client) for client in found])
        return
    rows = [
        (
            client.name,
            {Method.NONE: "public", Method.SECRET: "", Method.TLS: client.tls_san, Method.KEY: "its keys"}[
                client.method
            ],
            ", ".join(_short(client)),
            ", ".join(sorted(client.capabilities)),
            ", ".join(client.audiences),
            ", ".join(client.realms),
            client.id,
        )
        for client in found
    ]
    table(("name", "known by", "grants", "capabilities", "audiences", "realms", "client_id"), rows)


@app.command()
def delete(
    client_id: Annotated[str, typer.Argument(help="As `clients list` shows it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a client; its next decision anywhere is refused."""
    from cofactor_server.cli.opening import operate
    from cofactor_server.services.transactions.refusals import Missing

    agreed(f"Delete {client_id}?", yes=yes)
    try:
        operate(lambda operators, _: operators.delete_client(client_id))
    except Missing:
        raise Problem(f"there is no client {client_id}") from None
    if as_json:
        dump({"deleted": client_id})
    else:
        say(f"{client_id}: deleted")
