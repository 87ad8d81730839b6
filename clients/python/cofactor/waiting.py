"""When to ask again while a user answers: RFC 8628 section 3.5, without the asking itself."""

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from cofactor.errors import CofactorError, DeadlineExceeded, RateLimited, Unavailable
from cofactor.outcomes import MfaRequired, Outcome, Pending, Tokens
from cofactor.v1 import challenges_pb2, tokens_pb2

PATIENCE = 600.0
"""Seconds without hearing anything, after which waiting ends: no mfa_token lives longer."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
INTERVAL = 5.0
"""Seconds between polls where the server says nothing, and what slowing down adds."""
LONGEST_INTERVAL = 60.0
LEAST_INTERVAL = 1.0

Clock = Callable[[], float]


@dataclass
class Watching:
    """Follows one watch over however many connections.

    Args:
        patience: Seconds without hearing anything, after which it ends.
        clock: Seconds of a clock that only goes forward.
        chance: A number from 0 to 1, so that those whom one server left do not come back at once.
    """

    patience: float = PATIENCE
    clock: Clock = time.monotonic
    chance: Clock = random.random  # not a secret
    state: challenges_pb2.ChallengeState.ValueType = challenges_pb2.CHALLENGE_STATE_UNSPECIFIED
    _pause: float = field(default=FIRST_PAUSE, init=False)
    _heard: float = field(init=False)

    def __post_init__(self) -> None:
        self._heard = self.clock()

    @property
    def over(self) -> bool:
        """Whether the challenge is approved or final."""
        return self.state not in (
            challenges_pb2.CHALLENGE_STATE_UNSPECIFIED,
            challenges_pb2.CHALLENGE_STATE_PENDING,
        )

    def hears(self, change: challenges_pb2.WatchChallengeResponse) -> bool:
        """Take note of a state, and return whether it is a new one."""
        self._heard, self._pause = self.clock(), FIRST_PAUSE
        known, self.state = self.state, change.state
        return known != change.state

    def lost(self, error: CofactorError | None) -> float:
        """Return seconds after which to watch again, since the stream ended; None: without an error.

        Raises:
            CofactorError: Watching again does not help.
        """
        error = error or Unavailable(grpc.StatusCode.UNAVAILABLE, "the watch ended before the challenge did")
        if not isinstance(error, Unavailable) or self.clock() - self._heard > self.patience:
            raise error
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause * (0.5 + self.chance() / 2)


def can_poll(error: CofactorError) -> bool:
    """Whether a watch failed so that polling may do.

    None is served here, too many watch already, or the token is an access token, which redeems and can't watch.
    """
    return (
        isinstance(error, RateLimited)
        or error.code is grpc.StatusCode.UNIMPLEMENTED
        or error.reason == "MFA_TOKEN_MALFORMED"
    )


@dataclass
class Polling:
    """Redeems a challenge as soon as it is answered, no faster than the server says.

    Args:
        grant: What is redeemed.
        patience: Seconds without an answer of the server, after which it ends.
        clock: Seconds of a clock that only goes forward.
    """

    grant: tokens_pb2.MfaOobGrant = field(repr=False)
    patience: float = PATIENCE
    clock: Clock = time.monotonic
    interval: float = INTERVAL
    """Seconds to wait before the next request."""
    _request_id: str = field(default="", init=False)
    _heard: float = field(init=False)

    def __post_init__(self) -> None:
        self._heard = self.clock()

    def request(self) -> tokens_pb2.IssueTokenRequest:
        """Return what to ask: the same again where the reply to the last one was lost."""
        self._request_id = self._request_id or str(uuid.uuid4())
        return tokens_pb2.IssueTokenRequest(mfa_oob=self.grant, request_id=self._request_id)

    def hears(self, outcome: Outcome) -> Tokens | MfaRequired | None:
        """Return the outcome if it is one, and None where there is more to wait."""
        if isinstance(outcome, Pending):
            self._answered(max(outcome.interval, LEAST_INTERVAL))
            return None
        return outcome

    def fails(self, error: CofactorError) -> None:
        """Take note of a failure.

        Raises:
            CofactorError: Asking again does not help.
        """
        if error.reason == "SLOW_DOWN":
            self._answered(max(self.interval + INTERVAL, error.retry_delay or 0))
        elif isinstance(error, Unavailable | DeadlineExceeded) and self.clock() - self._heard <= self.patience:
            self.interval = min(2 * self.interval, LONGEST_INTERVAL)
        else:
            raise error

    def _answered(self, interval: float) -> None:
        self._heard, self._request_id, self.interval = self.clock(), "", interval
