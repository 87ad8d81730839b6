"""Who asks, and on what authority; always an explicit argument."""

from dataclasses import dataclass

from cofactor_server.domain.acr import Level
from cofactor_server.domain.clients import Client
from cofactor_server.domain.logins import Login


@dataclass(frozen=True, slots=True)
class Access:
    """A verified access token for the MFA audience."""

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


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    `client` is authenticated where it is confidential. `login` comes from an mfa_token, `access` from an access
    token for the MFA audience; at most one of the two is set. `source` is the end user's network address in its
    counted form, or empty where nobody vouches for one (security.md 11).
    """

    client: Client | None = None
    login: Login | None = None
    access: Access | None = None
    source: str = ""
    deadline: float | None = None
    """Event loop time after which nothing needs to be decided for this caller."""

    @property
    def user_id(self) -> str:
        """The user whose authority the bearer token carries; empty without one."""
        if self.login is not None:
            return self.login.user_id
        return self.access.user_id if self.access is not None else ""

    @property
    def login_id(self) -> str:
        """The id of the mfa_token, or the jti of the access token."""
        if self.login is not None:
            return self.login.id
        return self.access.jti if self.access is not None else ""
