"""What users hold: one stand-in per kind of factor, which answers as the real thing would.

Nothing here uses the server's code, nor the libraries that it uses: a mistake shared by both sides proves nothing.
"""

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from cofactor_server.domain.authenticators.proofs import Code, Enrollment, Prompt, Proof, Signed

from tests.unit.factors.ed25519 import Ed25519
from tests.unit.factors.security_key import SecurityKey

SECOND = 1_000_000
"""A second of `Context.now`."""


class Device(Protocol):
    """Holds what one enrollment showed to its user."""

    def answer(self, prompt: Prompt[Any], now: int) -> Proof:
        """Return the right proof at this moment, in microseconds since the epoch."""
        ...

    def forge(self, prompt: Prompt[Any], now: int) -> Proof:
        """Return a proof of the right shape that nobody's secret made."""
        ...

    def learn(self, show: str) -> None:
        """Take note of what an approval showed."""
        ...


def hotp(secret: bytes, counter: int, digits: int = 6, algorithm: str = "SHA1") -> str:
    """RFC 4226 section 5.3, spelled out."""
    mac = hmac.digest(secret, struct.pack(">Q", counter), getattr(hashlib, algorithm.lower()))
    offset = mac[-1] & 0x0F
    (binary,) = struct.unpack(">I", mac[offset : offset + 4])
    return f"{(binary & 0x7FFFFFFF) % 10**digits:0{digits}d}"


class AuthenticatorApp:
    """Scans the barcode and computes codes; `ahead` is how far its clock is off, in seconds."""

    def __init__(self, barcode_uri: str, ahead: int = 0) -> None:
        scanned = {name: values[0] for name, values in parse_qs(urlsplit(barcode_uri).query).items()}
        self.secret = base64.b32decode(scanned["secret"] + "=" * (-len(scanned["secret"]) % 8))
        self.algorithm = scanned["algorithm"]
        self.digits = int(scanned["digits"])
        self.period = int(scanned["period"])
        self.ahead = ahead

    def code(self, now: int, steps: int = 0) -> str:
        """Return the code shown at `now`, or `steps` codes later."""
        step = (now // SECOND + self.ahead) // self.period + steps
        return hotp(self.secret, step, self.digits, self.algorithm)

    def answer(self, prompt: Prompt[Any], now: int) -> Proof:
        return Code(self.code(now))

    def forge(self, prompt: Prompt[Any], now: int) -> Proof:
        right = {self.code(now, steps) for steps in range(-20, 21)}
        return Code(next(code for code in (f"{guess:0{self.digits}d}" for guess in range(100)) if code not in right))

    def learn(self, show: str) -> None:
        assert not show


class HardwareToken:
    """Shows the next code at every press of its button."""

    def __init__(self, barcode_uri: str) -> None:
        scanned = {name: values[0] for name, values in parse_qs(urlsplit(barcode_uri).query).items()}
        self.secret = base64.b32decode(scanned["secret"] + "=" * (-len(scanned["secret"]) % 8))
        self.algorithm = scanned["algorithm"]
        self.digits = int(scanned["digits"])
        self.counter = int(scanned["counter"])

    def press(self) -> str:
        """Return the next code."""
        self.counter += 1
        return hotp(self.secret, self.counter - 1, self.digits, self.algorithm)

    def answer(self, prompt: Prompt[Any], now: int) -> Proof:
        return Code(self.press())

    def forge(self, prompt: Prompt[Any], now: int) -> Proof:
        right = {hotp(self.secret, counter, self.digits, self.algorithm) for counter in range(300)}
        return Code(next(code for code in (f"{guess:0{self.digits}d}" for guess in range(500)) if code not in right))

    def learn(self, show: str) -> None:
        assert not show


class Paper:
    """A recovery code written down."""

    def __init__(self, recovery_code: str) -> None:
        self.written = recovery_code

    def answer(self, prompt: Prompt[Any], now: int) -> Proof:
        return Code(self.written)

    def forge(self, prompt: Prompt[Any], now: int) -> Proof:
        return Code(self.written[:-1] + ("0" if self.written[-1] != "0" else "1"))

    def learn(self, show: str) -> None:
        assert show
        self.written = show


class Letterbox:
    """Where codes arrive: a telephone that is read or listened to, a mailbox."""

    def answer(self, prompt: Prompt[Any], now: int) -> Proof:
        assert prompt.send is not None
        return Code(prompt.send.code)

    def forge(self, prompt: Prompt[Any], now: int) -> Proof:
        assert prompt.send is not None
        return Code(f"{(int(prompt.send.code) + 1) % 10**6:06d}")

    def learn(self, show: str) -> None:
        assert not show


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


class Phone:
    """Scans the barcode, pairs with a key of its own, and answers prompts as its user decides."""

    def __init__(self, barcode_uri: str, user: str, device: str) -> None:
        scanned = {name: values[0] for name, values in parse_qs(urlsplit(barcode_uri).query).items()}
        self.issuer = scanned["base_url"]
        self.secret = scanned["enrollment_tx_id"]
        self.user, self.device = user, device
        self.key = Ed25519(hashlib.sha256(self.secret.encode()).digest())
        self.paired = False

    def sign(self, signer: Ed25519 | None = None, **said: Any) -> Signed:
        payload = json.dumps({"version": 1, "issuer": self.issuer, **said}).encode()
        return Signed(payload, (signer or self.key).sign(payload))

    def pair(self, signer: Ed25519 | None = None, **changes: Any) -> Signed:
        signer = signer or self.key
        said = {
            "type": "cofactor.pair",
            "secret_sha256": base64url(hashlib.sha256(self.secret.encode()).digest()),
            "key": {"kty": "OKP", "crv": "Ed25519", "x": base64url(signer.public)},
            "name": "Alice's phone",
            "push": {"service": "FCM", "token": "registration-token"},
        }
        return self.sign(signer, **{**said, **changes})

    def decide(self, prompt: Prompt[Any], now: int, signer: Ed25519 | None = None, **changes: Any) -> Signed:
        assert prompt.send is not None
        assert prompt.send.payload is not None
        seen = prompt.send.payload
        number = prompt.show.get("number", "")
        return self.state(seen["challenge"], seen["shown"].encode(), number, now, signer, **changes)

    def state(
        self, challenge: str, shown: bytes, number: str, now: int, /, signer: Ed25519 | None = None, **changes: Any
    ) -> Signed:
        said = {
            "type": "cofactor.answer",
            "challenge": challenge,
            "user": self.user,
            "device": self.device,
            "decision": "approve",
            "number": number,
            "shown_sha256": base64url(hashlib.sha256(shown).digest()),
            "time": now // SECOND,
        }
        return self.sign(signer, **{**said, **changes})

    def call(self, kind: str, nonce: str, signer: Ed25519 | None = None, **changes: Any) -> Signed:
        said = {"type": f"cofactor.{kind}", "nonce": nonce, "user": self.user, "device": self.device}
        return self.sign(signer, **{**said, **changes})

    def answer(self, prompt: Prompt[Any], now: int) -> Proof:
        if self.paired:
            return self.decide(prompt, now)
        self.paired = True
        return self.pair()

    def forge(self, prompt: Prompt[Any], now: int) -> Proof:
        other = Ed25519(b"nobody's".ljust(32))
        if self.paired:
            return self.decide(prompt, now, other)
        return self.pair(other, secret_sha256=base64url(hashlib.sha256(b"guess").digest()))

    def learn(self, show: str) -> None:
        assert not show


DEVICES: Mapping[str, Callable[[Enrollment[Any]], Device]] = {
    "totp": lambda enrollment: AuthenticatorApp(enrollment.show["barcode_uri"]),
    "hotp": lambda enrollment: HardwareToken(enrollment.show["barcode_uri"]),
    "sms": lambda _: Letterbox(),
    "voice": lambda _: Letterbox(),
    "email": lambda _: Letterbox(),
    "pigeon": lambda _: Letterbox(),  # of the plugin in tests/plugins
    "push": lambda enrollment: Phone(enrollment.show["barcode_uri"], "usr_alice", "push|dev_8Rk2TqLmXw4YbN0a"),
    "webauthn": lambda _: SecurityKey(),
    "recovery-code": lambda enrollment: Paper(enrollment.show["recovery_code"]),
}
"""One row per kind; a plugin's kind needs one too before it is installed beside these tests."""
