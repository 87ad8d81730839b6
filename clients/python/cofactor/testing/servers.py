"""A server for tests: `cofactor demo --test`, started here or joined, with a clock that is moved and a shown outbox."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration

from cofactor import connecting
from cofactor.connecting import Credentials, Plaintext, Tls
from cofactor.testing.v1 import clock_pb2, outbox_pb2
from cofactor.testing.v1.clock_pb2_grpc import ClockServiceStub
from cofactor.testing.v1.outbox_pb2_grpc import OutboxServiceStub
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
from cofactor.v1.challenges_pb2_grpc import ChallengeServiceStub

TIMEOUT = 10.0
"""Seconds of a call to the server."""
STOPPING = 60.0
"""Seconds that a server may take to stop."""


class ServerFailed(Exception):
    """The server did not start; its own words came before, on standard error."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The listener that demands a client certificate, and one that it takes."""

    grpc_tls: str
    """`host:port`."""
    ca_file: str
    certificate_file: str
    key_file: str
    tls_client_id: str
    """The client of that certificate; it has no secret."""

    @property
    def credentials(self) -> Credentials:
        """Who connects there."""
        return Credentials(self.tls_client_id)

    @property
    def transport(self) -> Tls:
        """How to connect there."""
        return Tls(self.ca_file, self.certificate_file, self.key_file)


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo in test mode tells of itself, in its `demo.json`."""

    http: str
    grpc: str
    """`host:port` of the listener without TLS."""
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    realm: str
    """Whose users the client may vouch for."""
    audience: str
    test: ClientCertificate

    @classmethod
    def parse(cls, document: str | bytes) -> Self:
        """Read the document; members that this version does not know are passed over.

        Raises:
            ServerFailed: It is none, or none of a demo in test mode.
        """
        try:
            said = json.loads(document)
            known = {each.name: said[each.name] for each in fields(cls) if each.name != "test"}
            return cls(**known, test=ClientCertificate(**_only(ClientCertificate, said["test"])))
        except (ValueError, KeyError, TypeError):
            raise ServerFailed("that is not what `cofactor demo --test` says of itself") from None

    @property
    def credentials(self) -> Credentials:
        """Those of the client that may do everything."""
        return Credentials(self.client_id, self.client_secret)


def _only(kind: type, said: Mapping[str, Any]) -> dict[str, Any]:
    return {each.name: said[each.name] for each in fields(kind)}


class Clock:
    """The server's clock; all who use the server share it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = ClockServiceStub(channel)

    def now(self) -> int:
        """Return seconds since the Unix epoch."""
        return self._stub.GetTime(clock_pb2.GetTimeRequest(), timeout=TIMEOUT).time.seconds

    def advance(self, seconds: int) -> int:
        """Move it forward, and return what it then says."""
        request = clock_pb2.AdvanceTimeRequest(by=Duration(seconds=seconds))
        return self._stub.AdvanceTime(request, timeout=TIMEOUT).time.seconds


class Outbox:
    """What the server would have sent."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = OutboxServiceStub(channel)

    def messages(self, to: str = "") -> list[outbox_pb2.Message]:
        """Return what went to an address, newest last; to any where none is given."""
        return list(self._stub.ListMessages(outbox_pb2.ListMessagesRequest(to=to), timeout=TIMEOUT).messages)


class Server:
    """A server in test mode."""

    def __init__(self, demo: Demo) -> None:
        self.demo = demo
        self._channel = grpc.insecure_channel(demo.grpc, options=connecting.options(self.transport))
        self.clock = Clock(self._channel)
        self.outbox = Outbox(self._channel)
        self.challenges = ChallengeServiceStub(self._channel)
        """For devices, which are no client's."""
        self.authenticators = AuthenticatorServiceStub(self._channel)

    @property
    def transport(self) -> Plaintext:
        """How to connect to `demo.grpc`."""
        return Plaintext()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()


class StartedServer(Server):
    """A server that runs here until `close`, in a folder that goes with it."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="cofactor-")
        try:
            self._process, demo = self._run("0", "0")
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        super().__init__(demo)

    def _run(self, http_port: str, grpc_port: str) -> tuple[subprocess.Popen[bytes], Demo]:
        command = [*shlex.split(os.environ.get("COFACTOR_COMMAND", "")), "demo", "--test"]
        if len(command) == 2:
            command.insert(0, "cofactor")
        ports = ("--http-port", http_port, "--grpc-port", grpc_port)
        arguments = [*command, "--state-dir", str(self._state), *ports]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)  # noqa: S603 - the caller's own command
        assert process.stdout is not None  # noqa: S101 - for type checkers
        try:
            line = process.stdout.readline()
            if not line:
                raise ServerFailed(f"`{shlex.join(command)}` did not start")
            return process, Demo.parse(line)
        except BaseException:
            _stop(process)
            raise

    @property
    def file(self) -> Path:
        """Its `demo.json`, by which others join it (`COFACTOR_DEMO`)."""
        return self._state / "demo.json"

    @property
    def _state(self) -> Path:
        return Path(self._folder) / "state"

    def stop(self) -> None:
        """Have it end as a deployment does, by SIGTERM, and wait for that."""
        _stop(self._process)

    def restart(self) -> None:
        """Stop it if it runs, and start it again with what it knows, on the same ports."""
        self.stop()
        http, grpc_port = (address.rpartition(":")[2] for address in (self.demo.http, self.demo.grpc))
        self._process, self.demo = self._run(http, grpc_port)
        grpc.channel_ready_future(self._channel).result(TIMEOUT)

    def close(self) -> None:
        """Stop it and forget what it knew."""
        super().close()
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def started() -> Iterator[StartedServer]:
    """Start a server of `$COFACTOR_COMMAND` (default `cofactor`; split as a shell does) until the block ends.

    Raises:
        ServerFailed: It did not start.
        OSError: There is no such command.
    """
    server = StartedServer()
    try:
        yield server
    finally:
        server.close()


@contextmanager
def joined() -> Iterator[Server]:
    """Join the server whose `demo.json` the environment names as `COFACTOR_DEMO`; without it, start one.

    Raises:
        ServerFailed: There is none, or none in test mode.
        OSError: The file can't be read, or there is no command to start.
    """
    if file := os.environ.get("COFACTOR_DEMO"):
        server = Server(Demo.parse(Path(file).read_bytes()))
        try:
            yield server
        finally:
            server.close()
    else:
        with started() as ours:
            yield ours
