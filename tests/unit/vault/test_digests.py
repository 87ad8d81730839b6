"""Digests of generated secrets."""

import pytest
from cofactor_server.vault.digests import same, sha256


@pytest.mark.requirement("S88")
def test_a_secret_of_112_bits_is_kept_as_a_plain_hash() -> None:
    assert sha256("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_octets_are_the_same_or_not() -> None:
    assert same(b"abc", b"abc")
    assert not same(b"abc", b"abd")
    assert not same(b"abc", b"abcd")
