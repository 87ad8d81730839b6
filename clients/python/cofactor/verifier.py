"""Checks Cofactor's access tokens in a resource server: RFC 9068, and the step-up challenges of RFC 9470.

`Verifier` is for threads, `AsyncVerifier` for asyncio. Both keep the published keys, ask for them again when they are
old or a token names one that is new, and never more often than every half minute because of what a caller sends.
"""

import asyncio
import base64
import json
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeAlias
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from cofactor.v1 import tokens_pb2, tokens_pb2_grpc

__all__ = [
    "AsyncVerifier",
    "Claims",
    "InsufficientAuthentication",
    "InsufficientScope",
    "KeysUnavailable",
    "Refused",
    "TokenInvalid",
    "Verifier",
    "aio_grpc_keys",
    "grpc_keys",
    "http_keys",
]

ACR_LEVELS = tuple(f"urn:cofactor:acr:{level}" for level in ("1fa", "mfa-low", "mfa", "phr", "phrh"))
"""How strong an authentication was, weakest first: what meets a demand for one meets it for those before."""
ACR_ALIASES = {"http://schemas.openid.net/pape/policies/2007/06/multi-factor": "urn:cofactor:acr:mfa"}
DOMAIN = "cofactor.v1"

LONGEST = 8_192
"""Characters of a token."""
MOST_LEEWAY = 60
FRESH_FOR = 300.0
"""Seconds for which keys are taken as they were fetched."""
USABLE_FOR = 3_600.0
"""Seconds for which keys are used while nobody can be asked for new ones."""
PAUSE = 30.0
"""Seconds between two fetches that old keys, unknown ones or failures ask for."""
FETCH_TIMEOUT = 5.0
LARGEST_SET = 262_144

KeySet: TypeAlias = Mapping[str, Any]
"""A JSON Web Key Set, RFC 7517."""
KeySource: TypeAlias = Callable[[], KeySet]
AsyncKeySource: TypeAlias = Callable[[], Awaitable[KeySet]]
_PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_REFUSED_HEADERS = frozenset({"crit", "b64", "zip", "enc", "cty"})
_SHA256 = SHA256()
_TEXTS = ("iss", "sub", "jti")
Profile: TypeAlias = Literal["rfc9068", "auth0"]
"""The form of an API's access tokens, as `cofactor apis create --token-profile` chose it."""
_PROFILES: Mapping[Profile, tuple[str, str]] = {"rfc9068": ("at+jwt", "client_id"), "auth0": ("jwt", "azp")}
"""The header's `typ`, and the claim that names the client."""


class Refused(Exception):
    """A request is refused because of its token. What is raised is a subclass; its text may be shown to the caller."""

    http_status = 401
    grpc_code = code_pb2.UNAUTHENTICATED
    error = "invalid_token"

    def parameters(self) -> dict[str, str]:
        """Return what the challenge says beside its error."""
        return {}

    def www_authenticate(self) -> str:
        """Return the value of a WWW-Authenticate header, RFC 6750 section 3 and RFC 9470 section 3."""
        said = {"error": self.error, "error_description": str(self), **self.parameters()}
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in said.items())

    def status(self) -> status_pb2.Status:
        """Return the same over gRPC, for `grpc_status.rpc_status.to_status`: an ErrorInfo has error and parameters."""
        info = error_details_pb2.ErrorInfo(reason=self.error.upper(), domain=DOMAIN, metadata=self.parameters())
        details = any_pb2.Any()
        details.Pack(info)
        return status_pb2.Status(code=self.grpc_code, message=str(self), details=[details])


class TokenInvalid(Refused):
    """The token is none of the issuer's, not for this resource server, or not of now."""


class InsufficientScope(Refused):
    """The token lacks a scope."""

    http_status = 403
    grpc_code = code_pb2.PERMISSION_DENIED
    error = "insufficient_scope"

    def __init__(self, scopes: Iterable[str]) -> None:
        super().__init__("The token lacks a scope")
        self.scopes = tuple(scopes)

    def parameters(self) -> dict[str, str]:
        """Return the scopes that are needed."""
        return {"scope": " ".join(self.scopes)}


class InsufficientAuthentication(Refused):
    """The user has to show more, or show it again: log in with these `acr_values` and `max_age` (RFC 9470)."""

    error = "insufficient_user_authentication"

    def __init__(self, acr_values: Sequence[str], max_age: int | None) -> None:
        super().__init__("A stronger or more recent authentication is required")
        self.acr_values = tuple(acr_values)
        self.max_age = max_age

    def parameters(self) -> dict[str, str]:
        """Return what a new token has to show."""
        said = {"acr_values": " ".join(self.acr_values)} if self.acr_values else {}
        return said if self.max_age is None else {**said, "max_age": str(self.max_age)}


class KeysUnavailable(Exception):
    """The published keys can't be fetched, and those that are known are too old: answer 503, or UNAVAILABLE."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says; instants in seconds since the Unix epoch."""

    sub: str
    """The user."""
    client_id: str
    aud: tuple[str, ...]
    scopes: frozenset[str]
    jti: str
    iat: int
    exp: int
    acr: str = ""
    amr: tuple[str, ...] = ()
    auth_time: int | None = None
    """When the last factor was shown."""
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """All of them."""


@dataclass(frozen=True, slots=True)
class _Key:
    algorithm: str
    public: _PublicKey


class _Rules:
    """What is checked, whoever fetches the keys."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
        leeway: int,
        profile: Profile,
        clock: Callable[[], float],
    ) -> None:
        if not issuer or not audience:
            raise ValueError("issuer and audience must not be empty")
        if not algorithms or not {"RS256", "ES256"}.issuperset(algorithms):
            raise ValueError("algorithms are among RS256 and ES256")
        if not 0 <= leeway <= MOST_LEEWAY:
            raise ValueError(f"leeway is 0 to {MOST_LEEWAY} seconds")
        if profile not in _PROFILES:
            raise ValueError(f"profile is one of {', '.join(_PROFILES)}")
        self._type, self._client_claim = _PROFILES[profile]
        self.issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._leeway = leeway
        self.clock = clock

    def opened(self, token: str) -> tuple[str, list[str]]:
        """Return the key that a token names, and the token's parts; raise TokenInvalid for what can't be one."""
        parts = token.split(".", 3) if len(token) <= LONGEST else []
        if len(parts) != 3:
            _refuse()
        header = _members(parts[0])
        typ, kid = header.get("typ"), header.get("kid")
        if not isinstance(typ, str) or typ.lower().removeprefix("application/") != self._type:
            _refuse("not an access token")
        if header.get("alg") not in self._algorithms or not _REFUSED_HEADERS.isdisjoint(header):
            _refuse()
        if not isinstance(kid, str):
            _refuse()
        return kid, parts

    def checked(self, parts: Sequence[str], key: _Key | None) -> Claims:
        """Return what a token says; raise TokenInvalid unless the key signed it, for us and for now."""
        header, payload, signature = parts
        # The key says how it signs; the header may only agree (RFC 8725 section 3.1).
        if key is None or _members(header).get("alg") != key.algorithm:
            _refuse("signed by an unknown key")
        if not _signed(key, f"{header}.{payload}".encode(), _octets(signature)):
            _refuse()
        return self._claims(_members(payload))

    def _claims(self, said: dict[str, Any]) -> Claims:
        texts = (*_TEXTS, self._client_claim)
        if not all(isinstance(said.get(name), str) and said[name] for name in texts) or said["iss"] != self.issuer:
            _refuse("of another issuer, or incomplete")
        audiences = [said["aud"]] if isinstance(said.get("aud"), str) else said.get("aud")
        if not isinstance(audiences, list) or not all(isinstance(one, str) and one for one in audiences):
            _refuse("without an audience")
        if self._audience not in audiences:
            _refuse("for another audience")
        now = self.clock()
        issued, expires = _instant(said, "iat"), _instant(said, "exp")
        begins = _instant(said, "nbf") if "nbf" in said else issued
        if now >= expires + self._leeway:
            _refuse("expired")
        if now < max(issued, begins) - self._leeway:
            _refuse("not valid yet")
        scope, acr, amr = said.get("scope", ""), said.get("acr", ""), said.get("amr", [])
        if not isinstance(scope, str) or not isinstance(acr, str) or not isinstance(amr, list):
            _refuse()
        return Claims(
            sub=said["sub"],
            client_id=said[self._client_claim],
            aud=tuple(audiences),
            scopes=frozenset(scope.split()),
            jti=said["jti"],
            iat=issued,
            exp=expires,
            acr=acr,
            amr=tuple(str(method) for method in amr),
            auth_time=_instant(said, "auth_time") if "auth_time" in said else None,
            claims=said,
        )

    def demand(self, claims: Claims, scopes: Iterable[str], acr_values: Sequence[str], max_age: int | None) -> None:
        """Raise InsufficientScope or InsufficientAuthentication unless a good token shows what is asked for."""
        wanted = tuple(scopes)
        if not claims.scopes.issuperset(wanted):
            raise InsufficientScope(wanted)
        shown = not acr_values or any(_meets(claims.acr, value) for value in acr_values)
        recent = max_age is None or (
            claims.auth_time is not None and self.clock() <= claims.auth_time + max_age + self._leeway
        )
        if not shown or not recent:
            raise InsufficientAuthentication(acr_values, max_age)


class _Kept:
    """Keys that were fetched, and whether to fetch them again."""

    def __init__(self) -> None:
        self._keys: dict[str, _Key] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")

    def due(self, kid: str) -> bool:
        """Whether to fetch before a token of this key is checked."""
        now = time.monotonic()
        wanted = kid not in self._keys or now >= self._fetched_at + FRESH_FOR
        return wanted and now >= self._tried_at + PAUSE

    def tried(self) -> None:
        """Note that a fetch ended, well or not, so that none follows at once; meanwhile others wait for the lock."""
        self._tried_at = time.monotonic()

    def keep(self, fetched: KeySet) -> None:
        """Take what was fetched; keys that can't be read are left out."""
        listed = fetched.get("keys")
        keys = (_key(member) for member in (listed if isinstance(listed, list) else ()))
        self._keys = dict(key for key in keys if key is not None)
        self._fetched_at = time.monotonic()

    def key(self, kid: str) -> _Key | None:
        """Return a key; raise KeysUnavailable where what is kept is too old to tell."""
        if time.monotonic() >= self._fetched_at + USABLE_FOR:
            raise KeysUnavailable
        return self._keys.get(kid)


class Verifier:
    """Verifies access tokens, from any number of threads.

    Args:
        issuer: As tokens have it, with its slash: `https://mfa.example.com/`.
        audience: This resource server, such as `https://api.example.com/`.
        keys: Fetches the published keys; by default over HTTP from `<issuer>.well-known/keys.json`.
        algorithms: What tokens may be signed by: RS256, ES256, or both.
        leeway: Seconds by which clocks may differ, 60 at most.
        profile: The form of the API's tokens: `rfc9068`, or `auth0` where the operator chose it. Another is refused.
        clock: Tells the time in seconds since the Unix epoch.

    Raises:
        ValueError: One of them can't be right.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        keys: KeySource | None = None,
        algorithms: Sequence[str] = ("RS256", "ES256"),
        leeway: int = 5,
        profile: Profile = "rfc9068",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rules = _Rules(issuer, audience, algorithms, leeway, profile, clock)
        self._fetch = keys or http_keys(f"{issuer}.well-known/keys.json")
        self._kept = _Kept()
        self._fetching = threading.Lock()

    def verify(
        self, token: str, *, scopes: Iterable[str] = (), acr_values: Sequence[str] = (), max_age: int | None = None
    ) -> Claims:
        """Return what a token says, if it is good for this resource server now.

        Args:
            token: What follows `Bearer`.
            scopes: Which the token must have, all of them.
            acr_values: Any of which is enough, in the order of preference; a stronger one of ours is enough, too.
            max_age: Seconds since the user showed a factor; 0 wants one just now.

        Raises:
            TokenInvalid, InsufficientScope, InsufficientAuthentication: Answer with `http_status` and
                `www_authenticate()`, or over gRPC with `status()`.
            KeysUnavailable: Whether it is good can't be told.
        """
        kid, parts = self._rules.opened(token)
        if self._kept.due(kid):
            with self._fetching:
                if self._kept.due(kid):  # nobody fetched them while this one waited
                    self._refetch()
        claims = self._rules.checked(parts, self._kept.key(kid))
        self._rules.demand(claims, scopes, acr_values, max_age)
        return claims

    def _refetch(self) -> None:
        with suppress(Exception):  # whatever it is, the keys that are known go on
            self._kept.keep(self._fetch())
        self._kept.tried()


class AsyncVerifier:
    """As `Verifier`, for one event loop; `keys` is awaited."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        keys: AsyncKeySource | None = None,
        algorithms: Sequence[str] = ("RS256", "ES256"),
        leeway: int = 5,
        profile: Profile = "rfc9068",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rules = _Rules(issuer, audience, algorithms, leeway, profile, clock)
        fetch = http_keys(f"{issuer}.well-known/keys.json") if keys is None else None
        self._fetch: AsyncKeySource = keys or (lambda: asyncio.to_thread(fetch or dict))
        self._kept = _Kept()
        self._fetching = asyncio.Lock()

    async def verify(
        self, token: str, *, scopes: Iterable[str] = (), acr_values: Sequence[str] = (), max_age: int | None = None
    ) -> Claims:
        """Return what a token says, if it is good for this resource server now; see `Verifier.verify`."""
        kid, parts = self._rules.opened(token)
        if self._kept.due(kid):
            async with self._fetching:
                if self._kept.due(kid):
                    await self._refetch()
        claims = self._rules.checked(parts, self._kept.key(kid))
        self._rules.demand(claims, scopes, acr_values, max_age)
        return claims

    async def _refetch(self) -> None:
        with suppress(Exception):
            self._kept.keep(await asyncio.wait_for(self._fetch(), FETCH_TIMEOUT))
        self._kept.tried()


def http_keys(url: str) -> KeySource:
    """Return a source that fetches a JSON Web Key Set over HTTP, and follows no redirect.

    Raises:
        ValueError: The URL is not https, and its host is not this machine.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in ("localhost", "127.0.0.1", "::1")):
        raise ValueError("keys are fetched over https")
    opener = urllib.request.build_opener(_NoRedirect)

    def fetch() -> KeySet:
        with opener.open(url, timeout=FETCH_TIMEOUT) as answer:
            octets = answer.read(LARGEST_SET + 1)
        if len(octets) > LARGEST_SET:
            raise ValueError("the key set is too large")
        return _object(octets)

    return fetch


def grpc_keys(channel: Any) -> KeySource:
    """Return a source that asks over gRPC, for `Verifier`.

    Args:
        channel: A `grpc.Channel`.
    """
    stub = tokens_pb2_grpc.TokenServiceStub(channel)

    def fetch() -> KeySet:
        return _listed(stub.GetJsonWebKeySet(tokens_pb2.GetJsonWebKeySetRequest(), timeout=FETCH_TIMEOUT))

    return fetch


def aio_grpc_keys(channel: Any) -> AsyncKeySource:
    """Return a source that asks over gRPC, for `AsyncVerifier`.

    Args:
        channel: A `grpc.aio.Channel`.
    """
    stub: Any = tokens_pb2_grpc.TokenServiceStub(channel)

    async def fetch() -> KeySet:
        return _listed(await stub.GetJsonWebKeySet(tokens_pb2.GetJsonWebKeySetRequest(), timeout=FETCH_TIMEOUT))

    return fetch


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: whom a redirect names is not whom the operator named."""


def _listed(response: tokens_pb2.GetJsonWebKeySetResponse) -> KeySet:
    return {"keys": [{descriptor.name: value for descriptor, value in key.ListFields()} for key in response.keys]}


def _key(member: Any) -> tuple[str, _Key] | None:
    try:
        kid, algorithm = member["kid"], member["alg"]
        if not isinstance(kid, str) or member.get("use", "sig") != "sig":
            return None
        match member["kty"], algorithm:
            case "RSA", "RS256":
                n, e = (int.from_bytes(_octets(member[name])) for name in ("n", "e"))
                if not 2_048 <= n.bit_length() <= 8_192:
                    return None
                return kid, _Key(algorithm, rsa.RSAPublicNumbers(e, n).public_key())
            case "EC", "ES256" if member["crv"] == "P-256":
                x, y = (int.from_bytes(_octets(member[name])) for name in ("x", "y"))
                return kid, _Key(algorithm, ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key())
    except (KeyError, TypeError, ValueError, AttributeError, TokenInvalid):
        return None
    return None


def _signed(key: _Key, signing_input: bytes, signature: bytes) -> bool:
    try:
        if isinstance(key.public, rsa.RSAPublicKey):
            key.public.verify(signature, signing_input, padding.PKCS1v15(), _SHA256)
        else:
            if len(signature) != 64:  # RFC 7518 section 3.4
                return False
            r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
            key.public.verify(encode_dss_signature(r, s), signing_input, ec.ECDSA(_SHA256))
    except InvalidSignature:
        return False
    return True


def _meets(shown: str, wanted: str) -> bool:
    wanted = ACR_ALIASES.get(wanted, wanted)
    if wanted in ACR_LEVELS and shown in ACR_LEVELS:
        return ACR_LEVELS.index(shown) >= ACR_LEVELS.index(wanted)
    return bool(shown) and shown == wanted


def _instant(said: Mapping[str, Any], name: str) -> int:
    value = said.get(name)
    if type(value) is not int:
        _refuse("without times")
    return value


def _members(segment: str) -> dict[str, Any]:
    try:
        return _object(_octets(segment))
    except ValueError:
        _refuse()


def _octets(text: str) -> bytes:
    """Read base64url as it is written and no other way (RFC 4648 section 3.5)."""
    try:
        octets = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError:
        _refuse()
    if base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii") != text:
        _refuse()
    return octets


def _object(octets: bytes) -> dict[str, Any]:
    try:
        value = json.loads(octets.decode(), object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _refuse(why: str = "malformed or not genuine") -> NoReturn:
    raise TokenInvalid(f"The access token is {why}")
