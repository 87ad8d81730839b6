"""Certificates that are read again when their files change (security.md 18)."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

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
    follower = _Follower(files)
    return grpc.dynamic_ssl_server_credentials(
        follower.current,
        follower.changed,  # type: ignore[arg-type]  # None keeps what there is, as its documentation says
        require_client_authentication=files.client_ca is not None,
    )


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
        raise TlsUnusable(f"{', '.join(map(str, paths(files)))}: {error.strerror or error}") from None
    return context


def paths(files: TlsFiles) -> list[Path]:
    """Return the files that there are."""
    return [path for path in (files.certificate, files.key, files.client_ca) if path]


class _Follower:
    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamps = self._look()
        self.current = self._read()

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return new certificates, None while they are the old ones; gRPC asks, from a thread of its own."""
        try:
            stamps = self._look()
            if stamps == self._stamps:
                return None
            read = self._read()
            if self._look() != stamps:
                return None  # still being written; the next handshake looks again
        except TlsUnusable as error:
            _log.error("tls_files_unusable", reason=str(error))
            return None
        self._stamps = stamps
        _log.info("tls_files_reloaded", certificate=str(self._files.certificate))
        return read

    def _look(self) -> list[tuple[int, int, int]]:
        try:
            seen = [path.stat() for path in paths(self._files)]
        except OSError as error:
            raise TlsUnusable(f"{error.filename}: {error.strerror}") from None
        return [(stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in seen]

    def _read(self) -> grpc.ServerCertificateConfiguration:
        files = self._files
        server_context(files)  # gRPC itself would only log what is wrong
        try:
            roots = files.client_ca.read_bytes() if files.client_ca is not None else None
            pair = (files.key.read_bytes(), files.certificate.read_bytes())
        except OSError as error:
            raise TlsUnusable(f"{error.filename}: {error.strerror}") from None
        return grpc.ssl_server_certificate_configuration([pair], roots)
