"""Sealing under root keys."""

import hmac
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cofactor_server.seams import DAY, SystemEntropy
from cofactor_server.vault import keyring as module
from cofactor_server.vault import root_keys, rotation
from cofactor_server.vault.keyring import Keyring, KeyringInvalid, RootKey, RootKeyState, SealBroken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.unit.vault.worlds import CountingEntropy, SetClock, in_state, keyring, root_key

RING = keyring()
SEALED = RING.seal("p", b"secret seed", b"row")


@settings(deadline=None)
@given(st.text(max_size=20).filter(lambda text: text.isprintable()), st.binary(), st.binary())
def test_what_was_sealed_opens(purpose: str, plaintext: bytes, associated: bytes) -> None:
    assert RING.open(purpose, RING.seal(purpose, plaintext, associated), associated) == plaintext


@settings(deadline=None)
@given(st.integers(0, len(SEALED) * 8 - 1))
def test_a_flipped_bit_anywhere_breaks_the_seal(bit: int) -> None:
    altered = bytearray(SEALED)
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        RING.open("p", bytes(altered), b"row")


@settings(deadline=None)
@given(st.integers(0, len(SEALED) - 1))
def test_a_shortened_value_does_not_open(length: int) -> None:
    with pytest.raises(SealBroken):
        RING.open("p", SEALED[:length], b"row")


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_garbage_does_not_open(garbage: bytes) -> None:
    with pytest.raises(SealBroken):
        RING.open("p", garbage, b"row")
    with pytest.raises(SealBroken):
        RING.open("p", b"\1" + garbage, b"row")


def test_a_value_opens_for_its_purpose_and_associated_data_only() -> None:
    for purpose, associated in [("q", b"row"), ("p", b"ro"), ("p", b"row2"), ("p", b""), ("", b"prow"), ("pr", b"ow")]:
        with pytest.raises(SealBroken):
            RING.open(purpose, SEALED, associated)


def test_another_deployments_key_of_the_same_id_does_not_open() -> None:
    with pytest.raises(SealBroken, match="not authentic"):
        keyring(root_key("k1")).open("p", SEALED, b"row")


@pytest.mark.requirement("S23")
def test_a_sealed_value_shows_nothing_but_key_id_and_day() -> None:
    sealed = keyring(root_key("k1")).seal("totp", b"secret seed", b"row")
    assert sealed[:8] == b"\x01\x02k1" + (20_000).to_bytes(4, "big")
    assert b"seed" not in sealed
    assert b"totp" not in sealed
    assert len(sealed) == 8 + 12 + len(b"secret seed") + 16


def derived(secret: bytes, *parts: bytes) -> bytes:
    info = b"cofactor v1" + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return HKDF(SHA256(), 32, None, info).derive(secret)


def test_the_format_is_the_one_that_stored_values_have() -> None:
    key = root_key("k1")
    sealed = keyring(key).seal("totp", b"seed", b"row")
    header, nonce, ciphertext = sealed[:8], sealed[8:20], sealed[20:]
    subkey = derived(key.secret, b"seal", b"totp", (20_000).to_bytes(4, "big"))
    associated = b"\0\0\0\x08" + header + b"\0\0\0\x04totp" + b"row"
    assert AESGCM(subkey).decrypt(nonce, ciphertext, associated) == b"seed"
    mac = hmac.digest(derived(key.secret, b"mac", b"code"), b"123456", "sha256")
    assert keyring(key).mac("code", b"123456") == ("k1", mac)


def test_the_same_value_sealed_twice_differs() -> None:
    assert RING.seal("p", b"x", b"") != RING.seal("p", b"x", b"")


def test_every_nonce_is_drawn_from_the_given_entropy() -> None:
    entropy = CountingEntropy()
    ring = Keyring([root_key("k1")], SetClock(), entropy)
    sealed = [ring.seal("p", b"x", b"") for _ in range(3)]
    assert [value[8:20] for value in sealed] == entropy.drawn


def test_a_value_opens_on_later_days_and_is_sealed_under_a_key_of_its_day() -> None:
    clock = SetClock()
    key = root_key("k1")
    ring = keyring(key, clock=clock)
    sealed = ring.seal("p", b"x", b"")
    clock.time += 400 * DAY
    assert ring.open("p", sealed, b"") == b"x"
    later = ring.seal("p", b"x", b"")
    assert later[4:8] != sealed[4:8]
    with pytest.raises(SealBroken):
        ring.open("p", later[:4] + sealed[4:8] + later[8:], b"")


def test_a_previous_key_opens_and_does_not_seal() -> None:
    old = root_key("old")
    sealed = keyring(old).seal("p", b"x", b"")
    ring = keyring(in_state(old, RootKeyState.PREVIOUS), root_key("new"))
    assert ring.open("p", sealed, b"") == b"x"
    assert ring.key_id_of(sealed) == "old"
    assert ring.active_id == ring.key_id_of(ring.seal("p", b"x", b"")) == "new"


def test_a_retired_key_opens_only_where_that_is_allowed() -> None:
    old = root_key("old")
    sealed = keyring(old).seal("p", b"x", b"")
    ring = keyring(in_state(old, RootKeyState.RETIRED), root_key("new"))
    for _ in range(2):  # the second time from the cache
        with pytest.raises(SealBroken, match="retired"):
            ring.open("p", sealed, b"")
        assert ring.open("p", sealed, b"", allow_retired=True) == b"x"


def test_a_key_taken_out_opens_nothing() -> None:
    with pytest.raises(SealBroken, match="does not have"):
        keyring(root_key("k2")).open("p", SEALED, b"row", allow_retired=True)


def test_the_key_id_is_read_from_unknown_keys_too_but_not_from_garbage() -> None:
    assert keyring(root_key("other")).key_id_of(SEALED) == "k1"
    for garbage in (b"", b"\2", b"\1\xff", b"\1\2k1", b"\1\2\xff\xff" + bytes(40)):
        with pytest.raises(SealBroken):
            RING.key_id_of(garbage)


def test_invented_days_do_not_push_out_the_subkeys_in_use() -> None:
    ring = keyring()
    sealed = ring.seal("p", b"x", b"")
    for day in range(module.CACHED_SUBKEYS * 2):
        with pytest.raises(SealBroken):
            ring.open("p", sealed[:4] + day.to_bytes(4, "big") + sealed[8:], b"")
    assert len(ring._ring.subkeys) == 1


def test_a_subkey_is_derived_once() -> None:
    key = root_key("k1")
    sealed = keyring(key).seal("p", b"x", b"")
    ring = keyring(key)
    ring.open("p", sealed, b"")
    assert list(ring._ring.subkeys._entries) == [(sealed[:8], "p")]
    ring.seal("p", b"x", b"")
    assert len(ring._ring.subkeys) == 1


def test_the_cache_of_subkeys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_SUBKEYS", 3)
    clock = SetClock()
    ring = keyring(clock=clock)
    sealed = []
    for _ in range(10):
        sealed.append(ring.seal("p", b"x", b""))
        clock.time += DAY
    assert all(ring.open("p", value, b"") == b"x" for value in sealed)
    assert len(ring._ring.subkeys) == 3


def test_threads_share_a_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_SUBKEYS", 2)
    ring = keyring()

    def there_and_back(number: int) -> bool:
        purpose = f"p{number % 5}"
        return ring.open(purpose, ring.seal(purpose, b"x", b""), b"") == b"x"

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(there_and_back, range(2_000)))


def test_a_mac_is_the_same_under_the_key_whose_id_came_with_it() -> None:
    old = root_key("old")
    key_id, mac = keyring(old).mac("code", b"123456")
    ring = keyring(in_state(old, RootKeyState.PREVIOUS), root_key("new"))
    assert ring.mac("code", b"123456", key_id) == ("old", mac)
    assert ring.mac("code", b"123456") != (key_id, mac)
    assert ring.mac("code", b"123456")[0] == "new"


def test_a_mac_does_not_change_overnight_and_differs_by_purpose_and_message() -> None:
    clock = SetClock()
    ring = keyring(clock=clock)
    mac = ring.mac("code", b"123456")
    clock.time += DAY
    assert ring.mac("code", b"123456") == mac
    assert len(mac[1]) == 32
    assert len({mac[1], ring.mac("cod", b"e123456")[1], ring.mac("link", b"123456")[1], ring.mac("code", b"1")[1]}) == 4


def test_no_mac_is_made_under_an_unknown_or_retired_key() -> None:
    ring = keyring(root_key("old", RootKeyState.RETIRED), root_key("new"))
    for key_id in ("old", "unknown", ""):
        with pytest.raises(SealBroken):
            ring.mac("code", b"123456", key_id)


def test_the_canary_tells_the_right_keyring_from_a_wrong_one() -> None:
    old = root_key("old")
    canary = keyring(old).make_canary()
    keyring(old).check_canary(canary)
    keyring(in_state(old, RootKeyState.RETIRED), root_key("new")).check_canary(canary)
    for ring, sealed in [(keyring(root_key("new")), canary), (keyring(root_key("old")), canary), (keyring(old), b"")]:
        with pytest.raises(KeyringInvalid, match="does not fit the database"):
            ring.check_canary(sealed)


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [root_key("a", RootKeyState.PREVIOUS)],
        [root_key("a"), root_key("b")],
        [root_key("a"), root_key("a", RootKeyState.RETIRED)],
        [RootKey("a", b"x" * 32, RootKeyState.ACTIVE), RootKey("b", b"x" * 32, RootKeyState.RETIRED)],
        [RootKey("a", b"x" * 31, RootKeyState.ACTIVE)],
        [root_key("")],
        [root_key("a" * 33)],
        [root_key("a\n")],
        [root_key("ä")],
    ],
)
def test_keys_that_make_no_keyring_are_refused(keys: list[RootKey]) -> None:
    with pytest.raises(KeyringInvalid):
        Keyring(keys, SetClock())


def test_no_secret_is_printed() -> None:
    key = RootKey("k1", b"AVERYVERYSECRETKEYOF32OCTETSXXXX", RootKeyState.ACTIVE)
    ring = keyring(key)
    ring.seal("p", b"x", b"")
    ring.mac("p", b"x")
    shown = [repr(key), str(key), repr(ring), f"{ring._ring.subkeys._entries}"]
    assert not any("SECRET" in text for text in shown)


def test_a_generated_key_is_active_alone_and_random() -> None:
    one, other = Keyring.generate(SystemEntropy()), Keyring.generate(SystemEntropy())
    assert len(one) == 1
    assert one[0].state is RootKeyState.ACTIVE
    assert one[0].secret != other[0].secret
    assert one[0].id != other[0].id
    Keyring(one, SetClock())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keyring.json"
    Keyring.write(path, [root_key("k1")])
    return path


def rotated(file: Path) -> None:
    root_keys.edit(file, lambda keys: rotation.promoted(keys, SystemEntropy(), 1))


def test_a_keyring_follows_its_file(file: Path) -> None:
    ring = Keyring.load(file, SetClock())
    before = ring.seal("p", b"x", b"")
    assert not ring.follow()
    rotated(file)
    assert ring.key_id_of(ring.seal("p", b"x", b"")) == "k1"
    assert ring.follow()
    assert not ring.follow()
    assert ring.key_id_of(ring.seal("p", b"x", b"")) == ring.active_id != "k1"
    assert ring.open("p", before, b"") == b"x"


def test_what_another_sealed_under_a_new_key_opens_at_once(file: Path) -> None:
    behind, ahead = Keyring.load(file, SetClock()), Keyring.load(file, SetClock())
    rotated(file)
    ahead.follow()
    assert behind.open("p", ahead.seal("p", b"x", b""), b"") == b"x"
    behind = Keyring.load(file, SetClock())
    key_id, mac = ahead.mac("p", b"x")
    assert behind.mac("p", b"x", key_id) == (key_id, mac)


def test_a_key_that_was_retired_in_the_file_opens_no_token_any_more(file: Path) -> None:
    ring = Keyring.load(file, SetClock())
    token = ring.seal("p", b"x", b"")
    rotated(file)
    ring.follow()
    assert ring.open("p", token, b"") == b"x"
    root_keys.edit(file, lambda keys: rotation.retired(keys, 2))
    ring.follow()
    with pytest.raises(SealBroken, match="retired"):
        ring.open("p", token, b"")


@pytest.mark.parametrize("wrong", ["gone", "garbage", "readable by others", "another's", "same name"])
def test_a_file_that_can_not_be_followed_leaves_the_keys_and_is_logged_once(file: Path, wrong: str) -> None:
    ring = Keyring.load(file, SetClock())
    sealed = ring.seal("p", b"x", b"")
    file.unlink()
    match wrong:
        case "garbage":
            file.write_text("{}")
            file.chmod(0o600)
        case "readable by others":
            Keyring.write(file, [root_key("k1")])
            file.chmod(0o644)
        case "another's":
            Keyring.write(file, [root_key("k2")])
        case "same name":
            Keyring.write(file, [root_key("k1")])
    with capture_logs() as logged:
        assert not ring.follow()
        assert not ring.follow()
    assert [line["event"] for line in logged] == ["keyring_not_followed"]
    assert ring.open("p", sealed, b"") == b"x"


def test_invented_key_ids_read_no_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Keyring.load(file, SetClock())
    sealed = ring.seal("p", b"x", b"")
    monkeypatch.setattr(root_keys, "read", lambda _: 1 // 0)
    with pytest.raises(SealBroken, match="does not have"):
        ring.open("p", sealed.replace(b"k1", b"k9", 1), b"")
