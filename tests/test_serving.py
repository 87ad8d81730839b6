"""Parts of serving that need no process of their own."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from cofactor_server import http_server
from cofactor_server.listening import Listening, StartFailed, bind, name_of
from cofactor_server.rpc import tls

from tests.cli.certificates import certificate


def shown_by(context: ssl.SSLContext) -> bytes | None:
    """Return the certificate that a server with this context shows."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    asks, answers = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = trusting.wrap_bio(answers, asks), context.wrap_bio(asks, answers, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client.getpeercert(binary_form=True)


async def test_https_follows_its_files_and_survives_bad_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CERTIFICATES_EVERY", 0.01)
    files = tls.TlsFiles(*certificate(tmp_path))
    context = tls.server_context(files)
    first = shown_by(context)
    following = asyncio.create_task(http_server._follow(files, context))
    await asyncio.sleep(0.02)
    files.certificate.write_text("half a certificate")
    await asyncio.sleep(0.05)
    assert shown_by(context) == first
    certificate(tmp_path)
    while shown_by(context) == first:  # noqa: ASYNC110 - what waits is the server's own clock
        await asyncio.sleep(0.01)
    following.cancel()


def test_an_address_taken_by_one_process_is_not_shared_with_another() -> None:
    with contextlib.closing(bind("127.0.0.1:0")) as held:
        for reuse_port in (False, True):
            with pytest.raises(StartFailed, match="address in use"):
                bind(name_of(held), reuse_port=reuse_port)


def test_a_dead_unix_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'socket'}"
    bind(address).close()
    with contextlib.closing(bind(address)), pytest.raises(StartFailed, match="address in use"):
        bind(address)


def test_workers_share_ports_and_count_their_metrics_ports_up() -> None:
    chosen, held = Listening("127.0.0.1:0", "[::1]:0", metrics="127.0.0.1:9464").shared()
    for sock in held:
        sock.close()
    assert chosen.reuse_port
    assert chosen.http != "127.0.0.1:0"
    assert [chosen.of_worker(number).metrics for number in (0, 1)] == ["127.0.0.1:9464", "127.0.0.1:9465"]


def test_workers_do_not_share_a_unix_socket(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="unix socket"):
        Listening(f"unix:{tmp_path / 'socket'}", None).shared()
