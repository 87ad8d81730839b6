"""Codes of few bits, kept so that a stolen database does not tell them."""

import pytest
from cofactor_server.vault.root_keys import RootKeyState
from cofactor_server.vault.short_codes import ShortCodes

from tests.unit.vault.worlds import in_state, keyring, root_key


@pytest.mark.requirement("S95", "S123")
def test_a_code_has_another_mac_for_every_challenge_and_authenticator() -> None:
    codes = ShortCodes(keyring())
    macs = {
        codes.mac(challenge, authenticator, code)
        for challenge in ("c1", "c2")
        for authenticator in ("sms|1", "voice|1")
        for code in ("123456", "123457")
    }

    assert len(macs) == 8
    assert codes.mac("c1", "sms|11", "23456") != codes.mac("c1", "sms|1", "123456")


@pytest.mark.requirement("S114")
def test_a_mac_says_nothing_without_the_keyring() -> None:
    assert ShortCodes(keyring()).mac("c1", "sms|1", "123456") != ShortCodes(keyring()).mac("c1", "sms|1", "123456")


def test_a_code_that_was_sent_before_the_keys_rotated_is_still_compared() -> None:
    old = root_key("old")
    key_id, mac = ShortCodes(keyring(old)).mac("c1", "sms|1", "123456")
    rotated = ShortCodes(keyring(root_key("new"), in_state(old, RootKeyState.PREVIOUS)))

    assert rotated.mac("c1", "sms|1", "123456", key_id) == ("old", mac)
    assert rotated.mac("c1", "sms|1", "123456")[0] == "new"
