"""A challenge: asked of one authenticator for one login, answered once, redeemed once."""

from dataclasses import dataclass, field
from enum import StrEnum

from cofactor_server.domain.proofs import Purpose
from cofactor_server.seams import MINUTE

CHALLENGE_LIFE = 5 * MINUTE
"""Contract section 2; well inside the ten minutes of S8."""

PENDING_PER_USER = 10
"""How many of one user's wait for an answer at once, over all logins; the oldest gives way."""


class ChallengeState(StrEnum):
    """Pending to approved, denied or expired; approved to redeemed. Never back."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    REDEEMED = "redeemed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge; bound to its login, client, user, purpose and authenticator (security.md 2)."""

    user_id: str
    id: str
    client_id: str
    login_id: str
    purpose: Purpose
    authenticator_id: str
    state: ChallengeState
    epoch: int
    created_at: int
    expires_at: int
    expected: bytes = field(repr=False)
    """What the factor expects in answer, sealed with the row's name as associated data."""
