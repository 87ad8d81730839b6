"""Runs the demo: loopback only, random credentials per state folder, MFA always required (ADR-12).

Only `cli` imports this module. The demo's databases are marked: `serve` refuses them, and the demo refuses others.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from cofactor_server.app import Application, Configuration, opened
from cofactor_server.demo import testing, written
from cofactor_server.demo.outbox import Outbox, Sent
from cofactor_server.demo.written import Demo
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation import values
from cofactor_server.domain.foundation.budgets import UNBOUNDED, Pumping
from cofactor_server.domain.parties.clients import Capability, GrantType
from cofactor_server.domain.parties.operators import LONGEST_TOKEN, Role
from cofactor_server.domain.parties.relying_party import ANY_LOCALHOST, LOCALHOST
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.factors import registry
from cofactor_server.rest.application import HttpApplication
from cofactor_server.seams import ALPHANUMERIC, SECOND, Clock, SystemClock, SystemEntropy
from cofactor_server.services.operators.users_and_clients import NewClient, NewUser
from cofactor_server.serving import running
from cofactor_server.serving.listening import Listening, StartFailed, bind, joined, name_of
from cofactor_server.settings import split_address
from cofactor_server.vault.digests import same, sha256
from cofactor_server.vault.keyring import Keyring

HOST = "127.0.0.1"
HOSTS = (HOST, "localhost", "::1")
REALM = "demo"
USERNAME = "jane@example.com"
CLIENT_NAME = "Demo client"
TLS_CLIENT_NAME = "Demo client with a certificate"
FRIENDLY_NAME = "Cofactor demo"
PASSWORD_LENGTH = 20


async def run(
    state: Path, *, http_port: int, grpc_port: int, on_ready: Callable[[Demo], None], test: bool = False
) -> None:
    """Serve the demo until SIGTERM or SIGINT.

    Args:
        state: The folder of the keyring, the databases and `demo.json`; created if absent.
        http_port: The port of HTTP; 0 chooses one. The issuer contains the port, so each port has its own database.
        grpc_port: The port of gRPC; 0 chooses one.
        on_ready: Called with the content of `demo.json`, once it is written and calls are answered.
        test: Whether to serve `cofactor.testing.v1`, and a listener that requires a client certificate.

    Raises:
        StartFailed: A port is in use, or the folder can't be used.
        Unfit: A database in the folder does not belong to a demo.
        KeyringInvalid: The folder's keyring was replaced.
    """
    os.umask(0o077)  # only this user may read the files, including those that SQLite creates
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(contextlib.closing(bind(joined(HOST, http_port))))
        listening = Listening(
            name_of(sock), joined(HOST, grpc_port), reflection=True, drain_seconds=2, management=joined(HOST, 0)
        )
        bind(joined(HOST, grpc_port)).close()
        stack.enter_context(_owned(state))
        mode = testing.Mode.on(state) if test else None
        if mode is None and testing.was_moved(state):
            raise StartFailed(f"{state}: a test moved the clock of this folder; give --test, or another STATE_DIR")
        clock = SystemClock() if mode is None else mode.clock
        outbox = Outbox(clock, FRIENDLY_NAME)
        configuration = _configuration(state, name_of(sock), outbox, clock)
        with running.told_to_stop() as stop:
            async with opened(configuration) as application:
                demo = await _prepared(application, state)
                tls_client = await _tls_client(application) if mode else ""

                def ready(bound: running.Bound) -> None:
                    token, _ = application.operator_tokens.mint(Role.ADMIN, LONGEST_TOKEN)
                    at = f"http://{bound.management}"
                    told = replace(demo, grpc=bound.grpc or "", management=at, management_token=token)
                    if mode is not None:
                        (grpc_tls,) = bound.more
                        told = replace(told, test=mode.told(grpc_tls, tls_client))
                    written.write(state, told)
                    on_ready(told)

                await running.run(
                    application,
                    listening,
                    stop,
                    http=_with_outbox(application.http(), outbox),
                    http_socket=sock,
                    more=(replace(listening, grpc=joined(HOST, 0), tls=mode.tls),) if mode else (),
                    register=mode.registering(outbox) if mode else running.nothing_more,
                    on_ready=ready,
                )


def _configuration(state: Path, address: str, outbox: Outbox, clock: Clock) -> Configuration:
    entropy = SystemEntropy()
    keyring_file = state / "keyring.json"
    if not keyring_file.exists():
        Keyring.write(keyring_file, Keyring.generate(entropy))
    _, port = split_address(address)
    deployment = Deployment(
        issuer=f"http://{address}/",
        friendly_name=FRIENDLY_NAME,
        default_realm=REALM,
        mfa_policy=MfaPolicy.ALWAYS,
        # Browsers accept no IP address as a relying party, so security keys work on pages of localhost.
        webauthn_rp_id=LOCALHOST,
        webauthn_origins=(ANY_LOCALHOST,),
        # Nothing leaves this machine, and one client makes every call, with a few phone numbers that no one answers.
        # The rate limit per user stays on, since applications must handle it.
        number_sends=UNBOUNDED,
        address_sends=UNBOUNDED,
        client_sends=UNBOUNDED,
        pumping=Pumping(messages=0),
    )
    return Configuration(
        database_url=f"sqlite:///{state / f'demo-{port}.sqlite3'}",
        keyring=Keyring.load(keyring_file, clock, entropy),
        deployment=values.replace(deployment, kinds=frozenset(registry.load(entropy, deployment.relying_party))),
        demo=True,
        clock=clock,
        entropy=entropy,
        sender=outbox,
        allowed_hosts=HOSTS,
        access_log=False,
    )


@contextlib.contextmanager
def _owned(state: Path) -> Iterator[None]:
    """Create the folder, and lock out other demos."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = state.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o002:
            raise StartFailed(f"{state}: others can write there; give another STATE_DIR")
        with (state / "demo.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StartFailed(f"{state}: another demo runs there; give another STATE_DIR") from None
            yield
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise StartFailed(f"{state}: {error.strerror}") from None


async def _prepared(application: Application, state: Path) -> Demo:
    """Return the demo with valid credentials: those of the last start, or new ones."""
    deployment, operators = application.configuration.deployment, application.operators
    clients = {client.id: client for client in await operators.clients()}
    users = {user.subject for user, _ in await operators.users(REALM)}
    known = written.found(state)
    if known is not None and known.issuer == deployment.issuer and known.username in users:
        client = clients.get(known.client_id)
        if client is not None and same(client.secret_sha256, sha256(known.client_secret)):
            return replace(known, test=None)
    for client in clients.values():
        if client.name == CLIENT_NAME:  # its secret is lost
            await operators.delete_client(client.id)
    created, secret = await operators.create_client(_client(CLIENT_NAME, deployment))
    password = application.configuration.entropy.choose(ALPHANUMERIC, PASSWORD_LENGTH)
    if USERNAME in users:
        await operators.set_password(REALM, USERNAME, password)
    else:
        await operators.create_user(NewUser(REALM, USERNAME, password, label=USERNAME))
    http = deployment.issuer.rstrip("/")
    return Demo(http, "", deployment.issuer, created.id, secret, USERNAME, password, REALM, _api(deployment))


async def _tls_client(application: Application) -> str:
    """Return the id of the client that test mode's certificate names; create the client if absent."""
    operators = application.operators
    for client in await operators.clients():
        if client.tls_san == testing.CLIENT_SAN:
            return client.id
    new = _client(TLS_CLIENT_NAME, application.configuration.deployment)
    created, _ = await operators.create_client(replace(new, tls_san=testing.CLIENT_SAN))
    return created.id


def _client(name: str, deployment: Deployment) -> NewClient:
    return NewClient(
        name=name,
        grant_types=frozenset(GrantType),
        capabilities=frozenset({Capability.VOUCH, Capability.PROVISION, Capability.ENROLL}),
        audiences=(_api(deployment),),
        realms=(REALM,),
    )


def _api(deployment: Deployment) -> str:
    return deployment.issuer + "api/"


def _with_outbox(edge: HttpApplication, outbox: Outbox) -> HttpApplication:
    # There is no CORS and the edge checks the Host header, so a page of another origin can't read the response, not
    # even under another name for this host.
    async def messages(_request: Request) -> JSONResponse:
        return JSONResponse([_shown(sent) for sent in outbox.messages()], headers={"cache-control": "no-store"})

    edge.add("GET", "/demo/outbox", messages)
    return edge


def _shown(sent: Sent) -> dict[str, Any]:
    message = sent.message
    time = datetime.fromtimestamp(sent.time / SECOND, UTC)
    return {
        "channel": message.channel,
        "to": message.to,
        **({"subject": sent.subject} if sent.subject else {}),
        "text": sent.text,
        "code": message.code,
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **({} if message.payload is None else {"payload": dict(message.payload)}),
    }
