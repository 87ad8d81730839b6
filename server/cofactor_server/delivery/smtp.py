"""Mail by SMTP: over TLS, over STARTTLS, or in plain text to this machine alone."""

import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import format_datetime

import aiosmtplib
from aiosmtplib import SMTP

from cofactor_server.delivery.provider import MaybeTaken, NoSuchDestination, NotTaken, Outgoing, ProviderRefuses
from cofactor_server.seams import SECOND, Clock

STEP_SECONDS = 8.0
"""For each step of the conversation; the sender has a deadline over all of them."""

_SMTPUTF8_ADDRESS = re.compile(r"[^\s@<>(),;:\"\[\]\\]+@[^\s@<>(),;:\"\[\]\\]+")


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed over."""

    host: str
    port: int
    tls: bool
    """TLS from the first octet (port 465)."""
    starttls: bool
    """TLS by STARTTLS, without which nothing is said (port 587). Neither: plain text."""
    user: str = ""
    password: str = field(default="", repr=False)


class Smtp:
    """One mail server.

    Args:
        server: Where it is.
        sender: Who the mail is from.
        trust: What certificates are believed.
        clock: Dates the mail.
    """

    channels = frozenset({"email"})

    def __init__(self, server: Server, sender: Address, trust: ssl.SSLContext, clock: Clock) -> None:
        self._server = server
        self._sender = sender
        self._trust = trust
        self._clock = clock

    async def carry(self, outgoing: Outgoing) -> None:
        """Send one mail over a connection of its own; see `Provider.carry`."""
        try:
            content = self._mail(outgoing).as_bytes()
        except (ValueError, IndexError, MessageError):  # nothing that a header may hold
            raise NoSuchDestination("not an address") from None
        server = self._server
        client = SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls,
            start_tls=False,  # asked for below, where its absence is told apart
            tls_context=self._trust,
            timeout=STEP_SECONDS,
            local_hostname=self._sender.domain,
        )
        try:
            await self._greet(client)
            await self._address(client, outgoing.to)
            await _hand_over(client, content)
        finally:
            client.close()

    async def close(self) -> None:
        """Do nothing: no connection outlives its mail."""

    async def _greet(self, client: SMTP) -> None:
        try:
            await client.connect()
            if self._server.starttls:
                await client.ehlo()
                if not client.supports_extension("starttls"):
                    raise ProviderRefuses("the server offers no STARTTLS")
                await client.starttls()
            if self._server.user:
                await client.login(self._server.user, self._server.password)
        except aiosmtplib.SMTPAuthenticationError as error:
            raise (NotTaken if _passing(error) else ProviderRefuses)(f"login refused: {error.code}") from None
        except aiosmtplib.SMTPNotSupported:
            raise ProviderRefuses("the server offers no way to log in") from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise NotTaken(f"no connection: {type(error).__name__}") from None

    async def _address(self, client: SMTP, to: str) -> None:
        options: tuple[str, ...] = ()
        encoding = "ascii"
        try:
            if not (to.isascii() and self._sender.addr_spec.isascii()):
                await client.ehlo()
                if not client.supports_extension("smtputf8"):
                    raise NoSuchDestination("the server takes no address that is not ASCII")
                options, encoding = ("SMTPUTF8",), "utf-8"
            await client.mail(self._sender.addr_spec, options=options, encoding=encoding)
            await client.rcpt(to, encoding=encoding)
        except aiosmtplib.SMTPRecipientRefused as error:
            if _passing(error):
                raise NotTaken(f"recipient put off: {error.code}") from None
            # RFC 3463: 5.7 is about what we may do, and not about the address.
            if error.message.startswith("5.7"):
                raise ProviderRefuses(f"recipient refused: {error.code} 5.7") from None
            raise NoSuchDestination(f"recipient refused: {error.code}") from None
        except aiosmtplib.SMTPResponseException as error:
            raise (NotTaken if _passing(error) else ProviderRefuses)(f"sender refused: {error.code}") from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise NotTaken(f"hung up: {type(error).__name__}") from None

    def _mail(self, outgoing: Outgoing) -> EmailMessage:
        mail = EmailMessage(policy=WIRE if outgoing.to.isascii() else WIRE.clone(utf8=True))
        mail["From"] = self._sender
        mail["To"] = Address(addr_spec=outgoing.to) if outgoing.to.isascii() else _beyond_ascii(outgoing.to)
        mail["Subject"] = outgoing.subject
        mail["Date"] = format_datetime(datetime.fromtimestamp(self._clock.now() / SECOND, UTC))
        mail["Message-ID"] = f"<{outgoing.id}@{self._sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
        mail["Content-Language"] = outgoing.locale
        mail.set_content(outgoing.text + "\n")
        return mail


def _beyond_ascii(address: str) -> str:
    """Return an address of RFC 6531 that is one and no more, which the library's parser does not take."""
    if not _SMTPUTF8_ADDRESS.fullmatch(address):
        raise ValueError("not an address")
    return address


async def _hand_over(client: SMTP, content: bytes) -> None:
    try:
        await client.data(content)
    except aiosmtplib.SMTPResponseException as error:
        raise (NotTaken if _passing(error) else ProviderRefuses)(f"mail refused: {error.code}") from None
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        raise MaybeTaken(f"no answer to the mail: {type(error).__name__}") from None


def _passing(error: aiosmtplib.SMTPResponseException) -> bool:
    return 400 <= error.code < 500
