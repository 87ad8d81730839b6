"""`cofactor authenticators`: what users do with their own; an operator never sees or picks a secret (S86).

The exception is a delivery of hardware tokens, whose secrets their maker has picked.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cofactor_server.cli.as_user import DEADLINE, AsUser, as_user, ask
from cofactor_server.cli.output import Json, dump, say, table
from cofactor_server.cli.seeds import import_hotp

if TYPE_CHECKING:
    from cofactor.v1 import authenticators_pb2

app = typer.Typer(no_args_is_help=True, help="Enroll, list and remove your own authenticators, over gRPC.")
app.command("import-hotp")(import_hotp)


@app.callback()
def _authenticators() -> None:
    """Your own authenticators."""


@app.command()
@as_user
def enroll(
    user: AsUser,
    name: Annotated[str, typer.Option(help="What you call it.")] = "",
    as_json: Json = False,
) -> None:
    """Enroll an authenticator app: show a QR code, then ask for a code the app shows.

    With --json: one line of what to enroll, then, once the code came by standard input, one of what was confirmed.
    """
    from cofactor.v1 import authenticators_pb2

    enrolled = user.authenticators.EnrollAuthenticator(
        authenticators_pb2.EnrollAuthenticatorRequest(totp=authenticators_pb2.TotpEnrollment(), name=name),
        metadata=user.bearer(),
        timeout=DEADLINE,
    )
    _show(enrolled, as_json=as_json)
    user.confirm(enrolled.authenticator.id, ask("Code the app shows"))
    if as_json:
        dump({"confirmed": enrolled.authenticator.id})
        return
    say("\nConfirmed: from now on logging in asks for a code.")
    for code in enrolled.recovery_codes:
        say(f"Your recovery code, for the day the phone is lost, shown only now:\n\n  {code}")


@app.command("list")
@as_user
def list_authenticators(user: AsUser, as_json: Json = False) -> None:
    """List your authenticators."""
    from cofactor.v1 import authenticators_pb2

    found = user.authenticators.ListAuthenticators(
        authenticators_pb2.ListAuthenticatorsRequest(), metadata=user.bearer(), timeout=DEADLINE
    )
    views = [_view(authenticator) for authenticator in found.authenticators]
    if as_json:
        dump(views)
    else:
        columns = ("id", "kind", "state", "name", "last_used_at")
        table(columns, [[view[column] or "" for column in columns] for view in views])


@app.command()
@as_user
def remove(
    user: AsUser,
    authenticator_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    as_json: Json = False,
) -> None:
    """Remove one of your authenticators."""
    from cofactor.v1 import authenticators_pb2

    user.authenticators.DeleteAuthenticator(
        authenticators_pb2.DeleteAuthenticatorRequest(id=authenticator_id), metadata=user.bearer(), timeout=DEADLINE
    )
    if as_json:
        dump({"removed": authenticator_id})
    else:
        say(f"{authenticator_id}: removed")


def _show(enrolled: "authenticators_pb2.EnrollAuthenticatorResponse", *, as_json: bool) -> None:
    secret = enrolled.otp_secret
    if as_json:
        dump(
            {
                "id": enrolled.authenticator.id,
                "secret": secret.secret,
                "barcode_uri": secret.barcode_uri,
                "recovery_codes": list(enrolled.recovery_codes),
            }
        )
        return
    import sys

    import segno

    say("Scan this with an authenticator app:\n")
    segno.make(secret.barcode_uri, error="l", micro=False).terminal(out=sys.stdout, compact=True)
    say(f"\nor type this secret: {secret.secret}\n")


def _view(authenticator: "authenticators_pb2.Authenticator") -> dict[str, Any]:
    from cofactor.v1 import authenticators_pb2

    kind = authenticators_pb2.FactorKind.Name(authenticator.kind).removeprefix("FACTOR_KIND_")
    state = authenticators_pb2.AuthenticatorState.Name(authenticator.state).removeprefix("AUTHENTICATOR_STATE_")
    used = None
    if authenticator.HasField("last_use_time"):
        used = authenticator.last_use_time.ToDatetime().isoformat(timespec="seconds") + "Z"
    return {
        "id": authenticator.id,
        "kind": authenticator.plugin_kind or kind.lower().replace("_", "-"),
        "state": state.lower(),
        "name": authenticator.name,
        "last_used_at": used,
    }
