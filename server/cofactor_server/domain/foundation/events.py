"""What is recorded, and what the user is told."""

from collections.abc import Mapping
from enum import StrEnum

from cofactor_server.domain.foundation.values import Value, each
from cofactor_server.seams import DAY

EVENTS_RETENTION = 400 * DAY
"""How long events are kept unless the operator decides otherwise: a year, as audits ask for, and a month to do one."""


class EventName(StrEnum):
    """What happened; stable names, for operators' queries."""

    LOGIN_COMPLETED = "login.completed"
    LOGIN_VOUCHED = "login.vouched"
    LOGIN_REMEMBERED = "login.remembered"
    LOGIN_CHAINED = "login.chained"
    PROOF_REFUSED = "proof.refused"
    PROOF_REPLAYED = "proof.replayed"
    CHALLENGE_CREATED = "challenge.created"
    CHALLENGE_APPROVED = "challenge.approved"
    CHALLENGE_DENIED = "challenge.denied"
    CHALLENGE_MISBOUND = "challenge.misbound"
    TICKET_ISSUED = "ticket.issued"
    AUTHENTICATOR_ENROLLING = "authenticator.enrolling"
    AUTHENTICATOR_ADDED = "authenticator.added"
    AUTHENTICATOR_RENAMED = "authenticator.renamed"
    AUTHENTICATOR_REMOVED = "authenticator.removed"
    LAST_AUTHENTICATOR_REMOVED = "authenticator.last_removed"
    AUTHENTICATOR_DISABLED = "authenticator.disabled"
    AUTHENTICATOR_CLONED = "authenticator.cloned"
    RECOVERY_CODE_USED = "recovery_code.used"
    RECOVERY_CODE_REGENERATED = "recovery_code.regenerated"
    MESSAGES_STOPPED = "messages.stopped"
    REFRESH_REUSED = "refresh.reused"
    TOKEN_REVOKED = "token.revoked"
    MFA_RESET = "user.mfa_reset"
    SIGNED_OUT = "user.signed_out"
    USER_DELETED = "user.deleted"
    HOOK_FAILED = "hook.failed"
    HOOK_DENIED = "hook.denied"
    HOOK_SKIPPED = "hook.skipped"


class NoticeName(StrEnum):
    """Changes a user is told about over every address known before the change (ADR-21)."""

    AUTHENTICATOR_ADDED = "authenticator_added"
    AUTHENTICATOR_REMOVED = "authenticator_removed"
    LAST_AUTHENTICATOR_REMOVED = "last_authenticator_removed"
    AUTHENTICATOR_DISABLED = "authenticator_disabled"
    RECOVERY_CODE_USED = "recovery_code_used"
    RECOVERY_CODE_REGENERATED = "recovery_code_regenerated"
    SUSPICIOUS_FAILURES = "suspicious_failures"
    MFA_RESET = "mfa_reset"


class Event(Value, frozen=True):
    """One thing that happened to a user. Never holds a code, a token or a secret."""

    user_id: str
    name: EventName
    time: int
    client_id: str = ""
    login_id: str = ""
    authenticator_id: str = ""
    source: str = ""
    details: Mapping[str, str] = each(default_factory=dict)


class Notice(Value, frozen=True):
    """One thing a user is to be told, at least once; a row of the deciding transaction."""

    user_id: str
    name: NoticeName
    time: int
    authenticator_id: str = ""
    source: str = ""
