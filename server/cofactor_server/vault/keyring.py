"""Seals octets under root keys: AES-256-GCM with a key of its own for every purpose and day."""

import hmac
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cofactor_server.domain.foundation.encoding import framed
from cofactor_server.seams import DAY, Clock, Entropy, SystemEntropy
from cofactor_server.vault import root_keys
from cofactor_server.vault.recent import Recent
from cofactor_server.vault.root_keys import KeyringInvalid, RootKey, RootKeyState

__all__ = ["Keyring", "KeyringInvalid", "RootKey", "RootKeyState", "SealBroken"]

VERSION = 1
DAY_OCTETS = 4
NONCE_OCTETS = 12  # SP 800-38D section 8.2.2: drawn at random, at most 2^32 under one key; hence a key a day
TAG_OCTETS = 16
CACHED_SUBKEYS = 1_024
"""Columns are opened under the keys of the days they were sealed on: enough for some years of them."""

_log = structlog.get_logger("cofactor.vault")

_CANARY_PURPOSE = "canary"
_CANARY = b"cofactor"


class SealBroken(Exception):
    """What should have been sealed by this keyring for this purpose was not, or not by a key that may open it.

    The text is for the log; an edge answers the same whatever it says.
    """


class _Subkey(NamedTuple):
    root: RootKey
    aead: AESGCM
    associated: bytes  # goes before the caller's: header and purpose


class _Ring:
    """Keys as a file had them at one time, and what was derived from them."""

    __slots__ = ("active", "keys", "mac_keys", "start", "subkeys")

    def __init__(self, keys: Sequence[RootKey]) -> None:
        root_keys.check(keys)
        self.keys: Final = {key.id: key for key in keys}
        self.active: Final = next(key for key in keys if key.state is RootKeyState.ACTIVE)
        self.start: Final = _start(self.active.id)
        self.subkeys: Final[Recent[tuple[bytes, str], _Subkey]] = Recent(CACHED_SUBKEYS)
        self.mac_keys: Final[Recent[tuple[str, str], bytes]] = Recent(CACHED_SUBKEYS)


class Keyring:
    """Root keys and what is derived from them. Safe to share between threads.

    One that was loaded from a file follows it: `follow` is called now and then, and a value under a key that is not
    known makes it look at once. Another process may have put the key there and sealed under it in the same instant.

    A sealed value is: version (1 octet) ‖ length of the root key's id (1) ‖ id ‖ UTC day since the epoch (4) ‖ nonce
    (12) ‖ ciphertext and tag. Its key is HKDF-SHA256 (RFC 5869) of the root key over "cofactor v1", use, purpose and
    day; all that stands before the nonce, the purpose and the caller's associated data are authenticated.

    Args:
        keys: Exactly one active.
        clock: Tells the day.
        entropy: Draws nonces; the system's unless told otherwise.

    Raises:
        KeyringInvalid: The keys do not make a keyring.
    """

    def __init__(self, keys: Sequence[RootKey], clock: Clock, entropy: Entropy | None = None) -> None:
        self._ring = _Ring(keys)
        self._clock: Final = clock
        self._entropy: Final = entropy or SystemEntropy()
        self._file: Path | None = None
        self._stamp: tuple[int, ...] | None = None
        self._following: Final = threading.Lock()

    def __repr__(self) -> str:
        return f"Keyring(active_id={self.active_id!r}, keys={len(self._ring.keys)})"

    @classmethod
    def load(cls, path: Path, clock: Clock, entropy: Entropy | None = None) -> Self:
        """Read a keyring file: `{"keys": [{"id", "secret", "state"}]}`, secrets as base64url of 32 octets.

        Args:
            path: A regular file that only its owner may read; links are followed, as mounted secrets are links.
            clock: Tells the day.
            entropy: Draws nonces; the system's unless told otherwise.

        Raises:
            KeyringInvalid: Whatever is wrong; the text names the file and the problem, never a secret.
        """
        stamp = _stamp(path)
        keyring = cls(root_keys.read(path), clock, entropy)
        keyring._file, keyring._stamp = path, stamp
        return keyring

    @staticmethod
    def generate(entropy: Entropy) -> list[RootKey]:
        """Draw a new root key, active and alone."""
        return root_keys.generate(entropy)

    @staticmethod
    def write(path: Path, keys: Sequence[RootKey]) -> None:
        """Write keys to a new file of mode 0600.

        Raises:
            KeyringInvalid: The keys do not make a keyring, the file exists (it is left alone), or the system refuses.
        """
        root_keys.write(path, keys)

    def follow(self) -> bool:
        """Take up what the file has if it changed, and return whether the keys are others now.

        A file that is unusable, lacks the key that is active here, or has another key by the name of one of ours, is
        logged once and leaves the keys as they are.
        """
        if self._file is None:
            return False
        with self._following:
            stamp = _stamp(self._file)
            if stamp == self._stamp:
                return False
            self._stamp = stamp  # also of a file that can't be used: the next look is at the next one
            try:
                ring = _Ring(root_keys.read(self._file))
                self._check_successor(ring)
            except KeyringInvalid as problem:
                _log.error("keyring_not_followed", reason=str(problem))
                return False
            self._ring = ring
        _log.info("keyring_followed", active=ring.active.id, keys=len(ring.keys))
        return True

    def start_of(self, key_id: str) -> bytes:
        """Return the octets that a value begins with that a root key has sealed, and no other does."""
        return _start(key_id)

    @property
    def keys(self) -> tuple[RootKey, ...]:
        """The root keys as they are now."""
        return tuple(self._ring.keys.values())

    @property
    def active_id(self) -> str:
        """The id of the key that seals; what `key_id_of` says otherwise of is to be sealed again."""
        return self._ring.active.id

    def seal(self, purpose: str, plaintext: bytes, associated: bytes) -> bytes:
        """Encrypt and authenticate under the active key.

        Args:
            purpose: What the value is for; a constant of the calling code. Each has a key of its own.
            plaintext: Any octets.
            associated: Octets that must be the same when the value is opened; not kept in it.
        """
        ring = self._ring
        header = ring.start + (self._clock.now() // DAY).to_bytes(DAY_OCTETS, "big")
        subkey = ring.subkeys.get((header, purpose))
        if subkey is None:
            subkey = _derive(ring.active, header, purpose)
            ring.subkeys.put((header, purpose), subkey)
        nonce = self._entropy.octets(NONCE_OCTETS)
        return header + nonce + subkey.aead.encrypt(nonce, plaintext, subkey.associated + associated)

    def open(self, purpose: str, sealed: bytes, associated: bytes, *, allow_retired: bool = False) -> bytes:
        """Return what was sealed.

        Args:
            purpose: As given to `seal`.
            sealed: What `seal` returned.
            associated: As given to `seal`.
            allow_retired: Whether a retired key may open it; for what is then sealed again, never for tokens.

        Raises:
            SealBroken: Anything else: too short, of an unknown version, of an unknown or retired key, for another
                purpose or other associated data, altered.
        """
        header_size = _header_size(sealed)
        header = sealed[:header_size]
        ring = self._ring
        subkey = known = ring.subkeys.get((header, purpose))
        if subkey is None:
            key_id = _key_id(header)
            ring = self._ring_with(key_id)
            subkey = _derive(ring.keys[key_id], header, purpose)
        if subkey.root.state is RootKeyState.RETIRED and not allow_retired:
            raise SealBroken("sealed under a retired key")
        body = header_size + NONCE_OCTETS
        try:
            plaintext = subkey.aead.decrypt(sealed[header_size:body], sealed[body:], subkey.associated + associated)
        except InvalidTag:
            raise SealBroken("not authentic") from None
        # Only now: invented days must not push out the subkeys in use.
        if known is None:
            ring.subkeys.put((header, purpose), subkey)
        return plaintext

    def key_id_of(self, sealed: bytes) -> str:
        """Return the id of the root key that a sealed value claims, known or not, without opening it.

        Raises:
            SealBroken: It does not have the form of a sealed value.
        """
        return _key_id(sealed[: _header_size(sealed)])

    def mac(self, purpose: str, message: bytes, key_id: str | None = None) -> tuple[str, bytes]:
        """Authenticate a message that has too few bits for a hash, such as a short code (ADR-10).

        Args:
            purpose: What for; a constant of the calling code. Each has a key of its own, the same every day.
            message: Encoded so that it reads one way only.
            key_id: To compute one again: the id that came with it. The active key unless given.

        Returns:
            The root key's id, to be kept beside it, and the HMAC-SHA256 of 32 octets.

        Raises:
            SealBroken: The key is unknown or retired.
        """
        ring = self._ring if key_id is None else self._ring_with(key_id)
        root = ring.active if key_id is None else ring.keys[key_id]
        if root.state is RootKeyState.RETIRED:
            raise SealBroken("authenticated under a retired key")
        key = ring.mac_keys.get((root.id, purpose))
        if key is None:
            key = _hkdf(root, framed("mac", purpose))
            ring.mac_keys.put((root.id, purpose), key)
        return root.id, hmac.digest(key, message, "sha256")

    def make_canary(self) -> bytes:
        """Seal the value by which a later start knows that it has the keys of this database."""
        return self.seal(_CANARY_PURPOSE, _CANARY, b"")

    def check_canary(self, sealed: bytes) -> None:
        """Check a canary at start; one of a previous or retired key passes, and is then to be made again.

        Raises:
            KeyringInvalid: This keyring does not open it.
        """
        try:
            self.open(_CANARY_PURPOSE, sealed, b"", allow_retired=True)
        except SealBroken as problem:
            raise KeyringInvalid(
                f"the keyring does not fit the database: its canary is {problem}; "
                "this is the keyring of another deployment, or a key was taken out of it too early"
            ) from None

    def _ring_with(self, key_id: str) -> _Ring:
        """Return keys among which is the named one, from the file if need be."""
        ring = self._ring
        if key_id not in ring.keys:
            self.follow()
            ring = self._ring
        if key_id not in ring.keys:
            raise SealBroken("sealed under a key that this keyring does not have")
        return ring

    def _check_successor(self, ring: _Ring) -> None:
        ours = self._ring
        if ours.active.id not in ring.keys:
            raise KeyringInvalid(f"keyring file {self._file}: lacks {ours.active.id}, which is active here")
        for key_id in ours.keys.keys() & ring.keys.keys():
            if ours.keys[key_id].secret != ring.keys[key_id].secret:
                raise KeyringInvalid(f"keyring file {self._file}: has another key by the name of {key_id}")


def _start(key_id: str) -> bytes:
    return bytes([VERSION, len(key_id)]) + key_id.encode("ascii")


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what tells one state of a file from another; None without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode


def _hkdf(root: RootKey, info: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=b"cofactor v1" + info).derive(root.secret)


def _derive(root: RootKey, header: bytes, purpose: str) -> _Subkey:
    aead = AESGCM(_hkdf(root, framed("seal", purpose, header[-4:])))
    return _Subkey(root, aead, framed(header, purpose))


def _header_size(sealed: bytes) -> int:
    if len(sealed) < 2 or sealed[0] != VERSION:
        raise SealBroken("of an unknown version")
    size = 2 + sealed[1] + DAY_OCTETS
    if len(sealed) < size + NONCE_OCTETS + TAG_OCTETS:
        raise SealBroken("too short")
    return size


def _key_id(header: bytes) -> str:
    try:
        return header[2:-4].decode("ascii")
    except UnicodeDecodeError:
        raise SealBroken("sealed under a key that this keyring does not have") from None
