"""The interface for sending messages, and the per-user message rate limits over all callers (W8)."""

from typing import Protocol

from cofactor_server.domain.authenticators.kinds import EMAIL, PHONE_KINDS, PUSH
from cofactor_server.domain.authenticators.proofs import Kind, Message
from cofactor_server.domain.foundation.budgets import EMAIL_SENDS, PHONE_SENDS, PROMPTS_IN_VAIN, PUSH_SENDS, Bucket
from cofactor_server.domain.foundation.events import Notice, NoticeName
from cofactor_server.domain.foundation.values import Value, replace
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


class Allowance(Value, frozen=True):
    """How many messages of some kinds a user is sent: as many again where known sources ask (ADR-9)."""

    name: str
    bucket: Bucket
    of_strangers: str
    """The user's field that holds where it stands."""
    of_known: str
    """Likewise, for sources where the user completed MFA lately and for remembered browsers."""

    def full_at(self, user: User, *, known: bool) -> int:
        """Return where it stands."""
        standing: int = getattr(user, self.of_known if known else self.of_strangers)
        return standing

    def moved(self, user: User, full_at: int, *, known: bool) -> User:
        """Return a user for whom it stands elsewhere."""
        return replace(user, **{self.of_known if known else self.of_strangers: full_at})

    def refusal(self, user: User, now: int, *, known: bool) -> TooManyMessages | None:
        """Return why no more is sent now; None where one may be."""
        wait = self.bucket.wait(self.full_at(user, known=known), now)
        if not wait:
            return None
        return TooManyMessages(retry_after=wait / SECOND, quota=self.bucket.exhausted(self.name, wait, now))

    def charged(self, user: User, now: int, *, known: bool) -> User:
        """Return the user after one message."""
        return self.moved(user, self.bucket.charged(self.full_at(user, known=known), now), known=known)

    def refunded(self, user: User, *, known: bool) -> User:
        """Return the user after one message less."""
        return self.moved(user, self.bucket.refunded(self.full_at(user, known=known)), known=known)


PHONE = Allowance("phone-messages", PHONE_SENDS, "phone_full_at", "known_phone_full_at")
MAILS = Allowance("mails", EMAIL_SENDS, "email_full_at", "known_email_full_at")
PROMPTS = Allowance("prompts", PUSH_SENDS, "push_full_at", "known_push_full_at")


def allowance(kind: Kind) -> Allowance | None:
    """Return what messages of a kind are counted in; None where the kind sends none."""
    if kind in PHONE_KINDS:
        return PHONE
    return {EMAIL: MAILS, PUSH: PROMPTS}.get(kind)


def refund(work: Work, user: User, kind: Kind, *, known: bool) -> None:
    """Give back what `charge` or `count_prompt` took from a rate limit, for a message that was not sent."""
    if (counted := allowance(kind)) is not None:
        work.save_user(counted.refunded(user, known=known))


def charge(work: Work, user: User, kind: Kind, now: int, *, known: bool) -> TooManyMessages | None:
    """Take one message of a kind from the budget of a locked user, before anything else is written.

    Args:
        work: The deciding transaction.
        user: Who is sent the message.
        kind: Of the authenticator. Prompts on devices are counted by `count_prompt`.
        now: Microseconds since the Unix epoch.
        known: Whether a source where the user completed MFA lately asks for it, or a remembered browser.

    Returns:
        A refusal if the rate limit is reached; None if the message may be sent, or the kind sends no text message,
        call or mail.
    """
    counted = allowance(kind)
    if counted is None or counted is PROMPTS:
        return None
    if refusal := counted.refusal(user, now, known=known):
        return refusal
    work.save_user(counted.charged(user, now, known=known))
    return None


def messages_left(user: User, kind: Kind, now: int, *, known: bool) -> Quota | None:
    """Return what is left of the budget that a message of a kind is counted in; None where there is none."""
    counted = allowance(kind)
    return counted.bucket.quota(counted.name, counted.full_at(user, known=known), now) if counted else None


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
    return PROMPTS.refusal(user, now, known=known)


def count_prompt(work: Work, user: User, authenticator_id: str, source: str, now: int, *, known: bool) -> None:
    """Count a prompt on a device of a locked user, and tell the user when there were too many in vain."""
    count = user.prompts_since_login + 1
    work.save_user(replace(PROMPTS.charged(user, now, known=known), prompts_since_login=count))
    if count == PROMPTS_IN_VAIN:
        work.notify(Notice(user.id, NoticeName.SUSPICIOUS_FAILURES, now, authenticator_id, source))
