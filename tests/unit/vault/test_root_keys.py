"""The keyring file."""

import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cofactor_server.domain.foundation.encoding import base64url
from cofactor_server.seams import SystemEntropy
from cofactor_server.vault import root_keys, rotation
from cofactor_server.vault.keyring import Keyring, KeyringInvalid, RootKeyState

from tests.unit.vault.worlds import SetClock, root_key

SECRET = base64url(bytes(range(100, 132)))
ENTRY = {"id": "k1", "secret": SECRET, "state": "active"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyring.json"


def put(path: Path, content: object, mode: int = 0o600) -> None:
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    path.chmod(mode)


def test_a_written_keyring_loads_and_opens_what_it_sealed(path: Path) -> None:
    keys = [root_key("new"), root_key("old", RootKeyState.PREVIOUS), root_key("older", RootKeyState.RETIRED)]
    sealed = Keyring(keys, SetClock()).seal("p", b"x", b"")
    Keyring.write(path, keys)
    ring = Keyring.load(path, SetClock())
    assert ring.open("p", sealed, b"") == b"x"
    assert ring._ring.keys == {key.id: key for key in keys}


def test_a_keyring_is_written_for_its_owner_only_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        Keyring.write(path, Keyring.generate(SystemEntropy()))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_keyring_is_never_overwritten(path: Path) -> None:
    Keyring.write(path, [root_key("k1")])
    content = path.read_bytes()
    with pytest.raises(KeyringInvalid, match=r"keyring\.json: exists"):
        Keyring.write(path, [root_key("k2")])
    assert path.read_bytes() == content


def test_a_keyring_is_not_written_through_a_dangling_link(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyringInvalid, match="exists"):
        Keyring.write(path, [root_key("k1")])
    assert not (tmp_path / "elsewhere").exists()


def test_keys_that_make_no_keyring_are_not_written(path: Path) -> None:
    with pytest.raises(KeyringInvalid, match="exactly one"):
        Keyring.write(path, [])
    assert not path.exists()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyringInvalid, match=r"nowhere.*No such file"):
        Keyring.write(tmp_path / "nowhere" / "keyring.json", [root_key("k1")])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o644, 0o602])
def test_a_file_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    put(path, {"keys": [ENTRY]}, mode)
    with pytest.raises(KeyringInvalid, match=f"mode 0{mode:o} gives others access"):
        Keyring.load(path, SetClock())


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_for_its_owner_only_loads(path: Path, mode: int) -> None:
    put(path, {"keys": [ENTRY]}, mode)
    assert Keyring.load(path, SetClock()).active_id == "k1"


def test_a_mounted_secret_which_is_a_link_loads(path: Path, tmp_path: Path) -> None:
    put(tmp_path / "data", {"keys": [ENTRY]})
    path.symlink_to(tmp_path / "data")
    assert Keyring.load(path, SetClock()).active_id == "k1"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(mode=0o700), "not a regular file"),
        (lambda path: os.mkfifo(path, 0o600), "not a regular file"),
    ],
)
def test_what_is_no_file_is_refused_at_once(path: Path, make: Callable[[Path], None], problem: str) -> None:
    make(path)
    with pytest.raises(KeyringInvalid, match=rf"keyring\.json: {problem}"):
        Keyring.load(path, SetClock())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON"),
        (SECRET.encode(), "not JSON"),
        (b"\xff", "not JSON"),
        ([ENTRY], "not JSON"),
        ({"keys": SECRET}, "not JSON"),
        ({"keys": [{"id": "k1", "secret": SECRET}]}, "not JSON"),
        ({"keys": [ENTRY | {"secret": [SECRET]}]}, "not JSON"),
        ({"keys": []}, "exactly one"),
        ({"keys": [ENTRY | {"state": SECRET}]}, "key 1: state is none of next, active, previous, retired"),
        ({"keys": [ENTRY | {"state": "previous"}]}, "exactly one"),
        ({"keys": [ENTRY, ENTRY | {"state": "retired"}]}, "same id"),
        ({"keys": [ENTRY, ENTRY | {"id": "k2", "state": "retired"}]}, "same secret"),
        ({"keys": [ENTRY | {"id": SECRET}]}, "key 1: an id is"),
        ({"keys": [ENTRY | {"secret": SECRET[:-2]}]}, "key 1"),
        ({"keys": [ENTRY | {"secret": SECRET + "="}]}, "key 1: the secret is not base64url"),
        ({"keys": [ENTRY | {"secret": base64url(bytes(range(100, 133)))}]}, "key 1: a secret has 32"),
        ({"keys": [ENTRY | {"secret": "A" * 43}]}, "key 1: the secret is not random"),
        (b" " * 70_000, "larger than"),
    ],
)
def test_a_bad_file_is_refused_with_its_problem_and_without_its_secret(
    path: Path, content: object, problem: str
) -> None:
    put(path, content)
    with pytest.raises(KeyringInvalid, match=rf"keyring\.json: .*{problem}") as caught:
        Keyring.load(path, SetClock())
    assert SECRET[:-2] not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.requirement("S158")
def test_a_rotation_goes_step_by_step() -> None:
    entropy = SystemEntropy()
    (first,) = Keyring.generate(entropy)
    ready = rotation.prepared([first], entropy, 1)
    assert rotation.prepared(ready, entropy, 2) == ready
    turned = rotation.promoted(ready, entropy, 3)
    assert [(key.id, key.state, key.since) for key in turned] == [
        (first.id, RootKeyState.PREVIOUS, 3),
        (ready[1].id, RootKeyState.ACTIVE, 3),
    ]
    old = rotation.retired(turned, 4)
    assert [(key.state, key.since) for key in old] == [(RootKeyState.RETIRED, 4), (RootKeyState.ACTIVE, 3)]
    assert rotation.without(turned, turned) == turned
    assert rotation.without(old, old) == [turned[1]]


def test_an_edited_file_is_whole_private_and_another_one(path: Path) -> None:
    keys = [root_key("k1")]
    Keyring.write(path, keys)
    before = path.stat().st_ino
    path.with_name("keyring.json.new").write_text("of one that was killed")
    changed = root_keys.edit(path, lambda found: rotation.promoted(found, SystemEntropy(), 5))
    assert root_keys.read(path) == changed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino != before
    assert [file.name for file in path.parent.iterdir()] == ["keyring.json"]


def test_an_edit_that_changes_nothing_or_fails_leaves_the_file(path: Path) -> None:
    Keyring.write(path, [root_key("k1")])
    before = path.stat()
    root_keys.edit(path, lambda keys: keys)
    with pytest.raises(KeyringInvalid, match="exactly one key must be active"):
        root_keys.edit(path, lambda _: [])
    with pytest.raises(ZeroDivisionError):
        root_keys.edit(path, lambda keys: keys * (1 // 0))
    assert path.stat() == before


def test_an_edit_follows_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "mounted").mkdir()
    target = tmp_path / "mounted" / "keyring.json"
    Keyring.write(target, [root_key("k1")])
    path.symlink_to(target)
    changed = root_keys.edit(path, lambda found: rotation.promoted(found, SystemEntropy(), 5))
    assert path.is_symlink()
    assert root_keys.read(target) == changed


def test_two_that_edit_at_once_take_turns(path: Path) -> None:
    Keyring.write(path, [root_key("k1")])

    def another(_: int) -> None:
        root_keys.edit(path, lambda keys: [*keys, root_key(f"k{len(keys) + 1}", RootKeyState.PREVIOUS)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(another, range(20)))
    assert [key.id for key in root_keys.read(path)] == [f"k{number}" for number in range(1, 22)]


def test_a_file_that_is_not_there_is_not_edited(path: Path) -> None:
    with pytest.raises(KeyringInvalid, match="No such file"):
        root_keys.edit(path, lambda keys: keys)
