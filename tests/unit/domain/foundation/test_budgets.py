"""How many wrong codes are borne, and from whom (ADR-9)."""

import pytest
from cofactor_server.domain.foundation.budgets import (
    FAILED_CODES,
    SOURCE_FAILED_CODES,
    STRANGER_FAILURES_PER_DAY,
    Bucket,
    Guard,
)
from cofactor_server.seams import DAY, HOUR, MINUTE
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000_000_000


def failed(guard: Guard, times: int, *, known: bool = False, now: int = NOW) -> Guard:
    for _ in range(times):
        guard = guard.failed(known=known, now=now)
    return guard


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.requirement("S11")
def test_the_eleventh_wrong_code_is_refused(known: bool) -> None:
    assert failed(Guard(), 9, known=known).wait(known=known, now=NOW) == 0
    assert failed(Guard(), 10, known=known).wait(known=known, now=NOW) == 6 * MINUTE


@pytest.mark.parametrize("known", [False, True])
def test_one_guess_comes_back_every_six_minutes(known: bool) -> None:
    guard = failed(Guard(), 10, known=known)
    assert guard.wait(known=known, now=NOW + 6 * MINUTE - 1) == 1
    assert guard.wait(known=known, now=NOW + 6 * MINUTE) == 0
    again = guard.failed(known=known, now=NOW + 6 * MINUTE)
    assert again.wait(known=known, now=NOW + 6 * MINUTE) == 6 * MINUTE


def test_an_hour_fills_the_budget_and_no_more() -> None:
    later = NOW + 100 * HOUR
    assert failed(failed(Guard(), 10), 10, now=later).wait(known=False, now=later) == 6 * MINUTE


@pytest.mark.requirement("S185")
def test_strangers_have_thirty_guesses_a_day_whatever_refills() -> None:
    guard, now, borne = Guard(), NOW, 0
    while now < NOW + DAY:
        if guard.wait(known=False, now=now) == 0:
            guard, borne = guard.failed(known=False, now=now), borne + 1
        now += MINUTE
    assert borne == STRANGER_FAILURES_PER_DAY == 30
    assert guard.wait(known=False, now=NOW + DAY) == 0


@pytest.mark.requirement("S185")
@given(st.lists(st.integers(0, 3 * DAY), max_size=300).map(sorted))
def test_no_pattern_of_tries_gives_strangers_more_than_thirty_in_any_day(tries: list[int]) -> None:
    guard, borne = Guard(), []
    for now in tries:
        if guard.wait(known=False, now=NOW + now) == 0:
            guard = guard.failed(known=False, now=NOW + now)
            borne.append(now)
    assert all(sum(start <= other < start + DAY for other in borne) <= 30 for start in borne)
    assert all(sum(start <= other < start + 6 * MINUTE for other in borne) <= 10 for start in borne)


@pytest.mark.requirement("S186")
def test_strangers_do_not_empty_the_owners_budget() -> None:
    attacked = failed(Guard(), 1_000)
    assert attacked.wait(known=False, now=NOW) > 0
    assert attacked.wait(known=True, now=NOW) == 0
    assert failed(Guard(), 10, known=True).wait(known=False, now=NOW) == 0


def test_a_success_does_not_refill() -> None:
    guard = failed(failed(Guard(), 10), 10, known=True).succeeded()
    assert guard.failures == 0
    assert [guard.wait(known=known, now=NOW) for known in (False, True)] == [6 * MINUTE] * 2
    assert len(guard.stranger_failures) == 10


def test_failures_of_both_count_in_one_row() -> None:
    assert failed(failed(Guard(), 3), 4, known=True).failures == 7


def test_no_more_instants_are_kept_than_are_looked_at() -> None:
    assert len(failed(Guard(), 500).stranger_failures) == STRANGER_FAILURES_PER_DAY


def test_a_source_has_ten_budgets() -> None:
    full_at = 0
    for number in range(100):
        assert SOURCE_FAILED_CODES.wait(full_at, NOW) == 0, number
        full_at = SOURCE_FAILED_CODES.charged(full_at, NOW)
    assert SOURCE_FAILED_CODES.wait(full_at, NOW) == FAILED_CODES.refill // 10


@given(st.integers(1, 100), st.integers(1, DAY), st.lists(st.integers(0, DAY), max_size=50).map(sorted))
def test_a_bucket_never_gives_more_than_its_size_and_its_refill(size: int, refill: int, tries: list[int]) -> None:
    bucket, full_at, taken = Bucket(size, refill), 0, 0
    for now in tries:
        if bucket.wait(full_at, NOW + now) == 0:
            full_at, taken = bucket.charged(full_at, NOW + now), taken + 1
    assert taken <= size + (tries[-1] - tries[0] if tries else 0) // refill
