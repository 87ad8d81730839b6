"""A user, and when a second factor is asked of one."""

from enum import StrEnum

from cofactor_server.domain.foundation.values import Secret, Value


class MfaPolicy(StrEnum):
    """When a second factor is asked for."""

    NEVER = "never"
    ALWAYS = "always"
    WHEN_ENROLLED = "when_enrolled"


class Enrollment(StrEnum):
    """How a user who is not enrolled may enroll the first authenticator (ADR-3)."""

    AT_LOGIN = "at_login"
    TICKET = "ticket"
    VOUCHED = "vouched"


class EnrollmentWay(StrEnum):
    """How one user enrolls the first authenticator, as a login is told."""

    AT_LOGIN = "at_login"
    TICKET = "ticket"
    VOUCHED_LOGIN = "vouched_login"
    """In a login that a client vouches for, or with a ticket."""
    NEW_LOGIN = "new_login"
    """In a login that does not begin with a refresh token."""


class User(Value, frozen=True):
    """Somebody who logs in. (realm, subject) is unique; `id` is ours, opaque, and the `sub` of every token."""

    id: str
    realm: str
    subject: str
    label: str
    """What an authenticator app shows: an email address or a name; may be empty."""
    epoch: int
    """Grows when earlier tokens must stop working (ADR-7)."""
    blocked: bool
    created_at: int
    mfa_policy: MfaPolicy | None = None
    """Overrides the client's policy; None leaves it."""
    enrollment: Enrollment | None = None
    """Overrides the client's way of enrolling; TICKET after a reset."""
    password_hash: Secret[str] = ""
    """argon2id; empty for users whose password somebody else checks."""
    email: Secret[str] = ""
    """The profile's address; empty for none."""
    email_verified: bool = False
    """Whether somebody made sure that the address is the user's: then codes go there without enrolling."""
    phone_full_at: int = 0
    """The budget of text messages and calls, as `domain.foundation.budgets.Bucket` keeps one."""
    email_full_at: int = 0
    """The budget of codes by mail, likewise."""
    prompts_since_login: int = 0
    """Prompts on devices since a login was last completed: all of them unanswered, denied or given up."""
    push_full_at: int = 0
    """The budget of prompts on devices, as `domain.foundation.budgets.Bucket` keeps one."""
    known_phone_full_at: int = 0
    """What the user asks for has budgets apart: from sources where the user completed MFA, or a remembered browser."""
    known_email_full_at: int = 0
    known_push_full_at: int = 0

    @property
    def shown_label(self) -> str:
        """What the user's account is called where the user sees it."""
        return self.label or self.subject
