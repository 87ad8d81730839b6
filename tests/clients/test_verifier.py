"""The Python client's verifier, over tokens that a real deployment issues and over such as nobody should take."""

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cofactor.verifier import (
    AsyncVerifier,
    InsufficientAuthentication,
    InsufficientScope,
    KeysUnavailable,
    Refused,
    TokenInvalid,
    Verifier,
    aio_grpc_keys,
    http_keys,
)
from cofactor_server.domain.foundation.encoding import base64url
from google.rpc import code_pb2, error_details_pb2
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from joserfc.jws import JWSRegistry

from tests.support.flows.api import grpc_edge
from tests.support.flows.steps import enrolled, shop
from tests.support.world import API, ISSUER, world_on

NOW = 1_800_000_000
RSA = RSAKey.generate_key(2048, {"kid": "r1", "alg": "RS256", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "e1", "alg": "ES256", "use": "sig"})
KEYS: dict[str, Any] = {**KeySet([RSA, EC]).as_dict(private=False)}
REGISTRY = JWSRegistry(algorithms=["RS256", "PS256", "ES256", "HS256"])
MFA = "urn:cofactor:acr:mfa"
CLAIMS = {
    "iss": ISSUER,
    "sub": "usr_1",
    "aud": [API],
    "client_id": "cli_1",
    "jti": "j",
    "iat": NOW,
    "exp": NOW + 600,
    "auth_time": NOW - 100,
    "acr": MFA,
    "amr": ["pwd", "otp", "mfa"],
    "scope": "read:cart write:cart",
}


def signed(key: Any = RSA, payload: bytes = b"", header: Mapping[str, Any] | None = None, **claims: Any) -> str:
    """Return a token, whatever its header says; claims and header members that are None are left out."""
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    whole = {"alg": "ES256" if key is EC else "RS256", "typ": "at+jwt", "kid": key.kid, **(header or {})}
    whole = {name: value for name, value in whole.items() if value is not None}
    parts = (json.dumps(whole).encode(), payload or json.dumps(said).encode())
    text = ".".join(base64url(part) for part in parts)
    signature = REGISTRY.get_alg(whole["alg"]).sign(text.encode(), key)
    return f"{text}.{base64url(signature)}"


def without(name: str) -> str:
    return signed(payload=json.dumps({claim: value for claim, value in CLAIMS.items() if claim != name}).encode())


def checking(keys: Callable[[], Any] = lambda: KEYS, **more: Any) -> Verifier:
    return Verifier(ISSUER, API, keys=keys, clock=lambda: NOW, **more)


HEADER = {"alg": "none", "typ": "at+jwt", "kid": "r1"}
UNSIGNED = ".".join([*(base64url(json.dumps(part).encode()) for part in (HEADER, CLAIMS)), ""])


@pytest.mark.requirement("S108", "S130", "S152", "S153")
@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_token_of_a_real_deployment_is_read(database_url: str, algorithm: str) -> None:
    async with world_on(database_url) as world, grpc_edge(world) as api:
        client = await shop(world, algorithm=algorithm)
        tokens = (await enrolled(api, world, client, scope="openid")).tokens
        now = world.clock.now() / 1_000_000
        keys = aio_grpc_keys(world.app.local_channel())
        checker = AsyncVerifier(ISSUER, API, keys=keys, clock=lambda: now)

        claims = await checker.verify(tokens.access_token, scopes=["openid"], acr_values=[MFA], max_age=60)
        with pytest.raises(TokenInvalid):
            await checker.verify(tokens.id_token)
        with pytest.raises(TokenInvalid):
            await AsyncVerifier(ISSUER, "https://other.example.test/", keys=keys).verify(tokens.access_token)

    assert (claims.client_id, claims.acr) == (client[0], MFA)
    assert claims.amr == ("pwd", "otp", "mfa")


@pytest.mark.requirement("S156")
@pytest.mark.parametrize("audience", [API, [API], ["https://other.example.test/", API]])
@pytest.mark.parametrize("key", [RSA, EC])
def test_an_audience_is_one_text_or_several(key: Any, audience: Any) -> None:
    assert API in checking().verify(signed(key, aud=audience)).aud


@pytest.mark.requirement("S103", "S104", "S105", "S106", "S107", "S151", "S152", "S154", "S155", "S156", "S159")
@pytest.mark.parametrize(
    "token",
    [
        signed(header={"typ": "JWT"}),
        signed(header={"typ": None}),
        signed(header={"typ": "application/jwt"}),
        signed(header={"alg": "PS256"}),
        signed(OctKey.import_key(json.dumps(KEYS)), header={"alg": "HS256", "kid": "r1"}),
        signed(header={"kid": "e1"}),
        signed(header={"kid": None}),
        signed(header={"kid": "unknown"}),
        signed(header={"cty": "JWT"}),
        signed(header={"zip": "DEF"}),
        signed(RSAKey.generate_key(2048, {"kid": "r1"}), header={"jwk": RSA.as_dict(private=False)}),
        signed(RSAKey.generate_key(2048, {"kid": "r1"}), header={"jku": "https://evil.example.test/"}),
        UNSIGNED,
        signed(payload=b'{"iss":"a","iss":"b"}'),
        signed(payload=b"[]"),
        signed(payload=b"[" * 4_000),
        signed(scope="x" * 9_000),
        signed(iss="https://other.example.test/"),
        *(without(name) for name in ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")),
        signed(aud=[]),
        signed(aud=""),
        signed(aud=["https://other.example.test/"]),
        signed(aud=[API, 7]),
        signed(exp=NOW - 5),
        signed(exp=NOW - 3_600),
        signed(exp="4000000000"),
        signed(exp=4e9),
        signed(iat=NOW + 6),
        signed(nbf=NOW + 6),
        signed(scope=["read:cart"]),
        signed() + "A",
        signed()[:-4],
        signed().replace(".", "..", 1),
        "",
        "Fe26.2*opaque",
    ],
)
def test_what_is_no_access_token_of_now_for_us_is_refused(token: str) -> None:
    with pytest.raises(TokenInvalid) as refused:
        checking().verify(token)
    assert refused.value.http_status == 401
    assert refused.value.www_authenticate().startswith('Bearer error="invalid_token"')


@pytest.mark.requirement("S159")
@given(st.text(max_size=200) | st.lists(st.text(max_size=60), min_size=3, max_size=3).map(".".join))
def test_whatever_is_presented_is_refused_and_nothing_breaks(token: str) -> None:
    with pytest.raises(TokenInvalid):
        checking().verify(token)


@pytest.mark.requirement("S155")
def test_clocks_may_differ_a_little_and_no_more() -> None:
    assert checking().verify(signed(exp=NOW - 4)).exp == NOW - 4
    assert checking().verify(signed(iat=NOW + 5)).iat == NOW + 5
    with pytest.raises(TokenInvalid):
        checking(leeway=0).verify(signed(exp=NOW))
    with pytest.raises(ValueError, match="leeway"):
        checking(leeway=61)


@pytest.mark.parametrize("algorithms", [["HS256"], ["none"], []])
def test_no_other_algorithm_can_be_allowed(algorithms: list[str]) -> None:
    with pytest.raises(ValueError, match="algorithms"):
        checking(algorithms=algorithms)
    with pytest.raises(TokenInvalid):
        checking(algorithms=["ES256"]).verify(signed())


@pytest.mark.requirement("S108", "S127", "S128", "S131", "S132")
@pytest.mark.parametrize(
    ("acr_values", "max_age", "good"),
    [
        ((), None, True),
        ((MFA,), None, True),
        (("urn:cofactor:acr:mfa-low",), None, True),
        (("http://schemas.openid.net/pape/policies/2007/06/multi-factor",), None, True),
        (("urn:cofactor:acr:phr",), None, False),
        (("urn:cofactor:acr:phr", MFA), None, True),
        (("urn:example:gold",), None, False),
        ((), 100, True),
        ((), 94, False),
        ((), 0, False),
        ((MFA,), 100, True),
        (("urn:cofactor:acr:phrh",), 100, False),
    ],
)
def test_a_token_shows_what_is_demanded_or_the_client_is_told_what(
    acr_values: tuple[str, ...], max_age: int | None, good: bool
) -> None:
    try:
        checking().verify(signed(), acr_values=acr_values, max_age=max_age)
    except InsufficientAuthentication as refused:
        assert not good
        header = refused.www_authenticate()
        assert header.startswith('Bearer error="insufficient_user_authentication", ')
        assert (f'acr_values="{" ".join(acr_values)}"' in header) == bool(acr_values)
        assert (f'max_age="{max_age}"' in header) == (max_age is not None)
    else:
        assert good


@pytest.mark.requirement("S131")
def test_who_just_showed_a_factor_meets_a_max_age_of_nothing() -> None:
    assert checking().verify(signed(auth_time=NOW), max_age=0).auth_time == NOW
    with pytest.raises(InsufficientAuthentication):
        checking().verify(signed(auth_time=None), max_age=0)


@pytest.mark.requirement("S129")
def test_over_grpc_the_challenge_is_an_error_info() -> None:
    with pytest.raises(InsufficientAuthentication) as refused:
        checking().verify(signed(), acr_values=["urn:cofactor:acr:phr", "urn:cofactor:acr:phrh"], max_age=9)
    status, info = refused.value.status(), error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert status.code == code_pb2.UNAUTHENTICATED
    assert info.reason == "INSUFFICIENT_USER_AUTHENTICATION"
    assert dict(info.metadata) == {"acr_values": "urn:cofactor:acr:phr urn:cofactor:acr:phrh", "max_age": "9"}


def test_a_scope_that_is_missing_is_named() -> None:
    with pytest.raises(InsufficientScope) as refused:
        checking().verify(signed(), scopes=["read:cart", "admin"])
    assert (refused.value.http_status, refused.value.status().code) == (403, code_pb2.PERMISSION_DENIED)
    assert 'error="insufficient_scope"' in refused.value.www_authenticate()
    assert 'scope="read:cart admin"' in refused.value.www_authenticate()


class Published:
    """A source that counts, and may be away."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = KEYS
        self.fetches = 0
        self.away = False

    def __call__(self) -> dict[str, Any]:
        self.fetches += 1
        if self.away:
            raise OSError
        return self.keys


@pytest.fixture
def elapse(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the verifier's own seconds pass."""
    passed = [1_000.0]

    def elapse(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr("cofactor.verifier.time.monotonic", lambda: passed[0])
    return elapse


@pytest.mark.requirement("S154", "S158")
def test_keys_are_kept_and_a_new_one_is_fetched_when_a_token_names_it(elapse: Callable[[float], None]) -> None:
    published = Published()
    checker = checking(published)
    for _ in range(5):
        checker.verify(signed())
    assert published.fetches == 1

    newer = RSAKey.generate_key(2048, {"kid": "r2", "alg": "RS256", "use": "sig"})
    published.keys = {**KeySet([RSA, newer]).as_dict(private=False)}
    elapse(30)
    checker.verify(signed(newer))
    assert published.fetches == 2

    published.keys = {**KeySet([newer]).as_dict(private=False)}
    elapse(300)
    with pytest.raises(TokenInvalid):
        checker.verify(signed())


def test_unknown_keys_cause_no_flood_of_fetches(elapse: Callable[[float], None]) -> None:
    published = Published()
    checker = checking(published)
    for number in range(50):
        elapse(1)
        with pytest.raises(TokenInvalid):
            checker.verify(signed(header={"kid": f"made up {number}"}))
    assert published.fetches == 2


def test_keys_that_are_known_go_on_for_an_hour_while_nobody_answers(elapse: Callable[[float], None]) -> None:
    published = Published()
    checker = checking(published)
    checker.verify(signed())
    published.away = True
    elapse(3_599)
    checker.verify(signed())
    elapse(1)
    with pytest.raises(KeysUnavailable):
        checker.verify(signed())


def test_without_keys_nothing_can_be_told() -> None:
    published = Published()
    published.away = True
    checker = checking(published)
    with pytest.raises(KeysUnavailable):
        checker.verify(signed())
    with pytest.raises(KeysUnavailable):
        checker.verify(signed())
    assert published.fetches == 1


def test_threads_that_come_at_once_fetch_once_and_all_wait_for_it() -> None:
    published, gate = Published(), threading.Barrier(8)
    checker = checking(published)

    def verified(_: int) -> str:
        gate.wait(10)
        return checker.verify(signed()).sub

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(verified, range(8))) == {"usr_1"}
    assert published.fetches == 1


async def test_tasks_that_come_at_once_fetch_once_and_all_wait_for_it() -> None:
    published = Published()

    async def fetch() -> dict[str, Any]:
        await asyncio.sleep(0)
        return published()

    checker = AsyncVerifier(ISSUER, API, keys=fetch, clock=lambda: NOW)
    verified = await asyncio.gather(*(checker.verify(signed()) for _ in range(8)))
    assert {claims.sub for claims in verified} == {"usr_1"}
    assert published.fetches == 1


def test_keys_that_cannot_be_read_are_left_out() -> None:
    odd: list[Any] = [7, {}, {"kid": "x", "alg": "RS256", "kty": "RSA", "n": "AQ", "e": "AQAB"}, {"kid": 7}]
    assert checking(lambda: {"keys": [*odd, *KEYS["keys"]]}).verify(signed()).sub == "usr_1"


@pytest.mark.parametrize("url", ["http://mfa.example.test/keys", "file:///etc/passwd", "ftp://localhost/keys"])
def test_keys_are_not_fetched_in_the_clear(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        http_keys(url)


def test_every_refusal_can_be_caught_as_one() -> None:
    assert issubclass(TokenInvalid, Refused)
    assert issubclass(InsufficientScope, Refused)
    assert issubclass(InsufficientAuthentication, Refused)
