"""What an operator's hook is asked about a login, and what its answer does to policy's ruling (ADR-13)."""

from enum import StrEnum
from typing import TypeAlias

from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.foundation.values import Secret, Value, replace
from cofactor_server.domain.logins.demands import Wanted
from cofactor_server.domain.logins.grants import Target
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.logins.policies import Ruling
from cofactor_server.domain.parties.clients import GrantType
from cofactor_server.domain.parties.users import User

HOOK = "hook"
"""Whose word it is, where a ruling says whose."""


class Question(Value, frozen=True):
    """A login whose first factor was right, and what policy says of it."""

    issuer: str
    login: Login
    user: User
    is_enrolled: bool
    kinds: tuple[Kind, ...]
    """What the user can be challenged with now."""
    grant_type: GrantType
    target: Target
    """As the client asked; what is granted of it stands in the login."""
    source: str
    source_known: bool
    ruling: Ruling
    wanted: Wanted
    """By the client and by policy."""
    dry_run: bool = False
    """Whether nobody logs in."""


class AsRuled(Value, frozen=True):
    """Policy's word stands."""


class RequireMfa(Value, frozen=True):
    """A second factor, at least of this level, or two; of these kinds alone, unless None."""

    level: Level = Level.ONE_FACTOR
    two_kinds: bool = False
    kinds: tuple[Kind, ...] | None = None


class Deny(Value, frozen=True):
    """No login."""

    note: Secret[str] = ""
    """For the operator's eyes."""


class SkipMfa(Value, frozen=True):
    """No second factor, where that may be."""


class Failure(StrEnum):
    """Why there is no answer; stable names, for metrics and events."""

    LATE = "late"
    AWAY = "away"
    FAILED = "failed"
    UNKNOWN_ANSWER = "unknown_answer"


class NoAnswer(Value, frozen=True):
    """The hook did not answer, or nobody knows what it said."""

    failure: Failure


Answer: TypeAlias = AsRuled | RequireMfa | Deny | SkipMfa | NoAnswer


def answered(ruling: Ruling, answer: Answer, *, may_skip: bool) -> Ruling:
    """Return a ruling after the hook's answer, which is no refusal: it asks for more, never for less unless it may.

    Args:
        ruling: Policy's.
        answer: The hook's.
        may_skip: Whether it may ask for less of this login.
    """
    match answer:
        case RequireMfa(level, two_kinds, kinds):
            return _asking(ruling, Wanted(level, None, two_kinds, (HOOK,), kinds))
        case NoAnswer():
            # Named, so that a remembered browser does not spare the factor that nobody decided to spare.
            return _asking(ruling, Wanted(by=(HOOK,)))
        case SkipMfa() if may_skip and ruling.asks:
            return replace(ruling, asks=False, by=(HOOK,))
    return ruling


def _asking(ruling: Ruling, wanted: Wanted) -> Ruling:
    by = (*ruling.by, HOOK) if ruling.asks else (HOOK,)
    return replace(ruling, asks=True, by=by, wanted=ruling.wanted.joined(wanted))
