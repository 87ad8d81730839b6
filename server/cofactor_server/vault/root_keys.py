"""Root keys and the file they are kept in."""

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from cofactor_server.domain.foundation.encoding import base64url, from_base64url
from cofactor_server.seams import ALPHANUMERIC, Entropy

SECRET_OCTETS = 32
"""AES-256 and HMAC-SHA256 take no more."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")  # it is a part of every token, as it stands
_LARGEST_FILE = 65_536
_FEWEST_DISTINCT_OCTETS = 12  # 32 random octets have fewer with a probability below 2^-60; an example key has


class KeyringInvalid(ValueError):
    """The keyring cannot be used. The text says what is wrong, and never contains key material."""


class RootKeyState(StrEnum):
    """What a root key may still do."""

    NEXT = "next"
    """Opens everything, seals nothing yet: every server is to know it before one of them seals under it."""
    ACTIVE = "active"
    """Seals and opens; exactly one."""
    PREVIOUS = "previous"
    """Opens everything, seals nothing."""
    RETIRED = "retired"
    """Opens columns, so that they can be sealed again, and no token (ADR-10)."""


@dataclass(frozen=True, slots=True)
class RootKey:
    """One root key; `id` is public and stands in front of all it sealed, `secret` has 32 octets."""

    id: str
    secret: bytes = field(repr=False)
    state: RootKeyState
    since: int = 0
    """When it came to be in this state; 0 where nobody noted it."""


class _Entry(msgspec.Struct, omit_defaults=True):
    id: str
    secret: str
    state: str
    since: int = 0

    def __repr__(self) -> str:
        return f"_Entry(id={self.id!r}, state={self.state!r})"


class _File(msgspec.Struct):
    keys: list[_Entry]


def check(keys: Sequence[RootKey]) -> None:
    """Check that keys make a keyring.

    Raises:
        KeyringInvalid: Not exactly one is active, an id or a secret occurs twice, or one is malformed.
    """
    for number, key in enumerate(keys, 1):
        if not _ID.fullmatch(key.id):
            raise KeyringInvalid(f"key {number}: an id is 1 to 32 letters, digits, dots, underscores and hyphens")
        if len(key.secret) != SECRET_OCTETS:
            raise KeyringInvalid(f"key {number}: a secret has {SECRET_OCTETS} octets")
    if len({key.id for key in keys}) != len(keys):
        raise KeyringInvalid("two keys have the same id")
    if len({key.secret for key in keys}) != len(keys):
        raise KeyringInvalid("two keys have the same secret")
    active, coming = (sum(key.state is state for key in keys) for state in (RootKeyState.ACTIVE, RootKeyState.NEXT))
    if active != 1:
        raise KeyringInvalid(f"exactly one key must be active, {active} are")
    if coming > 1:
        raise KeyringInvalid(f"one key at most can be next, {coming} are")


def generate(entropy: Entropy) -> list[RootKey]:
    """Draw a new root key, active and alone."""
    return [draw(entropy, RootKeyState.ACTIVE)]


def draw(entropy: Entropy, state: RootKeyState, since: int = 0) -> RootKey:
    """Draw a new root key."""
    return RootKey("k" + entropy.choose(ALPHANUMERIC, 8), entropy.octets(SECRET_OCTETS), state, since)


def read(path: Path) -> list[RootKey]:
    """Read and check the keys in a file, as `write` makes it (ADR-10).

    Raises:
        KeyringInvalid: The file is missing, no regular file, readable or writable by others, or its content is wrong.
    """
    try:
        keys = _parse(_octets_of_private_file(path))
        check(keys)
    except KeyringInvalid as problem:
        # Without the cause: an error of the parser may quote the file.
        raise KeyringInvalid(f"keyring file {path}: {problem}") from None
    return keys


def write(path: Path, keys: Sequence[RootKey]) -> None:
    """Write keys to a new file of mode 0600, durably.

    Raises:
        KeyringInvalid: The keys do not make a keyring, the file exists (it is left alone), or the system refuses.
    """
    check(keys)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise KeyringInvalid(f"keyring file {path}: exists already, and is not overwritten") from None
    except OSError as error:
        raise KeyringInvalid(f"keyring file {path}: {error.strerror}") from None
    try:
        _fill(descriptor, keys)
        _sync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeyringInvalid(f"keyring file {path}: {error.strerror}") from None


def edit(path: Path, change: Callable[[list[RootKey]], list[RootKey]]) -> list[RootKey]:
    """Put what `change` makes of the keys in a file in their place: readers see the one or the other, never half.

    Two that edit at once take turns. A link is followed, the file keeps its owner, and a change that changes nothing
    leaves it alone.

    Returns:
        The keys that are there now.

    Raises:
        KeyringInvalid: The file is no keyring, what `change` returns is none, or the system refuses.
    """
    try:
        path = path.resolve(strict=True)
        with _alone_in(path.parent):
            keys = read(path)
            changed = change(keys)
            if changed != keys:
                check(changed)
                _replace(path, changed)
    except OSError as error:
        raise KeyringInvalid(f"keyring file {path}: {error.strerror}") from None
    return changed


def _replace(path: Path, keys: Sequence[RootKey]) -> None:
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)  # of one that was killed: nobody else is here
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        owner = path.stat()
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)  # root edits what the servers' user reads
    except OSError:
        os.close(descriptor)
        new.unlink()
        raise
    _fill(descriptor, keys)
    new.replace(path)
    _sync_folder(path.parent)


def _fill(descriptor: int, keys: Sequence[RootKey]) -> None:
    """Write keys durably, and close the file."""
    entries = [_Entry(key.id, base64url(key.secret), key.state.value, key.since) for key in keys]
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(_File(entries)), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _octets_of_private_file(path: Path) -> bytes:
    try:
        # Not blocking: a named pipe would make us wait for its writer before we see that it is no regular file.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise KeyringInvalid(str(error.strerror)) from None
    try:
        # Asked of the open file, not of the path, which may have come to name another one.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyringInvalid("not a regular file")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise KeyringInvalid(f"mode {mode:04o} gives others access; set it to 0600")
        if status.st_size > _LARGEST_FILE:
            raise KeyringInvalid(f"larger than {_LARGEST_FILE} octets")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(_LARGEST_FILE)
    except OSError as error:
        raise KeyringInvalid(str(error.strerror)) from None
    finally:
        os.close(descriptor)


def _parse(content: bytes) -> list[RootKey]:
    try:
        entries = msgspec.json.decode(content, type=_File).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise KeyringInvalid('not JSON of the form {"keys": [{"id", "secret", "state"}]}') from None
    return [_root_key(number, entry) for number, entry in enumerate(entries, 1)]


def _root_key(number: int, entry: _Entry) -> RootKey:
    try:
        state = RootKeyState(entry.state)
    except ValueError:
        raise KeyringInvalid(f"key {number}: state is none of {', '.join(RootKeyState)}") from None
    try:
        secret = from_base64url(entry.secret)
    except ValueError:
        raise KeyringInvalid(f"key {number}: the secret is not base64url without padding") from None
    if len(secret) == SECRET_OCTETS and len(set(secret)) < _FEWEST_DISTINCT_OCTETS:
        raise KeyringInvalid(f"key {number}: the secret is not random; make one with `cofactor keys generate`")
    return RootKey(entry.id, secret, state, entry.since)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
