"""Certificates that are read again when their files change (ADR-18)."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import grpc
import structlog

M = TypeVar("M")

_log = structlog.get_logger("cofactor.rpc")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files."""

    certificate: Path
    """The server's certificate, followed by its intermediates."""
    key: Path
    client_ca: Path | None = None
    """Whoever connects must show a certificate that this authority signed."""


class TlsUnusable(Exception):
    """A file can't be read, or certificate and key are not a pair."""


def credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that follow their files: every handshake looks whether they changed.

    Files that are unusable, or in the middle of being replaced, leave in place what was read last.

    Raises:
        TlsUnusable: There is nothing to begin with.
    """
    follower = _Follower(files, _configuration)
    return grpc.dynamic_ssl_server_credentials(
        follower.current,
        follower.changed,  # type: ignore[arg-type]  # None keeps what there is, as its documentation says
        require_client_authentication=files.client_ca is not None,
    )


def following_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context for asyncio's servers that follows its files in the same way.

    Raises:
        TlsUnusable: There is nothing to begin with.
    """
    context = _FollowingContext(ssl.PROTOCOL_TLS_SERVER)
    context.follower = _Follower(files, server_context)
    return context


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return what the files hold as a context for servers other than gRPC's.

    Raises:
        TlsUnusable: They can't be used.
    """
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # The empty password keeps OpenSSL from asking a terminal for that of an encrypted key.
        context.load_cert_chain(files.certificate, files.key, password="")
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        raise TlsUnusable(f"{', '.join(map(str, _paths(files)))}: {error.strerror or error}") from None
    return context


class _Follower(Generic[M]):
    """Makes something of files, again whenever they changed."""

    def __init__(self, files: TlsFiles, make: Callable[[TlsFiles], M]) -> None:
        self._files = files
        self._make = make
        self._stamps = _look(files)
        self.current = make(files)

    def changed(self) -> M | None:
        """Return what is new, None while it is the old one; gRPC asks from a thread of its own."""
        try:
            stamps = _look(self._files)
            if stamps == self._stamps:
                return None
            made = self._make(self._files)
            if _look(self._files) != stamps:
                return None  # still being written; the next handshake looks again
        except TlsUnusable as error:
            _log.error("tls_files_unusable", reason=str(error))
            return None
        self.current, self._stamps = made, stamps
        _log.info("tls_files_reloaded", certificate=str(self._files.certificate))
        return made


class _FollowingContext(ssl.SSLContext):
    """Gives each connection the newest context there is.

    A context in use can be given another certificate, but no authority can be taken out of it again, and it resumes the
    connections of those whose authority is gone without a look at their certificates.
    """

    follower: _Follower[ssl.SSLContext]

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Begin a connection; asyncio and uvloop call this for each one."""
        self.follower.changed()
        return self.follower.current.wrap_bio(*arguments, **named)


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    server_context(files)  # gRPC itself would only log what is wrong
    try:
        roots = files.client_ca.read_bytes() if files.client_ca is not None else None
        pair = (files.key.read_bytes(), files.certificate.read_bytes())
    except OSError as error:
        raise TlsUnusable(f"{error.filename}: {error.strerror}") from None
    return grpc.ssl_server_certificate_configuration([pair], roots)


def _look(files: TlsFiles) -> list[tuple[int, int, int]]:
    try:
        seen = [path.stat() for path in _paths(files)]
    except OSError as error:
        raise TlsUnusable(f"{error.filename}: {error.strerror}") from None
    return [(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in seen]


def _paths(files: TlsFiles) -> list[Path]:
    return [path for path in (files.certificate, files.key, files.client_ca) if path]
