"""`cofactor demo --test`: features for tests, which no production server has (ADR-12).

They are a clock that tests move forward, sent messages over gRPC, and a listener that requires a client certificate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import msgspec

from cofactor_server.demo import authority, written
from cofactor_server.demo.outbox import Outbox
from cofactor_server.demo.written import Testing
from cofactor_server.rpc.testing import register
from cofactor_server.rpc.transport.tls import TlsFiles
from cofactor_server.seams import SystemClock
from cofactor_server.serving.listening import StartFailed

CLIENT_SAN = "dns:demo-client"
"""The subject alternative name in the client's certificate."""
_CLOCK = "clock.json"


class MovedClock:
    """The machine's clock plus an offset that tests advance.

    The offset survives a restart, so that stored times never lie in the future.

    Args:
        file: The file of the offset, in microseconds.

    Raises:
        StartFailed: The file can't be read, or contains no number.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._clock = SystemClock()
        try:
            self._ahead = msgspec.json.decode(file.read_bytes(), type=int) if file.exists() else 0
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            raise StartFailed(f"{file}: holds no number of microseconds; give another STATE_DIR") from None

    def now(self) -> int:
        """Return microseconds since the Unix epoch."""
        return self._clock.now() + self._ahead

    def advance(self, by: int) -> None:
        """Move the clock forward by `by` microseconds."""
        written.replace(self._file, msgspec.json.encode(self._ahead + by))
        self._ahead += by


def was_moved(state: Path) -> bool:
    """Whether tests have moved the clock of a folder."""
    return (state / _CLOCK).exists()


@dataclass(frozen=True, slots=True)
class Mode:
    """The test mode of one folder."""

    clock: MovedClock
    tls: TlsFiles
    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def on(cls, state: Path) -> "Mode":
        """Return the test mode of a folder, and create its certificates if absent.

        Raises:
            StartFailed: The folder's clock file is unusable; see `MovedClock`.
        """
        folder = state / "tls"
        folder.mkdir(mode=0o700, exist_ok=True)
        ca, server, client = (folder / f"{name}.pem" for name in ("ca", "server", "client"))
        server_key, client_key = (folder / f"{name}.key" for name in ("server", "client"))
        if not all(file.exists() for file in (ca, server, client, server_key, client_key)):
            made = authority.Authority.new()
            for certificate, key, issued in (
                (server, server_key, made.issue("localhost", authority.SERVER_NAMES)),
                (client, client_key, made.issue(CLIENT_SAN, authority.dns(CLIENT_SAN.removeprefix("dns:")))),
            ):
                written.replace(certificate, issued[0])
                written.replace(key, issued[1])
            written.replace(ca, made.pem)
        return cls(MovedClock(state / _CLOCK), TlsFiles(server, server_key, ca), ca, client, client_key)

    def told(self, grpc_tls: str, client_id: str) -> Testing:
        """Return its section of `demo.json`."""
        ca, certificate, key = (str(file.resolve()) for file in (self.authority, self.certificate, self.key))
        return Testing(grpc_tls, ca, certificate, key, client_id)

    def registering(self, outbox: Outbox) -> Callable[[grpc.aio.Server], None]:
        """Return a function that adds `cofactor.testing.v1` to a server."""
        return lambda server: register(server, self.clock, outbox.messages)
