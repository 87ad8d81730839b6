"""A device in the terminal: its key in a file, what it signs, what it hears."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cofactor_server.cli.as_user import DEADLINE, open_channel, refusal_text
from cofactor_server.cli.output import Problem
from cofactor_server.domain.foundation.encoding import base64url, from_base64url
from cofactor_server.seams import SECOND, SystemClock
from cofactor_server.vault.digests import sha256

if TYPE_CHECKING:
    import grpc
    from cofactor.v1 import authenticators_pb2, challenges_pb2


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the device's file holds."""

    target: str
    issuer: str
    user: str
    device: str
    private_key: str
    """Ed25519, base64url."""
    otp_secret: str = ""
    """Base32; empty where the deployment has no authenticator apps."""
    ca_file: str = ""

    def __repr__(self) -> str:
        return f"Kept({self.device!r})"


class TerminalDevice:
    """A device that has paired."""

    def __init__(self, kept: Kept, channel: "grpc.Channel") -> None:
        from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
        from cofactor.v1.challenges_pb2_grpc import ChallengeServiceStub

        self._kept = kept
        self._key = Ed25519PrivateKey.from_private_bytes(from_base64url(kept.private_key))
        self._authenticators = AuthenticatorServiceStub(channel)
        self._challenges = ChallengeServiceStub(channel)

    def listen(self, timeout: float | None = None) -> "Iterator[challenges_pb2.WatchDeviceResponse]":
        """Yield what the device hears; `timeout` in seconds, None for as long as it is the user's."""
        from cofactor.v1 import challenges_pb2

        request = challenges_pb2.WatchDeviceRequest(statement=self._call("cofactor.watch"))
        stream: Iterator[challenges_pb2.WatchDeviceResponse] = self._challenges.WatchDevice(request, timeout=timeout)
        return stream

    def answer(self, prompt: "challenges_pb2.PromptForDevice", *, approve: bool, number: str = "") -> str:
        """Sign what the user decided about a prompt, and return where the challenge stands."""
        from cofactor.v1 import challenges_pb2

        said = {
            "challenge": prompt.challenge_id,
            "user": self._kept.user,
            "device": self._kept.device,
            "decision": "approve" if approve else "deny",
            "number": number if approve else "",
            "shown_sha256": base64url(hashlib.sha256(prompt.shown).digest()),
            "time": SystemClock().now() // SECOND,
        }
        signed = signed_statement(self._key, self._kept.issuer, "cofactor.answer", said)
        request = challenges_pb2.AnswerChallengeRequest(
            challenge_id=prompt.challenge_id,
            signed=challenges_pb2.SignedAnswer(payload=signed.payload, signature=signed.signature),
        )
        response = self._challenges.AnswerChallenge(request, timeout=DEADLINE)
        name: str = challenges_pb2.ChallengeState.Name(response.state)
        return name.removeprefix("CHALLENGE_STATE_").lower()

    def remove(self) -> None:
        """Give the device up."""
        from cofactor.v1 import authenticators_pb2

        request = authenticators_pb2.RemoveDeviceRequest(statement=self._call("cofactor.remove"))
        self._authenticators.RemoveDevice(request, timeout=DEADLINE)

    def _call(self, kind: str) -> "authenticators_pb2.SignedStatement":
        from cofactor.v1 import authenticators_pb2

        nonce = self._authenticators.CreateDeviceNonce(
            authenticators_pb2.CreateDeviceNonceRequest(), timeout=DEADLINE
        ).nonce
        said = {"nonce": nonce, "user": self._kept.user, "device": self._kept.device}
        return signed_statement(self._key, self._kept.issuer, kind, said)


def pair(scanned: str, target: str, ca_file: Path | None, *, name: str, push_token: str) -> Kept:
    """Pair with what a QR code says, and return what is to be kept.

    Args:
        scanned: `otpauth://totp/…?enrollment_tx_id=…&base_url=…`.
        target: The server, such as mfa.example.com:443.
        ca_file: Authorities to trust for TLS; None for the machine's own.
        name: What the device is called.
        push_token: What a push service would know it by; empty for none.

    Raises:
        Problem: The code is of another sort, or the server refuses.
    """
    from cofactor.v1 import authenticators_pb2
    from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub

    found = {key: values[0] for key, values in parse_qs(urlsplit(scanned.strip()).query).items()}
    if not scanned.strip().startswith("otpauth://") or not {"enrollment_tx_id", "base_url"} <= found.keys():
        raise Problem("that is not what a QR code for a device says: otpauth://totp/…?enrollment_tx_id=…&base_url=…")
    secret, issuer = found["enrollment_tx_id"], found["base_url"]
    key = Ed25519PrivateKey.generate()
    said = {
        "secret_sha256": base64url(sha256(secret)),
        "key": {"kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_key().public_bytes_raw())},
        "name": name,
        **({"push": {"service": "FCM", "token": push_token}} if push_token else {}),
    }
    statement = signed_statement(key, issuer, "cofactor.pair", said)
    with reached(target, ca_file) as channel:
        paired = AuthenticatorServiceStub(channel).PairDevice(
            authenticators_pb2.PairDeviceRequest(pairing_secret=secret, statement=statement), timeout=DEADLINE
        )
    return Kept(
        target=target,
        issuer=issuer,
        user=paired.user_id,
        device=paired.device_id,
        private_key=base64url(key.private_bytes_raw()),
        otp_secret=paired.otp_secret.secret,
        ca_file=str(ca_file.absolute()) if ca_file else "",
    )


@contextlib.contextmanager
def reached(target: str, ca_file: Path | None) -> "Iterator[grpc.Channel]":
    """Open a channel; a refusal is one line."""
    import grpc

    try:
        with open_channel(target, ca_file) as channel:
            yield channel
    except grpc.RpcError as error:
        raise Problem(refusal_text(error, target)) from None


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[list[Kept]]:
    """Make the device's file before it pairs, and write what is appended to the list that is yielded.

    Raises:
        Problem: There is one: another device's key would be lost.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise Problem(f"{path}: a device is kept there; name another file with --file") from None
    kept: list[Kept] = []
    try:
        yield kept
    finally:
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"".join(msgspec.json.encode(each) + b"\n" for each in kept))
        if not kept:
            path.unlink()


def read_file(path: Path) -> Kept:
    """Return what a device's file holds.

    Raises:
        Problem: There is none, others may read it, or it is something else.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise Problem(f"{path}: others can read it; chmod 600 it")
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        raise Problem(f"{path}: no device is kept there; make one with `cofactor device pair`") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Problem(f"{path}: this is no device's file") from None


def signed_statement(
    key: Ed25519PrivateKey, issuer: str, kind: str, said: dict[str, Any]
) -> "authenticators_pb2.SignedStatement":
    """Return a statement that the device signed."""
    from cofactor.v1 import authenticators_pb2

    payload = json.dumps({"type": kind, "version": 1, "issuer": issuer, **said}).encode()
    return authenticators_pb2.SignedStatement(payload=payload, signature=key.sign(payload))
