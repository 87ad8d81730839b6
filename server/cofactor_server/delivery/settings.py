"""What an operator decides about messages: which provider carries which channel, and how to reach it."""

import re
from email.errors import MessageError
from email.headerregistry import Address
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from cofactor_server.delivery import apns, fcm, twilio
from cofactor_server.delivery.smtp import Server
from cofactor_server.origin import is_loopback

_ROUTE = re.compile(r"([a-z][a-z0-9-]{0,31})=([a-z][a-z0-9-]{0,31})")
_SMTP_PORTS = {"smtps": 465, "smtp": 587, "smtp+plaintext": 25}
NEEDED = {
    "smtp": ("smtp_url", "mail_from"),
    "twilio": ("twilio_account_sid", "twilio_token_file", "twilio_from"),
    "webhook": ("webhook_url", "webhook_key_file"),
    "fcm": ("fcm_account_file",),
    "apns": ("apns_key_file", "apns_key_id", "apns_team_id", "apns_topic"),
}
"""Our providers, and the settings that each takes."""


def _words(value: Any) -> Any:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _routes(routes: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_ROUTE.fullmatch(route) for route in routes):
        raise ValueError("must be pairs such as email=smtp,sms=twilio,push=fcm,push=apns")
    carried = [route.partition("=")[0] for route in routes]
    if len(set(routes)) < len(routes) or any(carried.count(c) > 1 for c in carried if c != "push"):
        raise ValueError("a channel has one provider; push alone has several")
    return routes


def _web(address: str) -> str:
    try:
        url = urlsplit(address)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise ValueError("must be a URL") from None
    if url.scheme not in ("https", "http") or not host or url.fragment or "@" in url.netloc:
        raise ValueError("must be a URL without user and fragment")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError("must be https unless its host is loopback")
    return address


def _smtp(address: str) -> str:
    smtp_server(address, "")
    return address


def _mail_from(text: str) -> str:
    sender(text)
    return text


def smtp_server(address: str, password: str) -> Server:
    """Return where mail goes.

    Args:
        address: `smtp://user@host:587` (STARTTLS), `smtps://user@host` or `smtp+plaintext://127.0.0.1:25`.
        password: The user's.

    Raises:
        ValueError: It is none of these, or plain text would leave this machine.
    """
    try:
        url = urlsplit(address)
        host, port = url.hostname or "", url.port
    except ValueError:
        raise ValueError("must be a URL such as smtp://user@mail.example.com:587") from None
    if url.scheme not in _SMTP_PORTS or not host or url.path.strip("/") or url.query or url.fragment:
        raise ValueError("must be a URL such as smtp://user@mail.example.com:587")
    if url.password is not None:
        raise ValueError("holds a password: put it into the file of COFACTOR_SMTP_PASSWORD_FILE")
    if url.scheme == "smtp+plaintext" and not is_loopback(host):
        raise ValueError("plain text is for a server on loopback alone")
    return Server(
        host=host,
        port=port or _SMTP_PORTS[url.scheme],
        tls=url.scheme == "smtps",
        starttls=url.scheme == "smtp",
        user=unquote(url.username or ""),
        password=password,
    )


def sender(text: str) -> Address:
    """Return who mail is from: `mfa@example.com` or `Example <mfa@example.com>`.

    Raises:
        ValueError: It is neither.
    """
    name, address = parseaddr(text)
    try:
        found = Address(name, addr_spec=address)
    except (MessageError, ValueError, IndexError):
        raise ValueError("must be an address such as Example <mfa@example.com>") from None
    if not found.username or not found.domain or not text.isprintable():
        raise ValueError("must be an address such as Example <mfa@example.com>")
    return found


Web = Annotated[str, AfterValidator(_web)]


class DeliverySettings(BaseModel):
    """Settings of messages; part of the server's. Secrets are paths of files."""

    delivery: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words), AfterValidator(_routes)] = ()
    """Pairs of channel and provider."""
    delivery_seconds: float = Field(10, gt=0, le=60)
    delivery_ca_file: Path | None = None
    """Certificates believed beside the system's."""
    number_check: str = ""
    """The plugin that looks at a telephone number before a code goes there."""
    language: str = Field("en", min_length=2, max_length=35)
    texts_folder: Path | None = None

    smtp_url: Annotated[str, AfterValidator(_smtp)] | None = None
    smtp_password_file: Path | None = None
    mail_from: Annotated[str, AfterValidator(_mail_from)] | None = None

    twilio_account_sid: str | None = None
    twilio_api_key_sid: str | None = None
    twilio_token_file: Path | None = None
    twilio_from: str | None = None
    twilio_url: Web = twilio.API

    webhook_url: Web | None = None
    webhook_key_file: Path | None = None

    fcm_account_file: Path | None = None
    fcm_url: Web = fcm.API

    apns_key_file: Path | None = None
    apns_key_id: str | None = None
    apns_team_id: str | None = None
    apns_topic: str | None = None
    apns_url: Web = apns.API

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for provider in dict.fromkeys(route.partition("=")[2] for route in self.delivery):
            for name in NEEDED.get(provider, ()):
                if getattr(self, name) is None:
                    raise ValueError(f"COFACTOR_{name.upper()}: {provider} in COFACTOR_DELIVERY needs it")
        return self
