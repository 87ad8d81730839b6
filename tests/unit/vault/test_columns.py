"""Sealed columns."""

from itertools import pairwise

import pytest
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.keyring import RootKeyState, SealBroken

from tests.unit.vault.worlds import in_state, keyring, root_key

KEY = root_key("old")
COLUMNS = Columns(keyring(KEY))
PLACE = ("authenticators", "credential", "user-1", "row-1")


@pytest.mark.requirement("S23", "S73")
def test_a_seed_is_stored_encrypted_and_opens_in_its_place() -> None:
    sealed = COLUMNS.seal(*PLACE, b"the seed")
    assert b"seed" not in sealed
    assert COLUMNS.open(*PLACE, sealed) == b"the seed"


@pytest.mark.requirement("S23")
def test_a_dump_without_the_key_opens_nothing() -> None:
    with pytest.raises(SealBroken):
        Columns(keyring(root_key("old"))).open(*PLACE, COLUMNS.seal(*PLACE, b"the seed"))


@pytest.mark.parametrize(
    "place",
    [
        ("challenges", "credential", "user-1", "row-1"),
        ("authenticators", "expected", "user-1", "row-1"),
        ("authenticators", "credential", "user-2", "row-1"),
        ("authenticators", "credential", "user-1", "row-2"),
        ("authenticators", "credential", "row-1", "user-1"),
        ("authenticators", "credential", "user-1row-1", ""),
        ("authenticatorscredential", "", "user-1", "row-1"),
    ],
)
def test_a_value_moved_to_another_place_does_not_open(place: tuple[str, str, str, str]) -> None:
    with pytest.raises(SealBroken):
        COLUMNS.open(*place, COLUMNS.seal(*PLACE, b"the seed"))


def test_neighbors_cannot_be_shifted_into_each_other() -> None:
    places = [("ab", "c", "d", "e"), ("a", "bc", "d", "e"), ("a", "b", "cd", "e"), ("a", "b", "c", "de")]
    for one, other in pairwise(places):
        with pytest.raises(SealBroken):
            COLUMNS.open(*other, COLUMNS.seal(*one, b"x"))


def test_a_retired_key_opens_columns_so_that_they_can_be_sealed_again() -> None:
    sealed = COLUMNS.seal(*PLACE, b"the seed")
    ring = keyring(in_state(KEY, RootKeyState.RETIRED), root_key("new"))
    assert ring.key_id_of(sealed) != ring.active_id
    again = Columns(ring).seal(*PLACE, Columns(ring).open(*PLACE, sealed))
    assert ring.key_id_of(again) == ring.active_id
