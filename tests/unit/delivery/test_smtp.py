"""Mail, received by a real SMTP server."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default as modern
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd import smtp
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from cofactor_server.delivery.provider import MaybeTaken, NoSuchDestination, NotTaken, ProviderRefuses
from cofactor_server.delivery.sending import Delivery
from cofactor_server.delivery.smtp import Server, Smtp
from cofactor_server.domain.authenticators.proofs import Message
from cofactor_server.errors import DeliveryFailed

from tests.support.world import MovableClock
from tests.unit.cli.certificates import certificate
from tests.unit.delivery.conftest import CODE, delivery, outgoing

SENDER = Address("Exämple", "mfa", "example.com")
TO = "jane@example.net"
USER, PASSWORD = "cofactor", "shhh-password"


@dataclass
class Mailbox:
    """The server's handler: keeps what came, and replies as told."""

    received: list[Envelope] = field(default_factory=list)
    tls: list[bool] = field(default_factory=list)
    replies: dict[str, str] = field(default_factory=dict)
    """By command, instead of 250."""
    cut: bool = False
    """Whether to hang up instead of replying to a mail."""
    port: int = 0

    async def handle_MAIL(self, server: smtp.SMTP, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        envelope.mail_from = address
        return self.replies.get("MAIL", "250 OK")

    async def handle_RCPT(self, server: smtp.SMTP, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        envelope.rcpt_tos.append(address)
        return self.replies.get("RCPT", "250 OK")

    async def handle_DATA(self, server: smtp.SMTP, session: Any, envelope: Envelope) -> str:
        self.received.append(envelope)
        self.tls.append(server.transport.get_extra_info("sslcontext") is not None)  # type: ignore[union-attr]
        if self.cut:
            server.transport.abort()  # type: ignore[union-attr]
        return self.replies.get("DATA", "250 OK")

    def mail(self) -> EmailMessage:
        (envelope,) = self.received
        assert isinstance(envelope.content, bytes)
        return message_from_bytes(envelope.content, EmailMessage, policy=modern)


def authenticated(server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
    right = isinstance(given, LoginPassword) and given == LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


@asynccontextmanager
async def mail_server(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, login: bool = False
) -> AsyncIterator[Mailbox]:
    box = Mailbox()
    loop = asyncio.get_running_loop()
    open_: list[smtp.SMTP] = []

    def conversation() -> smtp.SMTP:
        open_.append(
            smtp.SMTP(
                box,
                tls_context=starttls,
                require_starttls=starttls is not None,
                authenticator=authenticated if login else None,
                auth_required=login,
                auth_require_tls=starttls is not None,
                enable_SMTPUTF8=True,
                loop=loop,
            )
        )
        return open_[-1]

    server = await loop.create_server(conversation, "127.0.0.1", 0, ssl=tls)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        for one in open_:
            if one.transport is not None:
                one.transport.close()
            handlers = [task for task in (one._handler_coroutine,) if task is not None]
            for task in handlers:
                task.cancel()
            await asyncio.gather(*handlers, return_exceptions=True)


@pytest.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mail_server() as found:
        yield found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("smtp"))


@pytest.fixture
def shown(files: tuple[Path, Path]) -> ssl.SSLContext:
    """The server's side of TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    return context


@pytest.fixture
def believed(files: tuple[Path, Path]) -> ssl.SSLContext:
    """Ours."""
    return ssl.create_default_context(cafile=str(files[0]))


def plain(box: Mailbox, trust: ssl.SSLContext, clock: MovableClock) -> Smtp:
    return Smtp(Server("127.0.0.1", box.port, tls=False, starttls=False), SENDER, trust, clock)


def mail(to: str = TO) -> Any:
    return outgoing("email", to, subject="Your code für Example", text=f"{CODE} is your code.\n.\nBye")


async def test_a_mail_arrives_as_it_was_written(box: Mailbox, trust: ssl.SSLContext, clock: MovableClock) -> None:
    await plain(box, trust, clock).carry(mail())
    received = box.mail()
    assert box.received[0].rcpt_tos == [TO]
    assert box.received[0].mail_from == "mfa@example.com"
    assert (received["From"], received["To"]) == ("Exämple <mfa@example.com>", TO)
    assert received["Subject"] == "Your code für Example"
    assert received["Auto-Submitted"] == "auto-generated"
    assert received["Message-ID"] == "<7d9f4c1e-0f5b-4f0e-9d5b-4a1f0b8c2d3e@example.com>"
    assert received["Date"].datetime.timestamp() == clock.now() // 1_000_000
    assert received.get_content().split() == [CODE, "is", "your", "code.", ".", "Bye"]


@pytest.mark.parametrize("implicit", [True, False])
async def test_a_mail_goes_over_tls_with_a_login(
    implicit: bool, shown: ssl.SSLContext, believed: ssl.SSLContext, clock: MovableClock
) -> None:
    async with mail_server(
        tls=shown if implicit else None, starttls=None if implicit else shown, login=not implicit
    ) as box:
        user = ("", "") if implicit else (USER, PASSWORD)
        server = Server("localhost", box.port, implicit, not implicit, *user)
        await Smtp(server, SENDER, believed, clock).carry(mail())
        assert box.tls == [True]


async def test_a_server_without_starttls_gets_nothing(box: Mailbox, trust: ssl.SSLContext, clock: MovableClock) -> None:
    server = Server("localhost", box.port, tls=False, starttls=True, user=USER, password=PASSWORD)
    with pytest.raises(ProviderRefuses, match="STARTTLS"):
        await Smtp(server, SENDER, trust, clock).carry(mail())
    assert box.received == []


@pytest.mark.parametrize("implicit", [True, False])
async def test_a_certificate_that_nobody_vouches_for_gets_nothing(
    implicit: bool, shown: ssl.SSLContext, trust: ssl.SSLContext, clock: MovableClock
) -> None:
    async with mail_server(tls=shown if implicit else None, starttls=None if implicit else shown) as box:
        server = Server("localhost", box.port, implicit, not implicit)
        with pytest.raises(NotTaken):
            await Smtp(server, SENDER, trust, clock).carry(mail())
        assert box.received == []


async def test_a_wrong_password_is_for_the_operator(
    shown: ssl.SSLContext, believed: ssl.SSLContext, clock: MovableClock
) -> None:
    async with mail_server(starttls=shown, login=True) as box:
        server = Server("localhost", box.port, tls=False, starttls=True, user=USER, password="wrong-password")
        with pytest.raises(ProviderRefuses) as caught:
            await Smtp(server, SENDER, believed, clock).carry(mail())
        assert "wrong-password" not in str(caught.value)
        assert "wrong-password" not in repr(server)


@pytest.mark.parametrize(
    ("command", "reply", "failure"),
    [
        ("MAIL", "451 4.3.0 later", NotTaken),
        ("MAIL", "550 5.7.1 not from you", ProviderRefuses),
        ("RCPT", "450 4.2.1 later", NotTaken),
        ("RCPT", "550 5.1.1 nobody of that name", NoSuchDestination),
        ("RCPT", "554 5.7.1 relaying denied", ProviderRefuses),
        ("DATA", "452 4.3.1 disk full", NotTaken),
        ("DATA", "554 5.6.0 we do not like it", ProviderRefuses),
    ],
)
async def test_each_reply_says_what_became_of_the_mail(
    command: str, reply: str, failure: type[Exception], box: Mailbox, trust: ssl.SSLContext, clock: MovableClock
) -> None:
    box.replies[command] = reply
    with pytest.raises(failure) as caught:
        await plain(box, trust, clock).carry(mail())
    assert not any(secret in str(caught.value) for secret in (TO, CODE))


async def sent(box: Mailbox, trust: ssl.SSLContext, clock: MovableClock) -> Delivery:
    return delivery(clock, 5.0, email=plain(box, trust, clock))


@pytest.mark.requirement("S188")
async def test_a_server_that_hangs_up_after_the_mail_is_not_sent_it_again(
    box: Mailbox, trust: ssl.SSLContext, clock: MovableClock
) -> None:
    box.cut = True
    with pytest.raises(MaybeTaken):
        await plain(box, trust, clock).carry(mail())
    box.received.clear()
    with pytest.raises(DeliveryFailed):
        await (await sent(box, trust, clock)).send(Message("email", TO, CODE))
    assert len(box.received) == 1


async def test_nobody_listening_is_certain(box: Mailbox, trust: ssl.SSLContext, clock: MovableClock) -> None:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(NotTaken):
        await Smtp(Server("127.0.0.1", port, tls=False, starttls=False), SENDER, trust, clock).carry(mail())


@pytest.mark.parametrize(
    "to", ["jane@example.net\r\nBcc: all@example.com", "no address", "a@b@c", "ü@b@c", "ü@b\r\nX: y", ""]
)
async def test_an_address_that_is_none_reaches_no_header(
    to: str, box: Mailbox, trust: ssl.SSLContext, clock: MovableClock
) -> None:
    with pytest.raises(NoSuchDestination):
        await plain(box, trust, clock).carry(mail(to))
    assert box.received == []


async def test_an_address_beyond_ascii_is_carried_where_the_server_can(
    box: Mailbox, trust: ssl.SSLContext, clock: MovableClock
) -> None:
    await plain(box, trust, clock).carry(mail("jürgen@example.net"))
    assert box.received[0].rcpt_tos == ["jürgen@example.net"]
