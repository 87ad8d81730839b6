"""A phone with a Guardian app, written from W13 alone: nothing of it is the server's.

Signatures are made by hand (RFC 8017 section 8.2.1): a mistake that both sides share would prove nothing.
"""

import base64
import functools
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from cryptography.hazmat.primitives.asymmetric import rsa

SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
METHOD = "auth0_guardian_method"
ACCEPTED = "auth0_guardian_accepted"
REASON = "auth0_guardian_reason"


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def minimal(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


@dataclass(frozen=True)
class RsaKey:
    """A private key."""

    n: int
    e: int
    d: int = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        size = (self.n.bit_length() + 7) // 8
        digest = SHA256_PREFIX + hashlib.sha256(message).digest()
        padded = b"\x00\x01" + b"\xff" * (size - len(digest) - 3) + b"\x00" + digest
        return pow(int.from_bytes(padded), self.d, self.n).to_bytes(size)

    def jwk(self, *, lead: bytes = b"\x00") -> dict[str, str]:
        """Return the public half as Android writes it: `BigInteger.toByteArray` puts a zero octet before `n`."""
        return {
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "e": base64url(minimal(self.e)),
            "n": base64url(lead + minimal(self.n)),
        }


@functools.cache
def rsa_key(bits: int = 2048, e: int = 65_537, which: int = 0) -> RsaKey:
    """Return a key, the same for the same arguments: making one takes a while."""
    numbers = rsa.generate_private_key(e, bits).private_numbers()
    return RsaKey(numbers.public_numbers.n, numbers.public_numbers.e, numbers.d)


def jwt(key: RsaKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return a JWT in compact form; what the header says is what the caller wants it to say."""
    signed = f"{base64url(json.dumps(header).encode())}.{base64url(json.dumps(claims).encode())}"
    return f"{signed}.{base64url(key.sign(signed.encode()))}"


@dataclass
class GuardianPhone:
    """One enrollment on one phone."""

    http: httpx2.AsyncClient
    barcode_uri: str = field(repr=False)
    key: RsaKey = field(default_factory=rsa_key, repr=False)
    identifier: str = "a1b2c3d4e5f60718"
    name: str = "Alice's phone"
    push_token: str = "registration-token-of-the-phone"
    service: str = "GCM"
    enrolled: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ticket(self) -> str:
        return self._scanned("enrollment_tx_id")

    @property
    def base(self) -> str:
        """What SDKs call: they add a path to the URL of the QR code."""
        return self._scanned("base_url").rstrip("/") + "/appliance-mfa"

    def _scanned(self, name: str) -> str:
        return parse_qs(urlsplit(self.barcode_uri).query)[name][0]

    def enrollment(self, **changes: Any) -> dict[str, Any]:
        """Return the body of an enrollment."""
        body = {
            "identifier": self.identifier,
            "name": self.name,
            "push_credentials": {"service": self.service, "token": self.push_token},
            "public_key": self.key.jwk(),
        }
        return {**body, **changes}

    async def try_to_enroll(self, *, authorization: str = "", **changes: Any) -> httpx2.Response:
        headers = {"authorization": authorization or f'Ticket id="{self.ticket}"'}
        return await self.http.post(f"{self.base}/api/enroll", json=self.enrollment(**changes), headers=headers)

    async def enroll(self) -> dict[str, Any]:
        response = await self.try_to_enroll()
        assert response.status_code in (200, 201), response.text
        self.enrolled = response.json()
        return self.enrolled

    def answer(
        self,
        push: dict[str, str],
        now: int,
        *,
        accepted: bool = True,
        key: RsaKey | None = None,
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Return the JWT that answers a push at a time, in seconds; `None` for a claim leaves it out."""
        claims = {
            "iat": now,
            "exp": now + 30,
            "aud": f"{self.base}/api/resolve-transaction",
            "iss": self.identifier,
            "sub": push["c"],
            METHOD: "push",
            ACCEPTED: accepted,
            **({} if accepted else {REASON: "I was asleep"}),
            **changes,
        }
        said = {name: value for name, value in claims.items() if value is not None}
        return jwt(key or self.key, header or {"alg": "RS256", "typ": "JWT"}, said)

    async def send(self, push: dict[str, str], answer: str) -> httpx2.Response:
        """Send an answer, whatever it is."""
        return await self.http.post(
            f"{self.base}/api/resolve-transaction",
            json={"challenge_response": answer},
            headers={"authorization": f"Bearer {push['txtkn']}"},
        )

    async def decide(self, push: dict[str, str], now: int, *, accepted: bool = True) -> None:
        response = await self.send(push, self.answer(push, now, accepted=accepted))
        assert response.status_code == 204, response.text
        assert response.content == b""

    def call(self, now: int, *, key: RsaKey | None = None, **changes: Any) -> str:
        """Return the JWT with which the device changes itself."""
        claims = {
            "iat": now,
            "exp": now + 7200,
            "aud": f"{self.base}/api/device-accounts",
            "iss": self.enrolled["id"],
            "sub": self.enrolled["user_id"],
            **changes,
        }
        return jwt(key or self.key, {"alg": "RS256", "typ": "JWT"}, claims)

    async def update(self, token: str, *, account: str = "", **changes: Any) -> httpx2.Response:
        url = f"{self.base}/api/device-accounts/{account or self.enrolled['id']}"
        return await self.http.patch(url, json=changes, headers={"authorization": f"Bearer {token}"})

    async def remove(self, token: str, *, account: str = "") -> httpx2.Response:
        url = f"{self.base}/api/device-accounts/{account or self.enrolled['id']}"
        return await self.http.delete(url, headers={"authorization": f"Bearer {token}"})

    def proof(
        self,
        push: dict[str, str],
        now: int,
        *,
        key: RsaKey | None = None,
        jwk: dict[str, str] | None = None,
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Return the DPoP proof with which the device asks what a push is about."""
        root = self.base.removesuffix("/appliance-mfa")
        claims = {
            "htu": f"{root}/rich-consents/{push['txlnkid']}",
            "htm": "GET",
            "ath": base64url(hashlib.sha256(push["txtkn"].encode()).digest()),
            "jti": hashlib.sha256(f"{now} {push['txtkn']}".encode()).hexdigest(),
            "iat": now,
            **changes,
        }
        said = header or {"alg": "RS256", "typ": "dpop+jwt", "jwk": jwk or self.key.jwk()}
        return jwt(key or self.key, said, claims)

    async def consent(self, push: dict[str, str], proof: str, *, consent_id: str = "") -> httpx2.Response:
        root = self.base.removesuffix("/appliance-mfa")
        headers = {"authorization": f"MFA-DPoP {push['txtkn']}", "mfa-dpop": proof}
        return await self.http.get(f"{root}/rich-consents/{consent_id or push['txlnkid']}", headers=headers)
