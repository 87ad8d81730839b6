"""How long to wait before asking again, and when to give up."""

import grpc
import pytest
from cofactor.client import CofactorError, DeadlineExceeded, Pending, RateLimited, Tokens, Unavailable
from cofactor.v1 import challenges_pb2, tokens_pb2
from cofactor.waiting import Polling, Watching

AWAY = Unavailable(grpc.StatusCode.UNAVAILABLE, "")
LATE = DeadlineExceeded(grpc.StatusCode.DEADLINE_EXCEEDED, "")
GRANT = tokens_pb2.MfaOobGrant(mfa_token="t", oob_code="o")
PENDING = challenges_pb2.WatchChallengeResponse(state=challenges_pb2.CHALLENGE_STATE_PENDING)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.requirement("S141")
def test_pauses_of_a_watch_double_up_to_half_a_minute_and_begin_anew_once_it_hears_something() -> None:
    watching = Watching(chance=lambda: 1.0)

    pauses = [watching.lost(AWAY) for _ in range(9)]
    watching.hears(PENDING)

    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert watching.lost(None) == 0.25


def test_no_two_that_one_server_left_come_back_at_once() -> None:
    assert Watching(chance=lambda: 0.0).lost(AWAY) == 0.125
    assert Watching(chance=lambda: 0.5).lost(AWAY) == 0.1875


def test_a_watch_that_hears_nothing_for_long_ends() -> None:
    clock = Clock()
    watching = Watching(60, clock)
    clock.now = 60
    watching.lost(AWAY)

    clock.now = 60.1

    with pytest.raises(Unavailable):
        watching.lost(AWAY)


@pytest.mark.requirement("S141")
def test_polls_keep_to_the_servers_interval_and_slow_down_when_told_or_unheard() -> None:
    polling, intervals = Polling(GRANT), []

    assert polling.hears(Pending(3)) is None
    intervals.append(polling.interval)
    for error in (
        AWAY,
        LATE,
        RateLimited(grpc.StatusCode.RESOURCE_EXHAUSTED, "", reason="SLOW_DOWN", retry_delay=2),
        RateLimited(grpc.StatusCode.RESOURCE_EXHAUSTED, "", reason="SLOW_DOWN", retry_delay=50),
        AWAY,
    ):
        polling.fails(error)
        intervals.append(polling.interval)
    polling.hears(Pending(0))
    intervals.append(polling.interval)

    assert intervals == [3, 6, 12, 17, 50, 60, 1]


def test_a_poll_whose_reply_was_lost_is_the_same_request_and_the_next_one_another() -> None:
    polling = Polling(GRANT)
    first = polling.request()
    polling.fails(LATE)
    again = polling.request()
    polling.hears(Pending(1))

    assert again == first
    assert polling.request().request_id != first.request_id


@pytest.mark.parametrize(
    "error",
    [
        CofactorError(grpc.StatusCode.PERMISSION_DENIED, "", reason="CHALLENGE_DENIED"),
        CofactorError(grpc.StatusCode.FAILED_PRECONDITION, "", reason="OOB_CODE_EXPIRED"),
        RateLimited(grpc.StatusCode.RESOURCE_EXHAUSTED, "", reason="TOO_MANY_FAILED_CODES", retry_delay=60),
    ],
    ids=str,
)
def test_what_no_waiting_changes_ends_the_polling(error: CofactorError) -> None:
    with pytest.raises(CofactorError) as raised:
        Polling(GRANT).fails(error)

    assert raised.value is error


def test_polls_that_no_server_answers_for_long_end() -> None:
    clock = Clock()
    polling = Polling(GRANT, 60, clock)
    clock.now = 60.1

    with pytest.raises(Unavailable):
        polling.fails(AWAY)


def test_tokens_end_the_polling() -> None:
    tokens = Tokens(tokens_pb2.Tokens(access_token="a.b.c"))

    assert Polling(GRANT).hears(tokens) is tokens
