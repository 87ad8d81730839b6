"""A security key in software, together with the browser in front of it.

Written from WebAuthn Level 3 and CTAP 2.1, on primitives alone: nothing of the server's library is used, and CBOR,
having few forms here, is spelled out.
"""

import base64
import hashlib
import json
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from cofactor_server.domain.authenticators.proofs import Prompt, Proof, PublicKeyCredential
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40
ES256, EDDSA, RS256 = -7, -8, -257
ORIGIN = "https://auth.example.test"
RP_ID = "auth.example.test"
_RSA = [rsa.generate_private_key(65_537, 2_048)]
"""One RSA key for all devices of a run, since making one takes a while."""


def b64(octets: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def unb64(text: str) -> bytes:
    """Return the octets."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def cbor(value: object) -> bytes:
    """Return CBOR of integers, strings, and maps and lists of them, RFC 8949 section 3."""
    match value:
        case int() if value >= 0:
            return _head(0, value)
        case int():
            return _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case list():
            return _head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            return _head(5, len(value)) + b"".join(cbor(key) + cbor(member) for key, member in value.items())
    raise TypeError(type(value).__name__)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    if number < 0x100:
        return bytes([major << 5 | 24, number])
    return bytes([major << 5 | 25]) + struct.pack(">H", number)


class KeyPair(Protocol):
    """A private key, and its public half in COSE's form."""

    def cose(self) -> dict[int, Any]: ...

    def sign(self, octets: bytes) -> bytes: ...


class EcKey:
    """ECDSA over P-256."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def cose(self) -> dict[int, Any]:
        numbers = self._key.public_key().public_numbers()
        return {1: 2, 3: ES256, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}

    def sign(self, octets: bytes) -> bytes:
        return self._key.sign(octets, ec.ECDSA(hashes.SHA256()))


class EdKey:
    """Ed25519."""

    def __init__(self) -> None:
        self._key = ed25519.Ed25519PrivateKey.generate()

    def cose(self) -> dict[int, Any]:
        return {1: 1, 3: EDDSA, -1: 6, -2: self._key.public_key().public_bytes_raw()}

    def sign(self, octets: bytes) -> bytes:
        return self._key.sign(octets)


class RsaKey:
    """RSASSA-PKCS1-v1_5 over SHA-256."""

    def __init__(self, key: rsa.RSAPrivateKey | None = None) -> None:
        self._key = key or _RSA[0]

    def cose(self) -> dict[int, Any]:
        numbers = self._key.public_key().public_numbers()
        modulus = numbers.n.to_bytes(self._key.key_size // 8, "big")
        return {1: 3, 3: RS256, -1: modulus, -2: numbers.e.to_bytes(3, "big")}

    def sign(self, octets: bytes) -> bytes:
        return self._key.sign(octets, padding.PKCS1v15(), hashes.SHA256())


KEYS: Mapping[int, type[EcKey | EdKey | RsaKey]] = {ES256: EcKey, EDDSA: EdKey, RS256: RsaKey}


@dataclass
class Made:
    """A credential inside the authenticator."""

    id: bytes
    key: KeyPair
    user_handle: bytes
    count: int = 0


@dataclass
class SecurityKey:
    """An authenticator with its browser; what it does wrong is set on it.

    Attributes:
        algorithm: What it makes keys of, if the relying party asks for it.
        verifies: Whether it verifies its user.
        synced: Whether its credentials may be copied, and are.
        counts: Whether it has a signature counter.
        origin: Of the page that asks.
        rp_id: Whose hash it signs; what the options say unless set.
        client: Members of clientDataJSON that replace the right ones.
        flags: Bits of the flags that are turned around.
        attestation: `none`, or `packed` for a self attestation.
    """

    algorithm: int = ES256
    verifies: bool = True
    synced: bool = False
    counts: bool = True
    origin: str = ORIGIN
    rp_id: str = ""
    client: dict[str, Any] = field(default_factory=dict)
    flags: int = 0
    attestation: str = "none"
    made: list[Made] = field(default_factory=list)

    def create(self, options: Mapping[str, Any], **replaced: Any) -> dict[str, Any]:
        """Make a credential, as `navigator.credentials.create` does; `replaced` are octets of the response."""
        offered = [entry["alg"] for entry in options["pubKeyCredParams"]]
        assert self.algorithm in offered, "the relying party does not take this algorithm"
        excluded = {unb64(entry["id"]) for entry in options.get("excludeCredentials", [])}
        if excluded & {made.id for made in self.made}:
            raise AlreadyRegistered
        made = Made(secrets.token_bytes(32), KEYS[self.algorithm](), unb64(options["user"]["id"]))
        self.made.append(made)
        client_data = self._client_data("webauthn.create", options["challenge"])
        return self.attested(made, options["rp"]["id"], client_data, **replaced)

    def attested(self, made: Made, rp_id: str, client_data: bytes, **replaced: Any) -> dict[str, Any]:
        """Return what the browser returns for a credential that was made."""
        credential = bytes(16) + struct.pack(">H", len(made.id)) + made.id + cbor(made.key.cose())
        data = self._authenticator_data(rp_id, AT, made) + credential
        statement: dict[str, Any] = {}
        if self.attestation == "packed":
            signature = made.key.sign(data + hashlib.sha256(client_data).digest())
            statement = {"alg": self.algorithm, "sig": signature}
        attestation = cbor({"fmt": self.attestation, "attStmt": statement, "authData": data})
        response = {"clientDataJSON": client_data, "attestationObject": attestation, **replaced}
        return self._credential(made, response, {"transports": ["usb", "nfc"]})

    def get(self, options: Mapping[str, Any], **replaced: Any) -> dict[str, Any]:
        """Sign, as `navigator.credentials.get` does; `replaced` are octets of the response."""
        allowed = [unb64(entry["id"]) for entry in options["allowCredentials"]]
        made = next((made for made in self.made if made.id in allowed), None)
        if made is None:
            raise NothingAllowed
        client_data = self._client_data("webauthn.get", options["challenge"])
        return self.asserted(made, options["rpId"], client_data, **replaced)

    def asserted(self, made: Made, rp_id: str, client_data: bytes, **replaced: Any) -> dict[str, Any]:
        """Return what the browser returns for a signature of a credential."""
        if self.counts:
            made.count += 1
        data = self._authenticator_data(rp_id, 0, made)
        signature = made.key.sign(data + hashlib.sha256(client_data).digest())
        response = {
            "clientDataJSON": client_data,
            "authenticatorData": data,
            "signature": signature,
            "userHandle": made.user_handle,
            **replaced,
        }
        return self._credential(made, response, {})

    def take(self, options: Mapping[str, Any]) -> str:
        """Answer either ceremony, and return the credential in JSON."""
        return json.dumps(self.create(options) if "rp" in options else self.get(options))

    def _client_data(self, ceremony: str, challenge: str) -> bytes:
        right = {"type": ceremony, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps({**right, **self.client}, separators=(",", ":")).encode()

    def _authenticator_data(self, rp_id: str, more: int, made: Made) -> bytes:
        flags = UP | (UV if self.verifies else 0) | (BE | BS if self.synced else 0) | more
        digest = hashlib.sha256((self.rp_id or rp_id).encode()).digest()
        return digest + bytes([flags ^ self.flags]) + struct.pack(">I", made.count)

    def _credential(self, made: Made, response: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        octets = {name: b64(value) if isinstance(value, bytes) else value for name, value in response.items()}
        return {
            "id": b64(made.id),
            "rawId": b64(made.id),
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": {},
            "response": {**octets, **more},
        }

    # What the factor contract asks of a device

    def answer(self, prompt: Prompt[Any], now: int) -> Proof:
        return proof_of(json.loads(self.take(json.loads(prompt.show["public_key_json"]))))

    def forge(self, prompt: Prompt[Any], now: int) -> Proof:
        """Sign for another challenge, with a key of the right shape."""
        options = json.loads(prompt.show["public_key_json"])
        return proof_of(json.loads(SecurityKey().take({**options, "challenge": b64(bytes(32))})))

    def learn(self, show: str) -> None:
        assert not show


class AlreadyRegistered(Exception):
    """The browser's `InvalidStateError`: the authenticator holds an excluded credential."""


class NothingAllowed(Exception):
    """The browser's `NotAllowedError`: the authenticator holds no allowed credential."""


def proof_of(credential: Mapping[str, Any]) -> PublicKeyCredential:
    """Return a browser's credential as the edges pass it on."""
    return PublicKeyCredential(credential["id"], json.dumps(credential))
