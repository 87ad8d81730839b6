"""Sealed tokens."""

import string

import pytest
from cofactor_server.domain.foundation.encoding import base64url, from_base64url
from cofactor_server.vault.keyring import RootKeyState, SealBroken
from cofactor_server.vault.tokens import TokenSealer
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.vault.worlds import in_state, keyring, root_key

KEY = root_key("k1")
SEALER = TokenSealer(keyring(KEY), "https://mfa.example")
TOKEN = SEALER.seal("mfa_token", b"user, login")
URL_SAFE = string.ascii_letters + string.digits + "-_"


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_a_sealed_token_opens_and_is_url_safe(payload: bytes) -> None:
    token = SEALER.seal("mfa_token", payload)
    assert set(token) <= set(URL_SAFE)
    assert SEALER.open("mfa_token", token) == payload


@settings(deadline=None)
@given(st.integers(0, len(from_base64url(TOKEN)) * 8 - 1))
def test_a_bit_flipped_token_does_not_open(bit: int) -> None:
    octets = bytearray(from_base64url(TOKEN))
    octets[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        SEALER.open("mfa_token", base64url(bytes(octets)))


@pytest.mark.parametrize("length", [10, 11, 12])
def test_a_token_has_one_spelling(length: int) -> None:
    token = SEALER.seal("mfa_token", b"x" * length)
    for letter in URL_SAFE:
        if letter != token[-1]:
            with pytest.raises(SealBroken):
                SEALER.open("mfa_token", token[:-1] + letter)
    for other in (token + "=", token + "==", token + "\n", " " + token, token + "A", token[:9] + "\n" + token[9:]):
        with pytest.raises(SealBroken):
            SEALER.open("mfa_token", other)


@pytest.mark.requirement("S106")
def test_a_token_opens_for_its_purpose_only() -> None:
    for purpose in ("oob_code", "mfa_toke", "mfa_token ", ""):
        with pytest.raises(SealBroken):
            SEALER.open(purpose, TOKEN)


@pytest.mark.requirement("S106")
def test_a_signed_token_is_no_sealed_one() -> None:
    with pytest.raises(SealBroken):
        SEALER.open("mfa_token", "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln")


def test_a_token_opens_for_its_issuer_only() -> None:
    for issuer in ("https://other.example", "https://mfa.example/", ""):
        with pytest.raises(SealBroken):
            TokenSealer(keyring(KEY), issuer).open("mfa_token", TOKEN)


def test_purpose_and_issuer_cannot_be_shifted_into_each_other() -> None:
    token = TokenSealer(keyring(KEY), "bc").seal("a", b"x")
    with pytest.raises(SealBroken):
        TokenSealer(keyring(KEY), "c").open("ab", token)


def test_a_token_of_a_previous_key_opens_and_one_of_a_retired_key_does_not() -> None:
    ring = keyring(in_state(KEY, RootKeyState.PREVIOUS), root_key("k2"))
    assert TokenSealer(ring, "https://mfa.example").open("mfa_token", TOKEN) == b"user, login"
    ring = keyring(in_state(KEY, RootKeyState.RETIRED), root_key("k2"))
    with pytest.raises(SealBroken):
        TokenSealer(ring, "https://mfa.example").open("mfa_token", TOKEN)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_garbage_does_not_open(text: str) -> None:
    with pytest.raises(SealBroken):
        SEALER.open("mfa_token", text)


@pytest.mark.parametrize("text", ["é", "\ud800", "\0", "", "A" * 4_097, "A" * 10_000_000], ids=range(6))
def test_what_is_foreign_or_too_long_does_not_open(text: str) -> None:
    with pytest.raises(SealBroken):
        SEALER.open("mfa_token", text)


def test_a_token_too_long_to_be_opened_is_not_made() -> None:
    with pytest.raises(ValueError, match="would not be opened"):
        SEALER.seal("mfa_token", b"x" * 3_100)
    assert SEALER.open("mfa_token", SEALER.seal("mfa_token", b"x" * 3_000)) == b"x" * 3_000


def test_tokens_of_the_same_content_differ_in_nonce_and_tag() -> None:
    tokens = {from_base64url(SEALER.seal("mfa_token", b"same"))[-32:] for _ in range(1_000)}
    assert len({token[:12] for token in tokens}) == len({token[-16:] for token in tokens}) == 1_000
