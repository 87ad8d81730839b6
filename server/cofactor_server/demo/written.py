"""Reads and writes `demo.json`: a running demo's addresses and credentials, for users who may read its folder."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cofactor_server.serving.listening import StartFailed

FILE = "demo.json"


@dataclass(frozen=True, slots=True)
class Testing:
    """The section of `demo.json` about test mode."""

    grpc_tls: str
    """`host:port` of the listener that requires a client certificate."""
    ca_file: str
    """PEM: the authority of the server's certificate and of the client's."""
    certificate_file: str
    """PEM: the client's."""
    key_file: str
    """PEM, mode 0600."""
    tls_client_id: str
    """The id of the client with that certificate; it has the demo client's rights, and no secret."""


@dataclass(frozen=True, slots=True)
class Demo:
    """The content of `demo.json`."""

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
    """The address of operators' calls; the port changes at every start."""
    management_token: str = field(default="", repr=False)
    """An operator token with the role `admin`, valid for the maximum lifetime: a day."""
    test: Testing | None = None
    """Absent unless the demo is in test mode."""

    def document(self) -> bytes:
        """Return the content as a JSON object on one line."""
        said = msgspec.to_builtins(self)
        return msgspec.json.encode({name: value for name, value in said.items() if value is not None})


def read(state: Path) -> Demo:
    """Return the `demo.json` of a running demo.

    Raises:
        StartFailed: There is no such file, or it can't be parsed.
    """
    demo = found(state)
    if demo is None:
        raise StartFailed(f"{state / FILE}: no demo has written this; start one with `make run`")
    return demo


def found(state: Path) -> Demo | None:
    """Return the `demo.json` of a folder; None if it is absent or can't be parsed."""
    try:
        return msgspec.json.decode((state / FILE).read_bytes(), type=Demo)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write(state: Path, demo: Demo) -> None:
    """Replace `demo.json` atomically, so that a reader sees either the old file or the new one."""
    replace(state / FILE, msgspec.json.format(demo.document(), indent=2) + b"\n")


def replace(path: Path, content: bytes) -> None:
    """Write a file atomically, readable only by its owner."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
    new.replace(path)
