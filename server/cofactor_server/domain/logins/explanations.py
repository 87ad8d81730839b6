"""Why a login is asked for what it is asked for, told without anybody logging in."""

from enum import StrEnum

from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.foundation.values import Value, each
from cofactor_server.domain.logins.demands import Wanted
from cofactor_server.domain.logins.grants import Target
from cofactor_server.domain.logins.policies import Ruling
from cofactor_server.domain.parties.users import EnrollmentWay
from cofactor_server.errors import Quota
from cofactor_server.seams import SECOND


class DecisionQuestion(Value, frozen=True):
    """A login that nobody attempts."""

    subject: str
    realm: str = ""
    """Empty for the deployment's default."""
    client_id: str = ""
    """Empty for the caller."""
    target: Target = each(default_factory=Target)
    vouched: bool = False
    source: str = ""
    """In its counted form; empty for none."""
    ask_hook: bool = False


class Consequence(StrEnum):
    """What the answer to a login would be."""

    TOKENS = "tokens"
    MFA_REQUIRED = "mfa_required"
    ENROLLMENT_REQUIRED = "enrollment_required"
    BLOCKED = "blocked"
    DENIED = "denied"
    UNREACHABLE = "unreachable"


class HookWord(StrEnum):
    """What the operator's hook says."""

    ABSENT = "absent"
    NOT_ASKED = "not_asked"
    AS_RULED = "as_ruled"
    REQUIRES_MFA = "requires_mfa"
    DENIES = "denies"
    SKIPS_MFA = "skips_mfa"
    MAY_NOT_SKIP_MFA = "may_not_skip_mfa"
    NO_ANSWER = "no_answer"


class BudgetStanding(Value, frozen=True):
    """Where a budget stands."""

    quota: Quota
    wait: int
    """Microseconds until one can be taken; 0 if now."""
    applies: bool
    """Whether the login would be counted in it."""
    regains: bool = True
    """Whether time gives anything back."""

    @property
    def next_at(self) -> int | None:
        """When one more is regained, in microseconds since the Unix epoch; None where none will be."""
        quota = self.quota
        return quota.resets_at * SECOND if self.regains and quota.remaining < quota.limit else None


class AuthenticatorStanding(Value, frozen=True):
    """What stands between an authenticator and a login."""

    authenticator: Authenticator
    offered: bool
    disabled_at: int
    """Failures in a row that disable it; 0 where none does."""
    budgets: tuple[BudgetStanding, ...]

    @property
    def wait(self) -> int:
        """Microseconds until a code may be tried; 0 if now."""
        return longest_wait(self.budgets)


class Explanation(Value, frozen=True):
    """What would follow a right first factor, and what stands before it."""

    consequence: Consequence
    ruling: Ruling
    wanted: Wanted
    hook: HookWord
    may_be_remembered: bool
    is_enrolled: bool
    source_known: bool
    kinds: tuple[Kind, ...]
    enrollment_way: EnrollmentWay | None
    """Where the consequence is an enrollment."""
    keeps_last_authenticator: bool
    authenticators: tuple[AuthenticatorStanding, ...]
    budgets: tuple[BudgetStanding, ...]
    wait: int
    """Microseconds until the first factor may be tried; 0 if now."""
    now: int


def longest_wait(budgets: tuple[BudgetStanding, ...]) -> int:
    """Return microseconds until every budget that applies lets one be taken."""
    return max((budget.wait for budget in budgets if budget.applies), default=0)
