"""What devices of the Guardian wire sign: RS256 in compact form, each kind for one URL (W13).

Which key a signature has to be of is said by what was issued to the device, never by the statement: what its header
says of keys and algorithms decides only whether it is refused (ADR-17).
"""

import datetime
import hashlib
import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from cofactor_server.domain.authenticators.proofs import Context
from cofactor_server.domain.foundation.encoding import from_base64url
from cofactor_server.factors import rsa_keys
from cofactor_server.seams import ALPHANUMERIC, HOUR, MINUTE, SECOND, Entropy

CLOCK_LEEWAY = 30 * SECOND
"""How far off a device's clock may be."""
ANSWER_LIFE = MINUTE
"""From `iat` to `exp` of an answer; the SDKs write half of it."""
CALL_LIFE = 2 * HOUR
"""From `iat` to `exp` of what a device presents to change itself (W13.3)."""
PROOF_LEEWAY = MINUTE
"""How far off `iat` of a DPoP proof may be, which has no `exp` (RFC 9449 section 11.1)."""
LONGEST_STATEMENT = 4_096
"""Characters."""
LONGEST_ID = 256

SECRET_LENGTH = 32
"""Alphanumerics of a token's secret part: 190 bits."""
_MARK = "~"
"""Between a token's parts: good in a header (RFC 6750 section 2.1), and in no id."""
BINDING_MESSAGE = "binding_message"
"""Name of the transaction's member that the login page shows as well."""

C = TypeVar("C")
_DEFAULT_PORTS = {"https": 443, "http": 80}


class Claims(msgspec.Struct, frozen=True):
    """What every dated statement says; members that nobody asks for do not matter."""

    iat: int
    exp: int
    aud: str
    iss: str
    sub: str


class ChallengeResponse(Claims, frozen=True):
    """A device's user decided."""

    auth0_guardian_method: Literal["push"]
    auth0_guardian_accepted: bool
    auth0_guardian_reason: str | None = None


Name = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,128}\Z")]
"""What rows are looked up by, before anything is verified."""


class _Caller(msgspec.Struct, frozen=True):
    iss: Name
    sub: Name


class _PublicKey(msgspec.Struct, frozen=True):
    kty: Literal["RSA"]
    n: str
    e: str


class _Header(msgspec.Struct, frozen=True):
    alg: Literal["RS256"]
    crit: None = None
    """RFC 7515 section 4.1.11: whoever says that something must be understood is not understood here."""


class _ProofHeader(_Header, frozen=True, kw_only=True):
    typ: Literal["dpop+jwt"]
    jwk: _PublicKey


class _Proof(msgspec.Struct, frozen=True):
    htu: str
    htm: Literal["GET"]
    ath: str
    jti: str
    iat: int


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device of this wire is known by, beside its key."""

    identifier: Annotated[str, msgspec.Meta(max_length=LONGEST_ID)]
    """What it calls itself."""
    token_sha256: Annotated[bytes, msgspec.Meta(max_length=32)]
    """Of the token with which it changes itself."""

    def __repr__(self) -> str:
        return "Device(…)"


class Transaction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a prompt was about, as the device may ask."""

    token_sha256: Annotated[bytes, msgspec.Meta(max_length=32)]
    audience: str = ""
    scope: str = ""
    details: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return "Transaction(…)"


@dataclass(frozen=True, slots=True)
class Urls:
    """Where devices call, by settings: SDKs add `appliance-mfa`, but not to a host that is for this wire alone.

    Args:
        issuer: With a slash at its end.
        guardian_url: A host of its own for this wire, with a slash at its end; empty without.
    """

    issuer: str
    guardian_url: str = ""

    @property
    def resolve(self) -> tuple[str, ...]:
        """Where transactions are resolved."""
        return tuple(base + "resolve-transaction" for base in self._bases)

    @property
    def accounts(self) -> tuple[str, ...]:
        """Where device accounts are changed."""
        return tuple(base + "device-accounts" for base in self._bases)

    def consent(self, consent_id: str) -> tuple[str, ...]:
        """Where a rich consent is."""
        return tuple(f"{root}rich-consents/{consent_id}" for root in (self.issuer, self.guardian_url) if root)

    @property
    def _bases(self) -> tuple[str, ...]:
        own = (f"{self.guardian_url}appliance-mfa/api/", f"{self.guardian_url}api/") if self.guardian_url else ()
        return (f"{self.issuer}appliance-mfa/api/", *own)


@dataclass(frozen=True, slots=True)
class Presented:
    """A good DPoP proof, which is good once."""

    jti_sha256: bytes
    until: int
    """When it would not be good any more."""


def issue(entropy: Entropy, user_id: str, row_id: str) -> tuple[str, bytes]:
    """Return a new token that names a row of a user, and what is kept of it."""
    token = _MARK.join((user_id, row_id, entropy.choose(ALPHANUMERIC, SECRET_LENGTH)))
    return token, digest(token)


def route(token: str) -> tuple[str, str]:
    """Return the user and the row that a token names; whether it was ever issued is not asked.

    Raises:
        ValueError: It names none.
    """
    user_id, row_id, _ = token.split(_MARK)
    return user_id, row_id


def digest(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def account_id(authenticator_id: str) -> str:
    """Return what a device account is called: the authenticator's id without its prefix."""
    return authenticator_id.partition("|")[2]


def asked(entropy: Entropy, context: Context) -> tuple[Transaction, Mapping[str, str]]:
    """Return what is kept of a prompt, and the push for it (W13.5).

    The application stands where a browser would, and the address where a place would: Cofactor sees neither.
    """
    names = context.names
    token, kept = issue(entropy, names.user_id, names.challenge_id)
    second, rest = divmod(context.now, SECOND)
    made = datetime.datetime.fromtimestamp(second, datetime.UTC).replace(microsecond=rest)
    push = {
        "txtkn": token,
        "dai": account_id(names.authenticator_id),
        "d": made.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "sh": names.issuer,
        "c": names.challenge_id,
        "txlnkid": names.challenge_id,
        "s": _json({"b": {"n": context.application, "v": ""}}),
    }
    if context.source:
        push["l"] = _json({"n": context.source})
    details = dict(context.transaction)
    return Transaction(kept, context.audience, context.scope, details), push


def authorization_details(transaction: Transaction) -> str:
    """Return what a transaction is about as RFC 9396 has it, or nothing."""
    details = {name: value for name, value in transaction.details.items() if name != BINDING_MESSAGE}
    return _json([{"type": "transaction", **details}]) if details else ""


def decision(statement: bytes, key: bytes, *, urls: Collection[str], device: str, challenge: str, now: int) -> bool:
    """Return whether a device's user accepted.

    Args:
        statement: Untrusted.
        key: The device's, as `rsa_keys.to_der` made it.
        urls: Those of `resolve-transaction`, by settings.
        device: The identifier the device enrolled with.
        challenge: The one it was asked.
        now: Microseconds since the Unix epoch.

    Raises:
        ValueError: It is not this device's answer to this challenge, for this deployment, of now.
    """
    said = _signed(statement, key, _Header, ChallengeResponse)[1]
    if not (_same(said.iss, device) and _same(said.sub, challenge)):
        raise ValueError("of another device, or to another challenge")
    _dated(said, urls, ANSWER_LIFE, now)
    return said.auth0_guardian_accepted


def check_call(statement: bytes, key: bytes, *, urls: Collection[str], account: str, user: str, now: int) -> None:
    """Check that a device asks to change itself.

    Args:
        statement: Untrusted.
        key: The device's.
        urls: Those of `device-accounts`, by settings.
        account: Id of the device account.
        user: Whose it is.
        now: Microseconds since the Unix epoch.

    Raises:
        ValueError: It does not.
    """
    said = _signed(statement, key, _Header, Claims)[1]
    if not (_same(said.iss, account) and _same(said.sub, user)):
        raise ValueError("of another device")
    _dated(said, urls, CALL_LIFE, now)


def caller(statement: bytes) -> tuple[str, str]:
    """Return the device account and the user that a statement names; nothing of it is verified.

    Raises:
        ValueError: It names none.
    """
    said = _read(_parts(statement)[1], _Caller)
    return said.iss, said.sub


def presented(statement: bytes, key: bytes, *, urls: Collection[str], token: str, now: int) -> Presented:
    """Check a DPoP proof (RFC 9449 section 4.3), whose key has to be the device's.

    Args:
        statement: Untrusted.
        key: The device's.
        urls: Those of what is asked for, by settings.
        token: The transaction token it is presented with.
        now: Microseconds since the Unix epoch.

    Raises:
        ValueError: It proves nothing.
    """
    header, said = _signed(statement, key, _ProofHeader, _Proof)
    if not hmac.compare_digest(rsa_keys.thumbprint(header.jwk.n, header.jwk.e), rsa_keys.thumbprint_of(key)):
        raise ValueError("of another key")
    if not hmac.compare_digest(from_base64url(said.ath), digest(token)):
        raise ValueError("for another token")
    if not any(_alike(said.htu, url) for url in urls) or not 0 < len(said.jti) <= LONGEST_ID:
        raise ValueError("for another URL, or without a name of its own")
    made = said.iat * SECOND
    if abs(now - made) > PROOF_LEEWAY:
        raise ValueError("too old, or not yet")
    return Presented(hashlib.sha256(said.jti.encode()).digest(), made + PROOF_LEEWAY)


H = TypeVar("H", bound=_Header)


def _signed(statement: bytes, key: bytes, header_type: type[H], claims_type: type[C]) -> tuple[H, C]:
    """Return header and claims of a statement that a key signed; the signature is looked at first."""
    header, payload, signature = _parts(statement)
    if not rsa_keys.signed_by(key, header + b"." + payload, from_base64url(signature.decode("ascii"))):
        raise ValueError("not signed by this key")
    said = _read(payload, claims_type)
    return _read(header, header_type), said


def _read(part: bytes, kind: type[C]) -> C:
    try:
        return msgspec.json.decode(from_base64url(part.decode("ascii")), type=kind)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _parts(statement: bytes) -> tuple[bytes, bytes, bytes]:
    if len(statement) > LONGEST_STATEMENT:
        raise ValueError("too long")
    header, payload, signature = statement.split(b".")
    return header, payload, signature


def _dated(said: Claims, urls: Collection[str], life: int, now: int) -> None:
    if not any(_alike(said.aud, url) for url in urls):
        raise ValueError("for another URL")
    made, over = said.iat * SECOND, said.exp * SECOND
    if not 0 < over - made <= life:
        raise ValueError("good for too long, or never")
    if not made - CLOCK_LEEWAY <= now < over + CLOCK_LEEWAY:
        raise ValueError("too old, or not yet")


def _same(a: str, b: str) -> bool:
    """Compare in a time that does not tell where texts differ."""
    return hmac.compare_digest(a.encode(), b.encode())


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _alike(given: str, url: str) -> bool:
    """Compare URLs, but for how scheme, host and a port that goes without saying are spelled (RFC 3986 section 6.2)."""
    return given == url or _normal(given) == _normal(url)


def _normal(url: str) -> tuple[str, str, int | None, str, str]:
    parts = urlsplit(url)
    port = parts.port if parts.port is not None else _DEFAULT_PORTS.get(parts.scheme)
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("not a plain URL")
    return parts.scheme, parts.hostname or "", port, parts.path, parts.query
