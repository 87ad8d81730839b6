"""An API: a resource server that tokens are for, with what they may allow there."""

from dataclasses import dataclass

STANDARD_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
"""About the user and the login, and not about any one API."""


@dataclass(frozen=True, slots=True)
class Api:
    """A resource server that an operator registered."""

    audience: str
    """How tokens name it, such as `https://api.example.com/`."""
    name: str
    created_at: int
    scopes: tuple[str, ...] = ()
    """What a token may allow there; no other scope can be asked for."""
    access_token_seconds: int = 86_400
    algorithm: str = "RS256"
    """Signs access tokens for it (security.md 23)."""
