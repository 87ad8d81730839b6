"""The demo: loopback only, every credential drawn at random per state folder, MFA always asked for (security.md 12).

Imported by `cli` alone. Its databases carry a mark: `serve` refuses them, and the demo refuses others.
"""

import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from cofactor_server.app import Application, Configuration, opened
from cofactor_server.delivery.texts import Texts
from cofactor_server.domain.clients import Capability, GrantType
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.proofs import Message
from cofactor_server.domain.relying_party import ANY_LOCALHOST, LOCALHOST
from cofactor_server.domain.users import MfaPolicy
from cofactor_server.factors import registry
from cofactor_server.seams import ALPHANUMERIC, SECOND, Clock, SystemClock, SystemEntropy
from cofactor_server.services.operators import NewClient, NewUser
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
FRIENDLY_NAME = "Cofactor demo"
PASSWORD_LENGTH = 20
REMEMBERED = 1_000
"""Messages the outbox holds."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What `demo.json` tells."""

    http: str
    grpc: str
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    realm: str
    audience: str


class Outbox:
    """Keeps what would have been sent, for whoever sits at this machine."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._texts = Texts(FRIENDLY_NAME)
        self._sent: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)

    async def send(self, message: Message) -> None:
        """Keep one message."""
        written = self._texts.written(message, "")
        time = datetime.fromtimestamp(self._clock.now() / SECOND, UTC)
        entry: dict[str, Any] = {
            "channel": message.channel,
            "to": message.to,
            **({"subject": written.subject} if written.subject else {}),
            "text": written.text,
            "code": message.code,
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if message.payload is not None:
            entry["payload"] = dict(message.payload)
        self._sent.append(entry)

    def carries(self, channel: str) -> bool:  # noqa: ARG002 - it takes what a sender takes
        """Return True: here anything can be sent."""
        return True

    async def close(self) -> None:
        """Do nothing."""

    def messages(self) -> list[dict[str, Any]]:
        """Return what was sent, newest last."""
        return list(self._sent)


async def run(state: Path, *, http_port: int, grpc_port: int, on_ready: Callable[[Demo], None]) -> None:
    """Serve the demo until SIGTERM or SIGINT.

    Args:
        state: The folder that keeps keyring, databases and `demo.json`; made if it is not there.
        http_port: 0 chooses one. The issuer has the port in it, so each port has a database of its own.
        grpc_port: 0 chooses one.
        on_ready: Called with what `demo.json` says, once it is written and calls are answered.

    Raises:
        StartFailed: A port is taken, or the folder can't be used.
        Unfit: A database in the folder is not a demo's.
        KeyringInvalid: The folder's keyring was replaced.
    """
    os.umask(0o077)  # what SQLite makes, too, is for this user only
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(contextlib.closing(bind(joined(HOST, http_port))))
        listening = Listening(name_of(sock), joined(HOST, grpc_port), reflection=True, drain_seconds=2)
        bind(joined(HOST, grpc_port)).close()
        stack.enter_context(_owned(state))
        outbox = Outbox(SystemClock())
        configuration = _configuration(state, name_of(sock), outbox)
        with running.told_to_stop() as stop:
            async with opened(configuration) as application:
                demo = await _prepared(application, state)

                def ready(bound: running.Bound) -> None:
                    running = replace(demo, grpc=bound.grpc or "")
                    _write(state / "demo.json", running)
                    on_ready(running)

                edge = _with_outbox(application.http(), outbox)
                await running.run(application, listening, stop, http=edge, http_socket=sock, on_ready=ready)


def _configuration(state: Path, address: str, outbox: Outbox) -> Configuration:
    clock, entropy = SystemClock(), SystemEntropy()
    keyring_file = state / "keyring.json"
    if not keyring_file.exists():
        Keyring.write(keyring_file, Keyring.generate(entropy))
    _, port = split_address(address)
    deployment = Deployment(
        issuer=f"http://{address}/",
        friendly_name=FRIENDLY_NAME,
        default_realm=REALM,
        mfa_policy=MfaPolicy.ALWAYS,
        # Browsers take no address for a relying party: security keys work on pages of localhost.
        webauthn_rp_id=LOCALHOST,
        webauthn_origins=(ANY_LOCALHOST,),
    )
    return Configuration(
        database_url=f"sqlite:///{state / f'demo-{port}.sqlite3'}",
        keyring=Keyring.load(keyring_file, clock, entropy),
        deployment=replace(deployment, kinds=frozenset(registry.load(entropy, deployment.relying_party))),
        demo=True,
        clock=clock,
        entropy=entropy,
        sender=outbox,
        allowed_hosts=HOSTS,
        access_log=False,
    )


@contextlib.contextmanager
def _owned(state: Path) -> Iterator[None]:
    """Make the folder, and keep other demos out of it."""
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
    """Return the demo with credentials that work: those of the last start, or new ones."""
    deployment, operators = application.configuration.deployment, application.operators
    audience = deployment.issuer + "api/"
    clients = {client.id: client for client in await operators.clients()}
    users = {user.subject for user, _ in await operators.users(REALM)}
    known = _read(state / "demo.json")
    if known is not None and known.issuer == deployment.issuer and known.username in users:
        client = clients.get(known.client_id)
        if client is not None and same(client.secret_sha256, sha256(known.client_secret)):
            return known
    for client in clients.values():
        if client.name == CLIENT_NAME:  # nobody knows its secret any more
            await operators.delete_client(client.id)
    created, secret = await operators.create_client(
        NewClient(
            name=CLIENT_NAME,
            grant_types=frozenset(GrantType),
            capabilities=frozenset({Capability.VOUCH, Capability.PROVISION, Capability.ENROLL}),
            audiences=(audience,),
            realms=(REALM,),
        )
    )
    password = application.configuration.entropy.choose(ALPHANUMERIC, PASSWORD_LENGTH)
    if USERNAME in users:
        await operators.set_password(REALM, USERNAME, password)
    else:
        await operators.create_user(NewUser(REALM, USERNAME, password, label=USERNAME))
    http = deployment.issuer.rstrip("/")
    return Demo(http, "", deployment.issuer, created.id, secret, USERNAME, password, REALM, audience)


def _with_outbox(edge: FastAPI, outbox: Outbox) -> FastAPI:
    # No CORS, and the edge has checked Host: a page elsewhere can't read the answer, whatever name it gives us.
    def messages() -> JSONResponse:
        return JSONResponse(outbox.messages(), headers={"cache-control": "no-store"})

    edge.add_api_route("/demo/outbox", messages, methods=["GET"], include_in_schema=False)
    return edge


def read(state: Path) -> Demo:
    """Return what a running demo wrote.

    Raises:
        StartFailed: There is no such file, or it is something else.
    """
    demo = _read(state / "demo.json")
    if demo is None:
        raise StartFailed(f"{state / 'demo.json'}: no demo has written this; start one with `make run`")
    return demo


def _read(path: Path) -> Demo | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Demo)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _write(path: Path, demo: Demo) -> None:
    """Put a new file in the old one's place, so that a reader sees one or the other."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(demo), indent=2) + b"\n")
    new.replace(path)
