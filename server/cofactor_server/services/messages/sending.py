"""The interface for sending messages, and the per-user message rate limits over all callers (W8)."""

from typing import Protocol

from cofactor_server.domain.authenticators.kinds import EMAIL, PHONE_KINDS, PUSH
from cofactor_server.domain.authenticators.proofs import Kind, Message
from cofactor_server.domain.foundation.budgets import EMAIL_SENDS, PHONE_SENDS, PROMPTS_IN_VAIN, PUSH_SENDS
from cofactor_server.domain.foundation.events import Notice, NoticeName
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.users import User
from cofactor_server.errors import Quota, TooManyMessages, Unimplemented
from cofactor_server.seams import SECOND
from cofactor_server.store.transactions.work import Work


class Sender(Protocol):
    """Sends messages after commit, at most once."""

    async def send(self, message: Message) -> None:
        """Send one message. It is not retried here; the caller may ask again.

        Args:
            message: The message.

        Raises:
            DeliveryFailed: The message was not sent, or the outcome is unknown.
            DestinationRefused: The destination can't receive messages.
        """
        ...

    def carries(self, channel: str) -> bool:
        """Whether messages can be sent over a channel."""
        ...

    async def close(self) -> None:
        """Close open connections."""
        ...


class NoSender:
    """A sender for deployments without a channel; kinds that need one are not switched on there."""

    async def send(self, message: Message) -> None:  # noqa: ARG002 - the signature is the interface's
        """Refuse to send.

        Raises:
            Unimplemented: Always.
        """
        raise Unimplemented

    def carries(self, channel: str) -> bool:  # noqa: ARG002 - the same
        """Return False."""
        return False

    async def close(self) -> None:
        """Do nothing."""


def refund(work: Work, user: User, kind: Kind) -> None:
    """Give back what `charge` or `count_prompt` took from a rate limit, for a message that was not sent."""
    if kind in PHONE_KINDS:
        work.save_user(replace(user, phone_full_at=PHONE_SENDS.refunded(user.phone_full_at)))
    elif kind == EMAIL:
        work.save_user(replace(user, email_full_at=EMAIL_SENDS.refunded(user.email_full_at)))
    elif kind == PUSH:
        work.save_user(replace(user, push_full_at=PUSH_SENDS.refunded(user.push_full_at)))


def charge(work: Work, user: User, kind: Kind, now: int) -> TooManyMessages | None:
    """Count one message of a kind against the user's rate limit, before anything else is written.

    Args:
        work: The transaction; the caller holds the user's lock.
        user: The user who gets the message.
        kind: The kind of the authenticator.
        now: Microseconds since the Unix epoch.

    Returns:
        A refusal if the rate limit is reached; None if the message may be sent, or the kind sends no text message,
        call or mail.
    """
    if kind in PHONE_KINDS:
        if wait := PHONE_SENDS.wait(user.phone_full_at, now):
            return TooManyMessages(retry_after=wait / SECOND, quota=PHONE_SENDS.exhausted("phone-messages", wait, now))
        work.save_user(replace(user, phone_full_at=PHONE_SENDS.charged(user.phone_full_at, now)))
    elif kind == EMAIL:
        if wait := EMAIL_SENDS.wait(user.email_full_at, now):
            return TooManyMessages(retry_after=wait / SECOND, quota=EMAIL_SENDS.exhausted("mails", wait, now))
        work.save_user(replace(user, email_full_at=EMAIL_SENDS.charged(user.email_full_at, now)))
    return None


def messages_left(user: User, kind: Kind, now: int) -> Quota | None:
    """Return what is left of the rate limit for messages of a kind; None if the kind has no limit."""
    if kind in PHONE_KINDS:
        return PHONE_SENDS.quota("phone-messages", user.phone_full_at, now)
    if kind == EMAIL:
        return EMAIL_SENDS.quota("mails", user.email_full_at, now)
    return PUSH_SENDS.quota("prompts", user.push_full_at, now) if kind == PUSH else None


def wearies(user: User, *, known: bool) -> bool:
    """Whether one more push prompt would be MFA fatigue (ADR-17, S12).

    An attacker who prompts a user again and again hopes for one wrong tap. A known source, from which the user
    completed MFA lately, may still prompt.
    """
    return not known and user.prompts_since_login >= PROMPTS_IN_VAIN


def prompts_refused(user: User, now: int, *, known: bool) -> TooManyMessages | None:
    """Return why no device of a user may be prompted now: MFA fatigue, or the rate limit; None if one may."""
    if wearies(user, known=known):
        return TooManyMessages()
    if wait := PUSH_SENDS.wait(user.push_full_at, now):
        return TooManyMessages(retry_after=wait / SECOND, quota=PUSH_SENDS.exhausted("prompts", wait, now))
    return None


def count_prompt(work: Work, user: User, authenticator_id: str, source: str, now: int) -> None:
    """Count a prompt on a device, and notify the user after too many prompts without a login.

    The caller holds the user's lock.
    """
    count = user.prompts_since_login + 1
    full_at = PUSH_SENDS.charged(user.push_full_at, now)
    work.save_user(replace(user, prompts_since_login=count, push_full_at=full_at))
    if count == PROMPTS_IN_VAIN:
        work.notify(Notice(user.id, NoticeName.SUSPICIOUS_FAILURES, now, authenticator_id, source))
