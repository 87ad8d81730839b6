"""`demo.json`: what a running demo tells whoever may read its folder."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cofactor_server.serving.listening import StartFailed

FILE = "demo.json"


@dataclass(frozen=True, slots=True)
class Testing:
    """What `demo.json` tells of test mode alone."""

    grpc_tls: str
    """`host:port` of the listener that demands a client certificate."""
    ca_file: str
    """PEM: the authority of the server's certificate and of the client's."""
    certificate_file: str
    """PEM: the client's."""
    key_file: str
    """PEM, mode 0600."""
    tls_client_id: str
    """The client of that certificate; it has the demo client's rights, and no secret."""


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
    management: str = ""
    """Where operators call; another port at every start."""
    management_token: str = field(default="", repr=False)
    """With the role `admin`, for as long as a token can be good: a day."""
    test: Testing | None = None
    """Absent unless the demo is in test mode."""

    def document(self) -> bytes:
        """Return it as a JSON object on one line."""
        said = msgspec.to_builtins(self)
        return msgspec.json.encode({name: value for name, value in said.items() if value is not None})


def read(state: Path) -> Demo:
    """Return what a running demo wrote.

    Raises:
        StartFailed: There is no such file, or it is something else.
    """
    demo = found(state)
    if demo is None:
        raise StartFailed(f"{state / FILE}: no demo has written this; start one with `make run`")
    return demo


def found(state: Path) -> Demo | None:
    """Return what a demo wrote, if anything that can be read is there."""
    try:
        return msgspec.json.decode((state / FILE).read_bytes(), type=Demo)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write(state: Path, demo: Demo) -> None:
    """Put a new file in the old one's place, so that a reader sees one or the other."""
    replace(state / FILE, msgspec.json.format(demo.document(), indent=2) + b"\n")


def replace(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, as a whole or not at all."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
