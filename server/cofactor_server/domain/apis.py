"""An API: a resource server that tokens are for, with what they may allow there."""

from cofactor_server.domain.values import Value

STANDARD_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
"""About the user and the login, and not about any one API."""


class Api(Value, frozen=True):
    """A resource server that an operator registered."""

    audience: str
    """How tokens name it, such as `https://api.example.com/`."""
    name: str
    created_at: int
    scopes: tuple[str, ...] = ()
    """What a token may allow there; no other scope can be asked for."""
    access_token_seconds: int = 86_400
    algorithm: str = "RS256"
    """Signs access tokens for it (ADR-23)."""
