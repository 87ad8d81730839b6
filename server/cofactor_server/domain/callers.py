"""Who asks, and on what authority; always an explicit argument."""

from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.authenticators.tickets import EnrollmentTicket
from cofactor_server.domain.foundation.values import Value
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.parties.operators import Operator


class Access(Value, frozen=True):
    """A verified access token for one of our own audiences: the MFA API, or user info."""

    jti: str
    user_id: str
    client_id: str
    scopes: frozenset[str]
    scope: str
    audience: str
    level: Level
    amr: tuple[str, ...]
    recovery: bool
    epoch: int
    issued_at: int
    expires_at: int
    authenticators: tuple[str, ...] = ()
    """Ids of those that it came from, and ends with (`domain.authenticators.endings`)."""


class Device(Value, frozen=True):
    """A device that has proved to hold its key: it sees and answers the challenges of its authenticator, no others."""

    user_id: str
    authenticator_id: str


class Caller(Value, frozen=True):
    """Who asks.

    `client` is authenticated where it is confidential. `login` comes from an mfa_token, `access` from an access
    token for the MFA audience, `device` from a device's key, `ticket` from an operator, who is `operator` when calling;
    at most one of the five is set.
    `source` is the end user's network address in its counted form, or empty where nobody vouches for one
    (ADR-11).
    """

    client: Client | None = None
    login: Login | None = None
    access: Access | None = None
    source: str = ""
    deadline: float | None = None
    """Event loop time after which nothing needs to be decided for this caller."""
    device: Device | None = None
    ticket: EnrollmentTicket | None = None
    operator: Operator | None = None
    accepted_languages: str = ""
    """As the caller's `accept-language` has them, which is not parsed unless something is written to somebody."""

    @property
    def user_id(self) -> str:
        """The user on whose authority this is asked; empty where it is a client's alone."""
        if self.login is not None:
            return self.login.user_id
        if self.device is not None:
            return self.device.user_id
        if self.ticket is not None:
            return self.ticket.user_id
        return self.access.user_id if self.access is not None else ""

    @property
    def login_id(self) -> str:
        """The id of the mfa_token, or the jti of the access token."""
        if self.login is not None:
            return self.login.id
        return self.access.jti if self.access is not None else ""
