"""Where secrets go, and where they do not."""

from pathlib import Path

import pytest
from cofactor import aio, client
from cofactor.client import Credentials, MfaRequired, Plaintext, PlaintextRefused, Tls, Tokens, bearer
from cofactor.connecting import is_loopback
from cofactor.testing.servers import ClientCertificate, Demo
from cofactor.v1 import tokens_pb2
from cofactor.waiting import Polling

HERE = [
    "127.0.0.1:50051",
    "127.9.9.9:1",
    "[::1]:50051",
    "[::1]",
    "localhost:50051",
    "LOCALHOST",
    "dns:///localhost:50051",
    "dns:127.0.0.1:50051",
    "ipv4:127.0.0.1:50051",
    "ipv6:[::1]:50051",
    "unix:/run/cofactor.sock",
    "unix:///run/cofactor.sock",
]
ELSEWHERE = [
    "",
    "10.0.0.1:50051",
    "0.0.0.0:50051",
    "[::]:50051",
    "[fe80::1]:50051",
    "[::ffff:10.0.0.1]:50051",
    "mfa.example.com:443",
    "localhost.example.com:50051",
    "127.0.0.1.example.com:50051",
    "example.com/127.0.0.1",
    "dns://10.0.0.1/localhost:50051",
    "dns:////localhost:50051",
    "ipv4:127.0.0.1:50051,10.0.0.1:50051",
    "127.1:50051",
    "2130706433:50051",
    "127.0.0.1:50051@example.com",
    "localhost:50051/example.com",
    "user@localhost:50051",
    "[::1].example.com:443",
    "xds:///localhost",
    "passthrough:///10.0.0.1:1",
]


@pytest.mark.parametrize("target", HERE)
def test_plaintext_goes_to_this_machine(target: str) -> None:
    assert is_loopback(target)
    client.connect(target, transport=Plaintext()).close()


@pytest.mark.parametrize("target", ELSEWHERE)
async def test_plaintext_goes_nowhere_else_unless_it_is_told_to(target: str) -> None:
    for connect in (client.connect, aio.connect):
        with pytest.raises(PlaintextRefused):
            connect(target, transport=Plaintext())
    if target:
        client.connect(target, transport=Plaintext(allow_remote=True)).close()


def test_files_that_cant_be_read_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.connect("mfa.example.com:443", transport=Tls(tmp_path / "ca.pem"))


def test_a_certificate_comes_with_its_key() -> None:
    with pytest.raises(ValueError, match="needs its key"):
        Tls(certificate_file="client.pem")


@pytest.mark.parametrize("secret", ["s3cret\r\nx: y", "s3cret ", "sécret"])
def test_credentials_that_cant_be_sent_are_refused_without_being_shown(secret: str) -> None:
    for make in (lambda: Credentials("cli_1", secret), lambda: bearer(secret)):
        with pytest.raises(ValueError, match="can't be sent") as refused:
            make()
        assert secret not in str(refused.value)


def test_nothing_prints_a_secret() -> None:
    certificate = ClientCertificate("h:1", "ca", "crt", "key", "cli_2")
    things = [
        Credentials("cli_1", "s3cret"),
        Tokens(tokens_pb2.Tokens(access_token="s3cret")),
        MfaRequired(tokens_pb2.MfaRequired(mfa_token="s3cret")),
        Polling(tokens_pb2.MfaOobGrant(mfa_token="s3cret")),
        Demo("h", "g", "i", "c", "s3cret", "u", "s3cret", "r", "a", certificate),
    ]

    assert "s3cret" not in repr(things)
