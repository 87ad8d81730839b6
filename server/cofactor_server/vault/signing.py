"""Signed tokens: access tokens and id_tokens as JWTs, and the check of our own."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jws import JWSRegistry

from cofactor_server.domain.foundation.encoding import base64url, from_base64url
from cofactor_server.seams import SECOND, Clock
from cofactor_server.vault import jws
from cofactor_server.vault.signing_keys import (
    Algorithm,
    LoadedKey,
    SigningKey,
    SigningKeyInvalid,
    generate_signing_key,
    load,
)

__all__ = [
    "Algorithm",
    "NoSigningKey",
    "SignatureInvalid",
    "Signer",
    "SigningKey",
    "SigningKeyInvalid",
    "TokenExpired",
    "generate_signing_key",
    "verify_times",
]

LONGEST = 8_192
"""Characters of a token (S159)."""

RSA_THREADS = 2
"""RS256 takes 0.7 ms, without the interpreter's lock."""

_SHA256 = SHA256()
_ECDSA = ECDSA(_SHA256)
_PKCS1 = PKCS1v15()
_VERIFIERS = {algorithm: JWSRegistry(algorithms=list(Algorithm)).get_alg(algorithm) for algorithm in Algorithm}


class SignatureInvalid(Exception):
    """A token is not one of ours, or not of the type asked for. The text is for the log and quotes nothing of it."""


class TokenExpired(SignatureInvalid):
    """A token of ours whose time is over."""


class NoSigningKey(RuntimeError):
    """No key of the algorithm is active: the deployment is not set up, not the request wrong."""


class Signer:
    """Signs and checks JWTs, and publishes the keys to check them with.

    Of the active keys of an algorithm the one with the latest `active_from` signs. All but retired ones verify, also
    one not active yet, since another replica's clock may be ahead.

    Args:
        keys: All that are to be published; may be replaced later.
        clock: Tells which are active.

    Raises:
        SigningKeyInvalid: A key does not parse, does not fit its algorithm, or has another's kid.
    """

    def __init__(self, keys: Sequence[SigningKey], clock: Clock) -> None:
        self._clock: Final = clock
        self._pool: Final = ThreadPoolExecutor(RSA_THREADS, thread_name_prefix="sign")
        self.replace_keys(keys)

    def replace_keys(self, keys: Sequence[SigningKey]) -> None:
        """Take other keys from now on; signatures under way are finished with the old ones.

        Raises:
            SigningKeyInvalid: As at construction; the keys stay as they were.
        """
        by_kid = _by_kid(keys)
        newest_first = sorted(by_kid.values(), key=_age, reverse=True)
        self._keys = by_kid
        self._newest_first = {a: [loaded for loaded in newest_first if loaded.key.algorithm is a] for a in Algorithm}
        self._headers: dict[tuple[str, str], bytes] = {}

    def public_jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the key set to publish (RFC 7517 section 5): public members, `use`, `alg` and `kid` of each.

        It has the keys that are not active yet too, so that verifiers know them before they sign (S158).
        """
        now = self._clock.now()
        return {"keys": [dict(loaded.jwk) for loaded in self._keys.values() if not loaded.retired(now)]}

    async def sign(self, algorithm: Algorithm, typ: str, claims: Mapping[str, object]) -> str:
        """Return a JWT in compact serialization. RS256 is computed by a thread, ES256 at once.

        Args:
            algorithm: Which key's; the audience decides (ADR-23).
            typ: `at+jwt` for access tokens (RFC 9068 section 2.1), `JWT` for id_tokens.
            claims: As they are to stand; nothing is added.

        Raises:
            NoSigningKey: No key of the algorithm is active.
            ValueError: The token would be longer than 8,192 characters, which `verify` refuses.
        """
        loaded = self._signing(algorithm)
        payload = msgspec.json.encode(claims if type(claims) is dict else dict(claims))
        signing_input = self._header(loaded.key, typ) + base64url(payload).encode("ascii")
        if isinstance(loaded.private, RSAPrivateKey):
            loop = asyncio.get_running_loop()
            signature = await loop.run_in_executor(self._pool, _rs256, loaded.private, signing_input)
        else:
            signature = _es256(loaded.private, signing_input)
        token = f"{signing_input.decode('ascii')}.{base64url(signature)}"
        if len(token) > LONGEST:
            raise ValueError(f"a token of {len(token)} characters would not be accepted again")
        return token

    def verify(self, token: str, *, typ: str) -> dict[str, object]:
        """Return the claims of a token that this signer's keys signed.

        Only signature, form and type are checked: `verify_times`, `iss`, `aud` and the rest are the caller's.
        Keys are looked up by `kid` alone; `jku`, `x5u`, `jwk` and their like are ignored (S104).

        Args:
            token: What a caller presents, of any length and content.
            typ: The type it must have, `at+jwt` or `JWT`, with or without `application/`.

        Raises:
            SignatureInvalid: It is too long, malformed, not by RS256 or ES256, not by the algorithm of its key, of an
                unknown or retired key, of another type, nested, compressed, encrypted, uses `crit`, names a member
                twice, or the signature is wrong.
        """
        try:
            header, payload, signature = jws.parts(token, LONGEST)
        except ValueError:
            raise SignatureInvalid("not a compact JWS of acceptable length") from None
        loaded = self._named(_members(header), typ)
        if not _signed(loaded, f"{header}.{payload}", signature):
            raise SignatureInvalid("wrong signature")
        return _members(payload)

    def close(self) -> None:
        """End the threads; signatures under way are finished."""
        self._pool.shutdown()

    def _signing(self, algorithm: Algorithm) -> LoadedKey:
        now = self._clock.now()
        for loaded in self._newest_first[algorithm]:
            if loaded.signs(now):
                return loaded
        raise NoSigningKey(f"no key for {algorithm} is active")

    def _header(self, key: SigningKey, typ: str) -> bytes:
        header = self._headers.get((key.kid, typ))
        if header is None:
            members = msgspec.json.encode({"alg": key.algorithm.value, "typ": typ, "kid": key.kid})
            header = self._headers[key.kid, typ] = base64url(members).encode("ascii") + b"."
        return header

    def _named(self, header: Mapping[str, object], typ: str) -> LoadedKey:
        """Return the key that a header names, if the header is one of ours."""
        if not jws.REFUSED_HEADERS.isdisjoint(header):
            raise SignatureInvalid("a header member that is refused")
        kid, given = header.get("kid"), header.get("typ")
        if not isinstance(given, str) or jws.media_type(given) != jws.media_type(typ):
            raise SignatureInvalid("of another type")
        loaded = self._keys.get(kid) if isinstance(kid, str) else None
        if loaded is None or loaded.retired(self._clock.now()):
            raise SignatureInvalid("of an unknown key")
        # The key says how it signs, and both algorithms are on the list; the header may only agree (RFC 8725, 3.1).
        if header.get("alg") != loaded.key.algorithm.value:
            raise SignatureInvalid("not by the algorithm of its key")
        return loaded


def verify_times(claims: Mapping[str, object], now_us: int, leeway_s: int = 0) -> None:
    """Check `exp` and, where present, `nbf` (RFC 7519 sections 4.1.4 and 4.1.5).

    Apart from `Signer.verify`, since some readers want the claims of an expired token too.

    Args:
        claims: What `Signer.verify` returned.
        now_us: Microseconds since the epoch.
        leeway_s: Seconds of clock difference allowed, both ways.

    Raises:
        TokenExpired: `exp` is reached.
        SignatureInvalid: `exp` is missing, one of them is no whole number, or `nbf` lies ahead.
    """
    expires, not_before = claims.get("exp"), claims.get("nbf", 0)
    if type(expires) is not int or type(not_before) is not int:
        raise SignatureInvalid("without times")
    if now_us >= (expires + leeway_s) * SECOND:
        raise TokenExpired("expired")
    if now_us < (not_before - leeway_s) * SECOND:
        raise SignatureInvalid("not valid yet")


def _age(loaded: LoadedKey) -> tuple[int, int, str]:
    return loaded.key.active_from, loaded.key.created_at, loaded.key.kid


def _by_kid(keys: Sequence[SigningKey]) -> dict[str, LoadedKey]:
    loaded = {key.kid: load(key) for key in keys}
    if len(loaded) != len(keys):
        raise SigningKeyInvalid("two signing keys have the same kid")
    return loaded


def _es256(private: EllipticCurvePrivateKey, signing_input: bytes) -> bytes:
    r, s = decode_dss_signature(private.sign(signing_input, _ECDSA))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")  # RFC 7518 section 3.4


def _rs256(private: RSAPrivateKey, signing_input: bytes) -> bytes:
    return private.sign(signing_input, _PKCS1, _SHA256)


def _signed(loaded: LoadedKey, signing_input: str, signature: str) -> bool:
    """Verify by the algorithm of the key, whatever the header says."""
    try:
        octets = from_base64url(signature)
        return _VERIFIERS[loaded.key.algorithm].verify(signing_input.encode("ascii"), octets, loaded.public)
    except ValueError:  # not canonical base64url, or a payload that is not ASCII
        return False


def _members(segment: str) -> dict[str, object]:
    try:
        return jws.members(segment)
    except ValueError:
        raise SignatureInvalid("a part is not base64url of a JSON object without repeated members") from None
