"""The address of the operator's hook, and the TLS files that authenticate it (ADR-18)."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from cofactor_server.origin import is_loopback

SECONDS = 0.3
"""The time limit for the queue, the connection and the answer together. No setting extends it (ADR-13)."""


class HookUnusable(Exception):
    """A TLS file of the hook can't be read, or contains no PEM. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class HookTarget:
    """A hook's address and the PEM files of its TLS.

    Without `ca_file`, gRPC's built-in certificate authorities are trusted, and loopback and unix sockets use no TLS.
    """

    address: str
    """`dns:///host:port` or `unix:/path`."""
    ca_file: Path | None = None
    """The trusted authorities for the hook's certificate."""
    certificate_file: Path | None = None
    """This server's client certificate (mTLS)."""
    key_file: Path | None = None
    seconds: float = SECONDS
    """The time limit for an answer."""

    @property
    def is_local(self) -> bool:
        """Whether the hook runs on this machine, so that no network lies between."""
        return self.address.startswith("unix:") or is_loopback(_host(self.address))

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return the credentials from the current files; None for plaintext, which is used for a local hook only.

        Raises:
            HookUnusable: A file can't be read.
        """
        if self.is_local and self.ca_file is None:
            return None
        ca, key, certificate = (_read(file) for file in (self.ca_file, self.key_file, self.certificate_file))
        return grpc.ssl_channel_credentials(ca, key, certificate)

    def stamps(self) -> tuple[tuple[int, int, int], ...]:
        """Return stamps that change when a file is replaced; empty while one of the files is absent."""
        try:
            seen = [file.stat() for file in (self.ca_file, self.key_file, self.certificate_file) if file is not None]
        except OSError:
            return ()
        return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in seen)


def check_address(address: str) -> str:
    """Return the address of a hook, unchanged if it is valid.

    Raises:
        ValueError: It is neither `dns:///host:port` nor `unix:/path`.
    """
    if address.startswith("unix:/"):
        return address
    if not address.startswith("dns:///") or not _is_host_and_port(address.removeprefix("dns:///")):
        raise ValueError("must be dns:///host:port or unix:/path")
    return address


def _is_host_and_port(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return bool(parts.hostname and parts.port) and parts.netloc == text and "@" not in text
    except ValueError:
        return False


def _host(address: str) -> str:
    return urlsplit(f"//{address.removeprefix('dns:///')}").hostname or ""


def _read(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        content = file.read_bytes()
    except OSError as error:
        raise HookUnusable(f"{file}: {error.strerror}") from None
    if b"-----BEGIN " not in content:
        raise HookUnusable(f"{file}: holds no PEM")
    return content
