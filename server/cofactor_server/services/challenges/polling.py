"""Limits how often a client polls for the answer of a device."""

from cofactor_server.domain.challenges.challenge import POLL_INTERVAL, Challenge
from cofactor_server.domain.logins.grants import AnswerPending
from cofactor_server.errors import Quota, SlowDown
from cofactor_server.seams import MINUTE, SECOND
from cofactor_server.store.transactions.work import Work


def count_poll(work: Work, challenge: Challenge, now: int) -> AnswerPending | SlowDown:
    """Count a poll of a challenge that is pending on a device; nothing else changes (RFC 8628 section 3.5).

    A retry of a refused poll is refused again and writes nothing.

    Args:
        work: The transaction; the caller holds the user's lock.
        challenge: A pending challenge.
        now: Microseconds since the Unix epoch.

    Returns:
        `AnswerPending`; or `SlowDown` if the client polls too fast, with how long it must wait from now.
    """
    polled, too_soon = challenge.polled(now)
    if polled is not challenge:
        work.save_challenge(polled)
    quota = Quota("polls", MINUTE // POLL_INTERVAL, 0, -(-polled.next_poll_at // SECOND))
    if too_soon:
        seconds = -(-(polled.next_poll_at - now) // SECOND)
        return SlowDown(retry_after=seconds, quota=quota, seconds=str(seconds))
    return AnswerPending(polled.poll_interval, quota)
