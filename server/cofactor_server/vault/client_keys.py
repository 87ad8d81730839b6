"""Public keys of clients, and what clients sign with them: private_key_jwt (RFC 7523 section 2.2)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from cofactor_server.domain.foundation.encoding import from_base64url, json_object
from cofactor_server.vault import jws
from cofactor_server.vault.signing_keys import LARGEST_RSA_BITS, RSA_BITS

ALGORITHMS = ("RS256", "RS384", "PS256", "ES256")
"""What clients may sign with; neither `none` nor an HMAC is among them."""
MOST_KEYS = 10
LONGEST_SET = 32_768
"""Octets of a registered key set."""
LONGEST_ASSERTION = 3_072
"""Characters; it travels in metadata, of which a peer takes 8 KiB in all."""

_client_id = re.compile(r"[!-~]{1,128}").fullmatch
_TYPES = frozenset({"jwt", "client-authentication+jwt"})
_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_VERIFIERS = {name: JWSRegistry(algorithms=list(ALGORITHMS)).get_alg(name) for name in ALGORITHMS}


class KeySetInvalid(ValueError):
    """A key set can't be registered. The text says why and quotes no key."""


class AssertionInvalid(Exception):
    """An assertion is not signed by any of the client's keys, or is no assertion."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A public key of a client."""

    kid: str
    """Empty where the set gives it none."""
    algorithms: frozenset[str]
    public: RSAKey | ECKey = field(repr=False)


def normalized(text: str) -> str:
    """Return a key set (RFC 7517 section 5) as it is registered: its public members only, in one line.

    Raises:
        KeySetInvalid: It is none, holds a private or symmetric key, a weak one, one that is not for signatures, two of
            the same kid, none at all or more than ten.
    """
    if len(text.encode()) > LONGEST_SET:
        raise KeySetInvalid(f"is larger than {LONGEST_SET} octets")
    keys = _load(text)
    if not keys:
        raise KeySetInvalid("has no key")
    return json.dumps({"keys": [_described(key) for key in keys]}, separators=(",", ":"))


def verify(key_set: str, assertion: str) -> dict[str, object]:
    """Return the claims of an assertion that a key of the set signed; what they say is for the caller to judge.

    Keys are found by `kid`, and all that fit the algorithm are tried where the assertion names none; `jku`, `x5u` and
    `jwk` are ignored (S104).

    Args:
        key_set: What `normalized` returned.
        assertion: What the client presents.

    Raises:
        AssertionInvalid: It is malformed, of another type, not by one of `ALGORITHMS`, nested, compressed, uses `crit`,
            names a member twice, is of an unknown key, or the signature is wrong.
    """
    encoded, payload, signed = _parts(assertion)
    header = _members(encoded)
    algorithm, typ = header.get("alg"), header.get("typ", "JWT")
    if not jws.REFUSED_HEADERS.isdisjoint(header) or not isinstance(algorithm, str) or algorithm not in _VERIFIERS:
        raise AssertionInvalid
    if not isinstance(typ, str) or jws.media_type(typ) not in _TYPES:
        raise AssertionInvalid
    try:
        signature = from_base64url(signed)
        signing_input = f"{encoded}.{payload}".encode("ascii")
    except ValueError:
        raise AssertionInvalid from None
    for key in _load(key_set):
        # The key says what it may sign by, and the header may only agree (RFC 8725 section 3.1).
        fits = algorithm in key.algorithms and ("kid" not in header or header["kid"] == key.kid)
        if fits and _VERIFIERS[algorithm].verify(signing_input, signature, key.public):
            return _members(payload)
    raise AssertionInvalid


def names(assertion: str) -> str:
    """Return the client that an assertion states, unverified: whose keys it is to be checked with; empty if none."""
    try:
        subject = _members(_parts(assertion)[1]).get("sub")
    except AssertionInvalid:
        return ""
    return subject if isinstance(subject, str) and _client_id(subject) else ""


@lru_cache(maxsize=1_024)
def _load(text: str) -> tuple[ClientKey, ...]:
    try:
        listed = json_object(text.encode()).get("keys")
    except ValueError as error:
        raise KeySetInvalid(f"is no JSON Web Key Set: {error}") from None
    if not isinstance(listed, list) or not all(isinstance(member, dict) for member in listed):
        raise KeySetInvalid("is no JSON Web Key Set")
    if len(listed) > MOST_KEYS:
        raise KeySetInvalid(f"has more than {MOST_KEYS} keys")
    keys = tuple(_key(member) for member in listed)
    kids = [key.kid for key in keys if key.kid]
    if len(set(kids)) != len(kids):
        raise KeySetInvalid("has two keys of the same kid")
    return keys


def _key(member: Mapping[str, Any]) -> ClientKey:
    kid, algorithm = member.get("kid", ""), member.get("alg")
    if not isinstance(kid, str) or len(kid) > 256:
        raise KeySetInvalid("has a kid that is no text of at most 256 characters")
    if not _SECRET_MEMBERS.isdisjoint(member):
        raise KeySetInvalid("holds a private or symmetric key: keep that, and register the public one")
    if member.get("use", "sig") != "sig":
        raise KeySetInvalid("has a key that is not for signatures")
    try:
        public, able = _public(member)
    except KeySetInvalid:
        raise
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        raise KeySetInvalid("has a key that can't be read") from None
    if algorithm is not None and algorithm not in able:
        raise KeySetInvalid(f"has a key whose alg is none of {', '.join(sorted(able)) or 'ours'}")
    return ClientKey(kid, frozenset({algorithm}) if algorithm else able, public)


def _public(member: Mapping[str, Any]) -> tuple[RSAKey | ECKey, frozenset[str]]:
    match member.get("kty"):
        case "RSA":
            modulus, exponent = (int.from_bytes(from_base64url(member[name])) for name in ("n", "e"))
            if not RSA_BITS <= modulus.bit_length() <= LARGEST_RSA_BITS or exponent < 65_537:
                raise KeySetInvalid(f"has an RSA key that is not of {RSA_BITS} to {LARGEST_RSA_BITS} bits with e 65537")
            rsa = RSAKey.import_key({name: member[name] for name in ("kty", "n", "e")})
            return rsa, frozenset({"RS256", "RS384", "PS256"})
        case "EC":
            ec = ECKey.import_key({name: member[name] for name in ("kty", "crv", "x", "y")})
            point = ec.public_key
            if not isinstance(point.curve, SECP256R1):
                raise KeySetInvalid("has an EC key that is not of P-256")
            return ec, frozenset({"ES256"})
    raise KeySetInvalid("has a key that is neither RSA nor EC")


def _described(key: ClientKey) -> dict[str, str]:
    described = {name: str(value) for name, value in key.public.as_dict(private=False).items() if name != "kid"}
    if key.kid:
        described["kid"] = key.kid
    if len(key.algorithms) == 1:
        described["alg"] = next(iter(key.algorithms))
    return described


def _parts(assertion: str) -> tuple[str, str, str]:
    try:
        return jws.parts(assertion, LONGEST_ASSERTION)
    except ValueError:
        raise AssertionInvalid from None


def _members(segment: str) -> dict[str, object]:
    try:
        return jws.members(segment)
    except ValueError:
        raise AssertionInvalid from None
