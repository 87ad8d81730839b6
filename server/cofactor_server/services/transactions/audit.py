"""On whose account something happens: what events and notices say of it."""

from collections.abc import Mapping

from cofactor_server.domain.foundation.events import Event, EventName, Notice, NoticeName
from cofactor_server.domain.foundation.values import Value


class Trail(Value, frozen=True):
    """The user, the client, the login and the network address behind a change."""

    user_id: str
    client_id: str
    login_id: str
    source: str

    def event(
        self, name: EventName, now: int, authenticator_id: str = "", details: Mapping[str, str] | None = None
    ) -> Event:
        """Return an event of this login."""
        mine = (self.client_id, self.login_id, authenticator_id, self.source)
        return Event(self.user_id, name, now, *mine, details or {})

    def notice(self, name: NoticeName, now: int, authenticator_id: str) -> Notice:
        """Return a notice of a change that this login made."""
        return Notice(self.user_id, name, now, authenticator_id, self.source)
