"""A refresh family: one login's chain of refresh tokens, of which only the newest is good (S110)."""

from cofactor_server.domain.authenticators.acr import Authentication
from cofactor_server.domain.foundation.values import Secret, Value


class RefreshFamily(Value, frozen=True):
    """One chain of refresh tokens."""

    user_id: str
    id: str
    client_id: str
    epoch: int
    generation: int
    secret: Secret[bytes]
    """Random; every generation's token is a MAC over it, so that a reused one is told from a forged one."""
    mac_key_id: str
    token_sha256: Secret[bytes]
    scope: str
    audience: str
    authentication: Authentication
    created_at: int
    expires_at: int
    revoked: bool = False
    rotated_at: int = 0
    """When a refresh made the newest generation; 0 where something else did."""
