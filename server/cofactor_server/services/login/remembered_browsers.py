"""Remember tokens: sealed, bound to user, client and epoch, and valid as long as their row exists (ADR-13)."""

from dataclasses import dataclass

import msgspec

from cofactor_server.domain.authenticators.endings import stands
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.events import Event, EventName
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.browsers import MOST_DAYS, Browser
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.parties.users import User
from cofactor_server.seams import DAY, Clock
from cofactor_server.services.transactions.validity import client_refusal, user_refusal
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work
from cofactor_server.vault.keyring import SealBroken
from cofactor_server.vault.tokens import TokenSealer

PURPOSE = "remember_token"


class Browsers:
    """Seals and opens remember tokens."""

    def __init__(self, deployment: Deployment, sealer: TokenSealer, clock: Clock) -> None:
        self._deployment = deployment
        self._sealer = sealer
        self._clock = clock
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Browser).decode

    def remembered(self, login: Login, client: Client, browser_id: str, now: int) -> tuple[Browser, str] | None:
        """Return a newly remembered browser and its token; None if browsers may not be remembered here."""
        days = min(client.remember_days, MOST_DAYS)
        if days <= 0 or self._deployment.strict or login.by_access_token:
            return None
        browser = Browser(browser_id, login.user_id, client.id, login.epoch, now, now + days * DAY)
        return browser, self._sealer.seal(PURPOSE, self._encode(browser))

    def of(self, user: User | None, client: Client, remember_token: str) -> Browser | None:
        """Return the browser that a token names; None if the token is invalid or for another user or client.

        This takes the same time if there is no such user. The caller must check that the browser's row still exists.
        """
        browser = self.opened(remember_token)
        if browser is None or user is None or self._deployment.strict:
            return None
        named = (browser.user_id, browser.client_id, browser.epoch) == (user.id, client.id, user.epoch)
        days = min(client.remember_days, MOST_DAYS)
        return browser if named and self._clock.now() < browser.created_at + days * DAY else None

    def opened(self, remember_token: str) -> Browser | None:
        """Return the content of a remember token; None if this server did not issue it, or it has expired."""
        if not remember_token:
            return None
        try:
            browser = self._decode(self._sealer.open(PURPOSE, remember_token))
        except (SealBroken, msgspec.DecodeError):
            return None
        return browser if browser.lasts(self._clock.now()) else None


@dataclass(frozen=True, slots=True)
class Recognize:
    """Decides whether a browser is still remembered, and records that the second factor was skipped because of it.

    The authenticators that it is remembered by must still be valid (`domain.authenticators.endings`).
    """

    browser: Browser
    client: Client
    source: str
    now: int

    @property
    def needs(self) -> Needs:
        """The browser's row, and the user's authenticators."""
        b = self.browser
        return Needs(b.user_id, client_id=b.client_id, browser_id=b.id)

    def decide(self, work: Work) -> tuple[str, ...]:
        """Return the ids of the authenticators that remember it, read under the user's lock; empty if it is not."""
        b = self.browser
        if user_refusal(work.user(b.user_id), b.epoch) or client_refusal(work, self.client):
            return ()
        client_id, by = work.browser(b.user_id, b.id) or ("", ())
        if client_id != b.client_id or not stands(by, work.authenticators(b.user_id)):
            return ()
        if by:
            work.record(Event(b.user_id, EventName.LOGIN_REMEMBERED, self.now, b.client_id, source=self.source))
        return by
