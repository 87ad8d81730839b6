"""An operator who calls with a token: what the roles may do (ADR-5)."""

from enum import StrEnum

from cofactor_server.domain.foundation.values import Value
from cofactor_server.seams import HOUR, MINUTE

SHORTEST_TOKEN, USUAL_TOKEN, LONGEST_TOKEN = MINUTE, HOUR, 24 * HOUR
"""How long a token may be good: it can't be called back, short of retiring the key it is sealed with."""


class Role(StrEnum):
    """Who the operator is."""

    READ = "read"
    SUPPORT = "support"
    """May start a reset, and never sees or picks a secret (S86)."""
    ADMIN = "admin"


_READS = frozenset(
    {
        "read:guardian_factors",
        "read:mfa_policies",
        "read:guardian_enrollments",
        "read:users",
        "read:authentication_methods",
    }
)
_HELPS = frozenset(
    {
        "create:guardian_enrollment_tickets",
        "delete:guardian_enrollments",
        "update:users",
        "delete:authentication_methods",
    }
)
_SETS = frozenset(
    {
        "update:guardian_factors",
        "update:mfa_policies",
        "create:authentication_methods",
        "update:authentication_methods",
    }
)

SCOPES_OF = {Role.READ: _READS, Role.SUPPORT: _READS | _HELPS, Role.ADMIN: _READS | _HELPS | _SETS}
"""Names of W10. What shows or picks a secret takes the role `admin` beside its scope."""


class Operator(Value, frozen=True):
    """Who holds a token."""

    id: str
    """The token's, such as `opt_8Rk2TqLmXw4YbN0a`; names the operator in events."""
    role: Role
    scopes: frozenset[str]
    """Never more than the role's."""
    expires_at: int
