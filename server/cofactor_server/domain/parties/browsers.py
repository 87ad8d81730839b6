"""A remembered browser: it is not asked for a second factor for a while, and that is no authentication (S46)."""

from cofactor_server.domain.foundation.values import Value
from cofactor_server.seams import DAY

MOST_DAYS = 30
"""ADR-13."""


class Browser(Value, frozen=True):
    """What a remember token stands for; its row stands until somebody revokes it."""

    id: str
    user_id: str
    client_id: str
    epoch: int
    created_at: int
    expires_at: int

    def lasts(self, now: int) -> bool:
        """Whether its time is not over."""
        return self.created_at - DAY < now < min(self.expires_at, self.created_at + MOST_DAYS * DAY)
