"""SMS and calls over Twilio's wire, which other gateways speak, too."""

import re
import ssl
from xml.sax.saxutils import escape, quoteattr

import httpx2

from cofactor_server.delivery.posting import Poster, failure, members
from cofactor_server.delivery.provider import NoSuchDestination, NotTaken, Outgoing

API = "https://api.twilio.com"
SMS, VOICE = "sms", "voice"

_ACCOUNT = re.compile(r"AC[0-9a-f]{32}")
_SERVICE = re.compile(r"MG[0-9a-f]{32}")

_CALL_REFUSED = frozenset({13223, 13224})
_ABOUT_US = frozenset({21210, 21212, 21213, 21602, 21603, 21606, 21607, 21617, 21619})
"""Of the codes from 21000 those about sender and text. The others are about the number: it is none, can't be reached,
is where the account may not send, or its owner wants no messages. Whoever picks numbers must not be able to have the
provider left alone."""
_BUSY = frozenset({20429, 21611})
"""Too many calls to the API, or a full queue."""


class Twilio:
    """One account.

    Args:
        account: Its SID, `AC` and 32 hexadecimal digits.
        token: The account's token, or an API key's secret.
        sender: A number in E.164 form, or the SID of a messaging service (`MG…`), which can't call.
        trust: What certificates are believed.
        key: SID of an API key; empty where `token` is the account's.
        base: Where the API is.

    Raises:
        ValueError: The account's SID is none.
    """

    def __init__(
        self, account: str, token: str, sender: str, trust: ssl.SSLContext, *, key: str = "", base: str = API
    ) -> None:
        if not _ACCOUNT.fullmatch(account):
            raise ValueError("an account's SID is AC and 32 hexadecimal digits")
        self._path = f"/2010-04-01/Accounts/{account}"
        self._auth = (key or account, token)
        self._sender = sender
        self._service = bool(_SERVICE.fullmatch(sender))
        self._poster = Poster(base, trust)

    @property
    def channels(self) -> frozenset[str]:
        """SMS, and calls unless the sender is a messaging service."""
        return frozenset({SMS} if self._service else {SMS, VOICE})

    async def carry(self, outgoing: Outgoing) -> None:
        """Send a text message, or call; see `Provider.carry`."""
        form = {"To": outgoing.to, "MessagingServiceSid" if self._service else "From": self._sender}
        if outgoing.channel == VOICE:
            form["Twiml"] = _spoken(outgoing)
            response = await self._poster.post(f"{self._path}/Calls.json", form=form, auth=self._auth)
        else:
            form["Body"] = outgoing.text
            response = await self._poster.post(f"{self._path}/Messages.json", form=form, auth=self._auth)
        if response.status_code >= httpx2.codes.MULTIPLE_CHOICES:
            raise _failure(response)

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()


def _failure(response: httpx2.Response) -> Exception:
    code = members(response).get("code")
    if code in _BUSY:
        return NotTaken(f"Twilio {code}")
    about_the_number = isinstance(code, int) and code // 1000 == 21 and code not in _ABOUT_US
    if about_the_number or code in _CALL_REFUSED:
        return NoSuchDestination(f"Twilio {code}")
    return failure(response, f"Twilio {code}" if isinstance(code, int) else "")


def _spoken(outgoing: Outgoing) -> str:
    language = quoteattr(outgoing.locale)
    return f"<Response><Say language={language}>{escape(outgoing.text)}</Say></Response>"
