"""Records who made a change: the fields that events of the audit log and notices to the user share."""

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
        """Return an event for the audit log, attributed to this login."""
        mine = (self.client_id, self.login_id, authenticator_id, self.source)
        return Event(self.user_id, name, now, *mine, details or {})

    def notice(self, name: NoticeName, now: int, authenticator_id: str) -> Notice:
        """Return a notice to the user of a change that this login made."""
        return Notice(self.user_id, name, now, authenticator_id, self.source)
