"""Who is enrolled, and in which order factors are offered."""

import random

import pytest
from cofactor_server.domain.authenticators.authenticator import (
    PENDING_LIFE,
    Authenticator,
    State,
    enrolled,
    offered_order,
)
from cofactor_server.domain.authenticators.kinds import OURS, RECOVERY_CODE, TOTP

NOW = 1_800_000_000_000_000


def authenticator(kind: str, state: State, **given: object) -> Authenticator:
    defaults: dict[str, object] = {"id": f"{kind}|dev_1", "created_at": NOW, "credential": b""}
    return Authenticator(user_id="u", kind=kind, state=state, **{**defaults, **given})  # type: ignore[arg-type]


@pytest.mark.requirement("S2", "S194")
@pytest.mark.parametrize("kind", sorted(OURS | {"plugin"}))
@pytest.mark.parametrize("state", State)
def test_confirmed_and_not_removed_is_enrolled_unless_a_recovery_code(kind: str, state: State) -> None:
    confirmed = state in (State.ACTIVE, State.DISABLED)
    assert enrolled([authenticator(kind, state)]) == (confirmed and kind != RECOVERY_CODE)


def test_nobody_is_enrolled_with_nothing() -> None:
    assert not enrolled([])


def test_one_that_counts_is_enough() -> None:
    others = [authenticator(RECOVERY_CODE, State.ACTIVE), authenticator(TOTP, State.PENDING)]
    assert not enrolled(others)
    assert enrolled([*others, authenticator(TOTP, State.DISABLED)])


@pytest.mark.requirement("S199")
def test_factors_are_offered_newest_first_and_recovery_last() -> None:
    ordered = [
        authenticator(TOTP, State.ACTIVE, id="confirmed last", confirmed_at=NOW + 9, created_at=NOW),
        authenticator("push", State.ACTIVE, id="confirmed first", confirmed_at=NOW + 5, created_at=NOW + 4),
        authenticator(TOTP, State.PENDING, id="pending, newer", created_at=NOW + 8),
        authenticator(TOTP, State.PENDING, id="pending, a", created_at=NOW + 7),
        authenticator(TOTP, State.PENDING, id="pending, b", created_at=NOW + 7),
        authenticator(RECOVERY_CODE, State.ACTIVE, id="recovery", confirmed_at=NOW + 99),
    ]
    for seed in range(20):
        shuffled = random.Random(seed).sample(ordered, len(ordered))
        assert [a.id for a in offered_order(shuffled)] == [a.id for a in ordered]


@pytest.mark.parametrize(
    ("login_id", "later", "state", "expected"),
    [
        ("mine", 0, State.PENDING, True),
        ("mine", PENDING_LIFE - 1, State.PENDING, True),
        ("mine", PENDING_LIFE, State.PENDING, False),
        ("other", 0, State.PENDING, False),
        ("mine", 0, State.ACTIVE, False),
        ("mine", 0, State.REMOVED, False),
    ],
)
def test_a_pending_one_belongs_to_its_login_for_ten_minutes(
    login_id: str, later: int, state: State, expected: bool
) -> None:
    assert authenticator(TOTP, state, login_id="mine").pending_for(login_id, NOW + later) is expected


@pytest.mark.requirement("S33")
def test_what_is_removed_keeps_its_record_and_loses_its_secret() -> None:
    active = authenticator(TOTP, State.ACTIVE, confirmed_at=NOW, credential=b"secret", unique_ref="ref", name="Phone")
    gone = active.removed(NOW + 1)
    assert (gone.credential, gone.unique_ref) == (b"", None)
    assert (gone.id, gone.name, gone.created_at, gone.confirmed_at, gone.removed_at) == (
        active.id,
        "Phone",
        NOW,
        NOW,
        NOW + 1,
    )
