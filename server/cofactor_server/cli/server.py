"""`cofactor serve`, `demo` and `migrate`."""

import asyncio
import shlex
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofactor_server.cli.output import Json, Problem, dump, explained, progress, say

if TYPE_CHECKING:
    from cofactor_server.app import Configuration
    from cofactor_server.demo import Demo
    from cofactor_server.serving.listening import Listening


class Edge(StrEnum):
    """What `--only` takes."""

    HTTP = "http"
    GRPC = "grpc"


def register(app: typer.Typer) -> None:
    """Add these commands at the top."""
    app.command()(serve)
    app.command()(demo)
    app.command()(migrate)


def serve(
    only: Annotated[Edge | None, typer.Option(help="Serve one of the two edges.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on one port; PostgreSQL only.")] = None,
    plaintext_behind_proxy: Annotated[
        bool | None,
        typer.Option(
            "--plaintext-behind-proxy",
            help="State that a proxy in COFACTOR_TRUSTED_PROXIES does TLS: listen without, wherever that is.",
        ),
    ] = None,
    management: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Serve the Management API too, at unix:/path or on loopback; elsewhere operators show a certificate.",
        ),
    ] = None,
    admin: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Serve what is beneath it, cofactor.admin.v1 over gRPC, likewise."),
    ] = None,
    no_migrate: Annotated[
        bool, typer.Option("--no-migrate", help="Refuse an old schema instead of bringing it up to date.")
    ] = False,
) -> None:
    """Serve, as the environment (COFACTOR_…) and COFACTOR_CONFIG_FILE say. SIGTERM stops after what was begun."""
    import structlog

    from cofactor_server import logs
    from cofactor_server.cli.opening import configured
    from cofactor_server.serving import workers as processes
    from cofactor_server.serving.listening import Listening
    from cofactor_server.settings import load

    settings = load(
        workers=workers,
        plaintext_behind_proxy=plaintext_behind_proxy,
        management_listen=management,
        admin_listen=admin,
    )
    configuration = configured(settings)
    if settings.workers > 1 and configuration.database_url.startswith("sqlite"):
        raise Problem("COFACTOR_WORKERS: SQLite has one writing process; more take PostgreSQL")
    listening = Listening.of(settings, only)
    listening.check()
    logs.configure()
    if places := listening.one_source(settings.trusted_proxies):
        structlog.get_logger("cofactor").warning(
            "all users have one source",
            at=places,
            why="calls come from this machine, and COFACTOR_TRUSTED_PROXIES names nobody who forwards their addresses",
        )
    if settings.workers == 1:
        _run(configuration, listening, migrate=not no_migrate)
        return
    # Fork before gRPC or a loop starts: what needs the database beforehand is done by a child of its own.
    if code := processes.in_child(lambda: _guarded(lambda: _open(configuration, migrate=not no_migrate))):
        raise typer.Exit(code)
    chosen, held = listening.shared()

    def work(number: int, parent: int) -> int:
        own = chosen.of_worker(number)
        return _guarded(lambda: _run(configuration, own, migrate=False, parent=parent))

    code = processes.supervise(work, settings.workers, patience=settings.drain_seconds + 5)
    for sock in held:
        sock.close()
    raise typer.Exit(code)


def _guarded(work: Callable[[], None]) -> int:
    """Return a child's exit code."""
    try:
        work()
    except Exception as error:
        if (line := explained(error)) is None:
            raise
        typer.echo(f"cofactor: {line}", err=True)
        return 1
    return 0


def _open(configuration: "Configuration", *, migrate: bool) -> None:
    """Find out whether the database can be served, and bring it up to date."""
    from cofactor_server.app import opened

    async def opening() -> None:
        async with opened(configuration, migrate=migrate):
            pass

    asyncio.run(opening())


def _run(configuration: "Configuration", listening: "Listening", *, migrate: bool, parent: int | None = None) -> None:
    """Serve in this process until told to stop."""
    import structlog
    import uvloop

    from cofactor_server.app import opened
    from cofactor_server.domain.foundation.budgets import MOST_GUESS_CHANCE
    from cofactor_server.serving import running

    log = structlog.get_logger("cofactor")

    chances = configuration.deployment.guess_chances()
    tell = log.warning if max(chances.values(), default=0) > MOST_GUESS_CHANCE else log.info
    # As texts: the name of a factor sounds secret to what keeps secrets out of logs.
    tell("chance of ten guesses", of=[f"{kind}: 1 in {round(1 / chance)}" for kind, chance in chances.items()])

    def operators(bound: running.Bound) -> dict[str, str]:
        places = {"management": bound.management, "admin": bound.admin}
        return {name: address for name, address in places.items() if address}

    async def served() -> None:
        with running.told_to_stop(parent) as stop:
            async with opened(configuration, migrate=migrate) as application:
                await running.run(
                    application,
                    listening,
                    stop,
                    on_ready=lambda bound: log.info("serving", http=bound.http, grpc=bound.grpc, **operators(bound)),
                )

    uvloop.run(served())


def demo(
    http_port: Annotated[int, typer.Option(min=0, max=65_535, help="0 chooses one.")] = 8080,
    grpc_port: Annotated[int, typer.Option(min=0, max=65_535, help="0 chooses one.")] = 50051,
    state_dir: Annotated[Path, typer.Option(help="Keeps keyring, database and demo.json.")] = Path(".cofactor"),
    test: Annotated[
        bool,
        typer.Option(
            "--test",
            help="For tests: a clock that can be moved, messages over gRPC, a listener for client certificates. "
            "Standard output is demo.json on one line, once calls are answered.",
        ),
    ] = False,
) -> None:
    """Start a demo on loopback: a client, a user, every factor, and MFA always asked for."""
    import uvloop

    from cofactor_server import demo

    def ready(found: "Demo") -> None:
        if test:
            typer.echo(found.document())
            sys.stdout.flush()
        else:
            _tell(found, state_dir)

    uvloop.run(demo.run(state_dir, http_port=http_port, grpc_port=grpc_port, on_ready=ready, test=test))


def _tell(found: "Demo", state: Path) -> None:
    file = shlex.quote(str(state / "demo.json"))
    say(
        f"""
Cofactor's demo is running, for this machine only. Ctrl-C stops it.

  HTTP   {found.http}     OpenAPI: {found.http}/openapi.json
  gRPC   {found.grpc}     with reflection: grpcurl -plaintext {found.grpc} list
  Management API   {found.management}/api/v2     with the token in {file}
  user   {found.username}
  The client's credentials and the user's password are in {file}, which only you can read.
  What it sends lands in {found.http}/demo/outbox

Log in; the answer asks for a second factor and holds an mfa_token:

  get() {{ python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' {file} "$1"; }}
  curl -s "$(get http)/oauth/token" -d grant_type=password -d client_id="$(get client_id)" \\
    -d client_secret="$(get client_secret)" -d username="$(get username)" -d password="$(get password)"

Or enroll an authenticator app from a QR code, in another terminal:

  {shlex.quote(sys.argv[0])} authenticators enroll --demo {shlex.quote(str(state))}
""".strip("\n")
    )
    sys.stdout.flush()


def migrate(as_json: Json = False) -> None:
    """Bring the database's schema up to date."""
    from cofactor_server.app import migrated
    from cofactor_server.cli.opening import configured
    from cofactor_server.settings import load

    configuration = configured(load())
    with progress("Migrating"):
        before, after = asyncio.run(migrated(configuration))
    if as_json:
        dump({"before": before or None, "after": after})
    elif before == after:
        say(f"the schema is current: {after}")
    else:
        say(f"migrated from {before or 'nothing'} to {after}")
