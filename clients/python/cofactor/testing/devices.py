"""What users hold: an authenticator app, a telephone, a device for prompts, a security key; on primitives alone."""

import base64
import hashlib
import hmac
import json
import secrets
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from cofactor.testing.servers import TIMEOUT, Clock, Outbox, Server
from cofactor.v1 import authenticators_pb2, challenges_pb2


def base64url(octets: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _scanned(uri: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(uri).query).items()}


class AuthenticatorApp:
    """Scans `OtpSecret.barcode_uri`, and shows the codes of RFC 6238 at the server's time."""

    def __init__(self, barcode_uri: str, clock: Clock) -> None:
        scanned = _scanned(barcode_uri)
        self._secret = base64.b32decode(scanned["secret"] + "=" * (-len(scanned["secret"]) % 8))
        self._algorithm = scanned.get("algorithm", "SHA1").lower()
        self._digits = int(scanned.get("digits", "6"))
        self._period = int(scanned.get("period", "30"))
        self._clock = clock
        self._shown = 0

    def code(self) -> str:
        """Return a code that was not shown before; where this step's was, the server's clock is moved on."""
        now = self._clock.now()
        if now // self._period <= self._shown:
            now = self._clock.advance((self._shown + 1) * self._period - now)
        self._shown = now // self._period
        return self.code_at(now)

    def code_at(self, seconds: int) -> str:
        """Return the code of a time, in seconds since the Unix epoch."""
        mac = hmac.digest(self._secret, struct.pack(">Q", seconds // self._period), self._algorithm)
        offset = mac[-1] & 0x0F
        number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
        return f"{number % 10**self._digits:0{self._digits}d}"

    def wrong_code(self) -> str:
        """Return one that is not taken at any time near the server's."""
        now = self._clock.now()
        taken = {self.code_at(now + steps * self._period) for steps in range(-20, 21)}
        return next(code for code in (f"{guess:0{self._digits}d}" for guess in range(100)) if code not in taken)


class Phone:
    """Gets what is sent to a telephone number, or to a mail address."""

    def __init__(self, address: str, outbox: Outbox) -> None:
        self.address = address
        self._outbox = outbox

    def code(self) -> str:
        """Return the code of the newest message.

        Raises:
            LookupError: Nothing with a code was sent.
        """
        for message in reversed(self._outbox.messages(self.address)):
            if message.code:
                return message.code
        raise LookupError(f"no code was sent to {self.address}")


@dataclass(frozen=True, slots=True)
class Prompted:
    """What a device asks its user."""

    challenge_id: str
    shown: bytes
    number_wanted: bool

    @property
    def about(self) -> Mapping[str, Any]:
        """What the device shows: account, application, address, time."""
        said: Mapping[str, Any] = json.loads(self.shown)
        return said


class PushDevice:
    """Scans `DevicePairing.barcode_uri`, pairs, and answers prompts as its user decides; it signs with P-256."""

    def __init__(self, barcode_uri: str, server: Server) -> None:
        scanned = _scanned(barcode_uri)
        self._issuer, self._secret = scanned["base_url"], scanned["enrollment_tx_id"]
        self._server = server
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.id = self.user_id = ""

    def pair(self, name: str = "Virtual device") -> authenticators_pb2.PairDeviceResponse:
        """Pair; from then on the enrollment can be redeemed."""
        point = self._key.public_key().public_numbers()
        key = {"kty": "EC", "crv": "P-256", "x": base64url(point.x.to_bytes(32)), "y": base64url(point.y.to_bytes(32))}
        digest = base64url(hashlib.sha256(self._secret.encode()).digest())
        statement = self._statement(type="cofactor.pair", secret_sha256=digest, key=key, name=name)
        request = authenticators_pb2.PairDeviceRequest(pairing_secret=self._secret, statement=statement)
        paired = self._server.authenticators.PairDevice(request, timeout=TIMEOUT)
        self.id, self.user_id = paired.device_id, paired.user_id
        return paired

    def prompts(self, *, timeout: float = TIMEOUT) -> Iterator[Prompted]:
        """Listen, and tell of each prompt that waits; `timeout` is in seconds, over all."""
        nonce = self._server.authenticators.CreateDeviceNonce(
            authenticators_pb2.CreateDeviceNonceRequest(), timeout=TIMEOUT
        ).nonce
        statement = self._statement(type="cofactor.watch", nonce=nonce, user=self.user_id, device=self.id)
        request = challenges_pb2.WatchDeviceRequest(statement=statement)
        call: Any = self._server.challenges.WatchDevice(request, timeout=timeout)
        try:
            for told in call:
                if told.WhichOneof("event") == "prompt":
                    yield Prompted(told.prompt.challenge_id, told.prompt.shown, told.prompt.number_wanted)
        finally:
            call.cancel()

    def prompt(self, *, timeout: float = TIMEOUT) -> Prompted:
        """Return the first prompt that waits, or comes within `timeout` seconds."""
        return next(iter(self.prompts(timeout=timeout)))

    def approve(self, prompt: Prompted, number: str) -> "challenges_pb2.ChallengeState.ValueType":
        """Approve with the number that the login page shows, and return where the challenge then stands."""
        return self._answer(prompt, "approve", number)

    def deny(self, prompt: Prompted) -> "challenges_pb2.ChallengeState.ValueType":
        """Refuse, and return where the challenge then stands."""
        return self._answer(prompt, "deny", "")

    def _answer(self, prompt: Prompted, decision: str, number: str) -> "challenges_pb2.ChallengeState.ValueType":
        signed = self._statement(
            type="cofactor.answer",
            challenge=prompt.challenge_id,
            user=self.user_id,
            device=self.id,
            decision=decision,
            number=number,
            shown_sha256=base64url(hashlib.sha256(prompt.shown).digest()),
            time=self._server.clock.now(),
        )
        answer = challenges_pb2.SignedAnswer(payload=signed.payload, signature=signed.signature)
        request = challenges_pb2.AnswerChallengeRequest(challenge_id=prompt.challenge_id, signed=answer)
        return self._server.challenges.AnswerChallenge(request, timeout=TIMEOUT).state

    def _statement(self, **said: Any) -> authenticators_pb2.SignedStatement:
        payload = json.dumps({"version": 1, "issuer": self._issuer, **said}).encode()
        signature = self._key.sign(payload, ec.ECDSA(hashes.SHA256()))
        return authenticators_pb2.SignedStatement(payload=payload, signature=signature)


_UP, _UV, _AT = 0x01, 0x04, 0x40
_ES256 = -7


@dataclass
class _Made:
    id: bytes
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    user_handle: bytes
    count: int = 0


class SecurityKey:
    """A security key that verifies its user, with the browser in front of it (WebAuthn Level 3, attestation `none`).

    Args:
        origin: Of the page that asks; demos take any port of localhost.
    """

    def __init__(self, origin: str = "http://localhost:8080") -> None:
        self._origin = origin
        self._made: list[_Made] = []

    def create(self, public_key_json: str) -> str:
        """Make a credential, as `navigator.credentials.create` does, and return it in JSON.

        Raises:
            ValueError: The options ask for other signatures than ES256, or the key is registered already.
        """
        options = json.loads(public_key_json)
        if _ES256 not in [entry["alg"] for entry in options["pubKeyCredParams"]]:
            raise ValueError("the options do not take ES256")
        if {_octets(entry["id"]) for entry in options.get("excludeCredentials", [])} & {made.id for made in self._made}:
            raise ValueError("the key is registered already")
        key = ec.generate_private_key(ec.SECP256R1())
        made = _Made(secrets.token_bytes(32), key, _octets(options["user"]["id"]))
        self._made.append(made)
        point = key.public_key().public_numbers()
        cose = {1: 2, 3: _ES256, -1: 1, -2: point.x.to_bytes(32), -3: point.y.to_bytes(32)}
        attested = bytes(16) + struct.pack(">H", len(made.id)) + made.id + _cbor(cose)
        authenticator = self._authenticator(options["rp"]["id"], _AT, made) + attested
        response = {
            "clientDataJSON": self._client("webauthn.create", options["challenge"]),
            "attestationObject": _cbor({"fmt": "none", "attStmt": {}, "authData": authenticator}),
        }
        return _credential(made, response, {"transports": ["usb"]})

    def get(self, public_key_json: str) -> str:
        """Sign, as `navigator.credentials.get` does, and return the assertion in JSON.

        Raises:
            LookupError: None of the credentials that the options allow was made here.
        """
        options = json.loads(public_key_json)
        allowed = {_octets(entry["id"]) for entry in options["allowCredentials"]}
        made = next((made for made in self._made if made.id in allowed), None)
        if made is None:
            raise LookupError("the options allow no credential that was made here")
        made.count += 1
        client = self._client("webauthn.get", options["challenge"])
        authenticator = self._authenticator(options["rpId"], 0, made)
        signature = made.key.sign(authenticator + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": client,
            "authenticatorData": authenticator,
            "signature": signature,
            "userHandle": made.user_handle,
        }
        return _credential(made, response, {})

    def _client(self, ceremony: str, challenge: str) -> bytes:
        said = {"type": ceremony, "challenge": challenge, "origin": self._origin, "crossOrigin": False}
        return json.dumps(said, separators=(",", ":")).encode()

    def _authenticator(self, rp_id: str, more: int, made: _Made) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + bytes([_UP | _UV | more]) + struct.pack(">I", made.count)


def _credential(made: _Made, response: Mapping[str, bytes], more: Mapping[str, Any]) -> str:
    said = {
        "id": base64url(made.id),
        "rawId": base64url(made.id),
        "type": "public-key",
        "authenticatorAttachment": "cross-platform",
        "clientExtensionResults": {},
        "response": {**{name: base64url(octets) for name, octets in response.items()}, **more},
    }
    return json.dumps(said)


def _cbor(value: object) -> bytes:
    """Return CBOR of what attestations hold: integers, strings and maps of them, RFC 8949 section 3."""
    match value:
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case dict():
            return _head(5, len(value)) + b"".join(_cbor(key) + _cbor(member) for key, member in value.items())
    raise TypeError(type(value).__name__)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    if number < 0x100:
        return bytes([major << 5 | 24, number])
    return bytes([major << 5 | 25]) + struct.pack(">H", number)
