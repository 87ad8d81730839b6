"""An API: a resource server that tokens are for, with what they may allow there."""

from enum import StrEnum

from cofactor_server.domain.foundation.values import Value

STANDARD_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
"""About the user and the login, and not about any one API."""


class TokenProfile(StrEnum):
    """The form of an API's access tokens: the header's `typ`, and how they name the client."""

    RFC9068 = "rfc9068"
    """`typ` is `at+jwt`, and `client_id` names the client."""
    AUTH0 = "auth0"
    """`typ` is `JWT`, and `azp` names the client, as in the default access tokens of Auth0."""


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
    token_profile: TokenProfile = TokenProfile.RFC9068
