"""`cofactor users`: who logs in."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cofactor_server.cli.output import Json, Problem, agreed, ask_password, dump, instant, say, table
from cofactor_server.domain.parties.users import MfaPolicy

if TYPE_CHECKING:
    from cofactor_server.app import Application
    from cofactor_server.domain.authenticators.authenticator import Authenticator
    from cofactor_server.domain.parties.users import User
    from cofactor_server.services.operators.users_and_clients import Operators
    from cofactor_server.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Create, list, reset, block and delete users.")

OPERATOR = "command line"
"""Whose word a ticket is, for the record."""

R = TypeVar("R")

Subject = Annotated[str, typer.Argument(metavar="NAME", help="What the user calls itself.")]
Realm = Annotated[str, typer.Option(help="Default: COFACTOR_DEFAULT_REALM.")]
Verified = Annotated[
    bool,
    typer.Option(
        "--email-verified",
        help="The address is known to be the user's: codes go there without enrolling, where COFACTOR_FACTORS has "
        "email; it is no reason by itself to skip or to ask for a second factor.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


def _on(subject: str, realm: str, work: Callable[["Operators", str], Awaitable[R]]) -> R:
    """Do something to a user."""
    from cofactor_server.cli.opening import operate
    from cofactor_server.services.transactions.refusals import Conflict, Missing

    name = f"{subject} in {realm}" if realm else subject
    try:
        return operate(lambda operators, settings: work(operators, realm or settings.default_realm))
    except Missing:
        raise Problem(f"there is no user {name}") from None
    except Conflict:
        raise Problem(f"there is a user {name} already") from None


def _view(user: "User", authenticators: "list[Authenticator]") -> dict[str, Any]:
    return {
        "id": user.id,
        "realm": user.realm,
        "name": user.subject,
        "label": user.label,
        "email": user.email or None,
        "email_verified": user.email_verified,
        "blocked": user.blocked,
        "has_password": bool(user.password_hash),
        "mfa_policy": user.mfa_policy,
        "enrollment": user.enrollment,
        "created_at": instant(user.created_at),
        "authenticators": [
            {"id": a.id, "kind": a.kind, "state": a.state, "confirmed_at": instant(a.confirmed_at) or None}
            for a in authenticators
        ],
    }


@app.command()
def create(
    name: Subject,
    realm: Realm = "",
    label: Annotated[str, typer.Option(help="What an authenticator app shows, such as a mail address.")] = "",
    mfa_policy: Annotated[MfaPolicy | None, typer.Option(help="Overrides the client's and the deployment's.")] = None,
    email: Annotated[str, typer.Option(help="The profile's mail address.")] = "",
    email_verified: Verified = False,
    password_stdin: FromStdin = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="Somebody else checks it and vouches.")] = False,
    as_json: Json = False,
) -> None:
    """Create a user; the password is asked for."""
    from cofactor_server.services.operators.users_and_clients import NewUser

    if no_password and password_stdin:
        raise typer.BadParameter("--no-password and --password-stdin contradict each other")
    password = "" if no_password else ask_password(from_stdin=password_stdin, confirm=True)
    user = _on(
        name,
        realm,
        lambda operators, where: operators.create_user(
            NewUser(where, name, password, label, mfa_policy, email, email_verified)
        ),
    )
    if as_json:
        dump(_view(user, []))
    else:
        say(f"{user.subject} in {user.realm}: created as {user.id}")


@app.command("list")
def list_users(
    realm: Annotated[str, typer.Option(help="Default: every realm.")] = "",
    as_json: Json = False,
) -> None:
    """List users and what they enrolled."""
    from cofactor_server.cli.opening import operate

    found = operate(lambda operators, _: operators.users(realm))
    if as_json:
        dump([_view(user, authenticators) for user, authenticators in found])
        return
    rows = [
        (
            user.realm,
            user.subject,
            user.label,
            "blocked" if user.blocked else "",
            ", ".join(a.kind if a.usable() else f"{a.kind} ({a.state})" for a in authenticators),
            instant(user.created_at),
            user.id,
        )
        for user, authenticators in found
    ]
    table(("realm", "name", "label", "blocked", "authenticators", "created", "id"), rows)


@app.command()
def delete(name: Subject, realm: Realm = "", yes: Yes = False, as_json: Json = False) -> None:
    """Delete a user and everything that is theirs; tokens they hold stop working."""
    agreed(f"Delete {name}?", yes=yes)
    user = _on(name, realm, lambda operators, where: operators.delete_user(where, name))
    if as_json:
        dump({"deleted": user.id})
    else:
        say(f"{user.subject} in {user.realm}: deleted")


@app.command("reset-mfa")
def reset_mfa(
    name: Subject,
    realm: Realm = "",
    allow_enrollment_at_login: Annotated[
        bool,
        typer.Option(
            "--allow-enrollment-at-login",
            help="Let whoever has the password enroll at the next login. Without it the user enrolls by ticket only: "
            "a thief who has the password gains nothing by a reset.",
        ),
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove every authenticator of a user, and end every token issued before."""
    agreed(f"Remove every authenticator of {name}?", yes=yes)
    removed = _on(
        name,
        realm,
        lambda operators, where: operators.reset_mfa(where, name, enroll_at_login=allow_enrollment_at_login),
    )
    how = "at_login" if allow_enrollment_at_login else "ticket"
    if as_json:
        dump({"removed": removed, "enrollment": how})
    else:
        way = "at the next login" if allow_enrollment_at_login else "by ticket only"
        say(f"{name}: {removed} authenticator{'' if removed == 1 else 's'} removed; enrolls {way}")


@app.command("enroll-by-ticket")
def enroll_by_ticket(
    name: Subject,
    realm: Realm = "",
    factors: Annotated[
        list[str] | None,
        typer.Option("--factor", help="Such as totp; may be repeated. Default: what a login offers."),
    ] = None,
    several: Annotated[bool, typer.Option("--several", help="For a user who is enrolled already, too.")] = False,
    send_mail: Annotated[
        bool, typer.Option("--send-mail", help="Send the link to the profile's verified address.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print a link, shown once, by which whoever has it enrolls one authenticator for a user: docs/enrollment.md."""
    from cofactor_server.cli.opening import within
    from cofactor_server.domain.authenticators.tickets import IssuedTicket, NewTicket
    from cofactor_server.domain.callers import Caller
    from cofactor_server.services.transactions.refusals import Missing

    async def issued(application: "Application", settings: "Settings") -> IssuedTicket:
        user = await application.operators.user(realm or settings.default_realm, name)
        new = NewTicket(user.id, frozenset(factors or ()), several, send_mail)
        return await application.ticket_office.issue(Caller(), OPERATOR, new)

    try:
        ticket = within(issued)
    except Missing:
        raise Problem(f"there is no user {name}") from None
    if as_json:
        dump({"ticket": ticket.ticket, "url": ticket.url, "expires_at": instant(ticket.expires_at)})
    else:
        say(ticket.url)
        say(f"good once, until {instant(ticket.expires_at)}; for {name} alone")


@app.command()
def block(name: Subject, realm: Realm = "", as_json: Json = False) -> None:
    """Block a user, and end every token issued before."""
    _set_blocked(name, realm, blocked=True, as_json=as_json)


@app.command()
def unblock(name: Subject, realm: Realm = "", as_json: Json = False) -> None:
    """Let a blocked user in again."""
    _set_blocked(name, realm, blocked=False, as_json=as_json)


def _set_blocked(name: str, realm: str, *, blocked: bool, as_json: bool) -> None:
    user = _on(name, realm, lambda operators, where: operators.set_blocked(where, name, blocked=blocked))
    if as_json:
        dump({"id": user.id, "blocked": user.blocked})
    else:
        say(f"{user.subject} in {user.realm}: {'blocked' if user.blocked else 'not blocked'}")


@app.command("forget-browsers")
def forget_browsers(name: Subject, realm: Realm = "", as_json: Json = False) -> None:
    """Forget every browser that is remembered: a second factor is asked for again."""
    forgotten = _on(name, realm, lambda operators, where: operators.forget_browsers(where, name))
    if as_json:
        dump({"forgotten": forgotten})
    else:
        say(f"{name}: {forgotten} browser{'' if forgotten == 1 else 's'} forgotten")


@app.command("sign-out")
def sign_out(name: Subject, realm: Realm = "", as_json: Json = False) -> None:
    """End everything that a user has open, everywhere: refresh tokens, remembered browsers, access tokens, logins."""
    ended = _on(name, realm, lambda operators, where: operators.sign_out(where, name))
    tokens, browsers = len(ended.refresh_tokens), len(ended.browsers)
    if as_json:
        dump({"ended_refresh_tokens": tokens, "ended_browsers": browsers})
    else:
        said = f"{tokens} refresh token{'' if tokens == 1 else 's'}, {browsers} remembered browser"
        say(f"{name}: signed out everywhere; ended: {said}{'' if browsers == 1 else 's'}")


@app.command("set-email")
def set_email(
    name: Subject,
    email: Annotated[str, typer.Argument(metavar="ADDRESS", help="The profile's mail address; empty for none.")],
    realm: Realm = "",
    email_verified: Verified = False,
    as_json: Json = False,
) -> None:
    """Give a user's profile another mail address; the user is told."""
    user = _on(name, realm, lambda operators, where: operators.set_email(where, name, email, verified=email_verified))
    if as_json:
        dump({"id": user.id, "email": user.email or None, "email_verified": user.email_verified})
    else:
        say(f"{user.subject} in {user.realm}: has {'a' if user.email else 'no'} mail address")


@app.command("set-password")
def set_password(name: Subject, realm: Realm = "", password_stdin: FromStdin = False, as_json: Json = False) -> None:
    """Give a user a new password, and end every token issued before."""
    password = ask_password(from_stdin=password_stdin, confirm=True)
    user = _on(name, realm, lambda operators, where: operators.set_password(where, name, password))
    if as_json:
        dump({"id": user.id})
    else:
        say(f"{user.subject} in {user.realm}: has a new password")
