"""Signed tokens and the published keys."""

import base64
import hmac
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType

import joserfc.jwk
import joserfc.jwt
import pytest
from cofactor_server.domain.foundation.encoding import base64url, from_base64url
from cofactor_server.seams import HOUR, MINUTE, SECOND, SystemEntropy
from cofactor_server.vault import jws as compact_jws
from cofactor_server.vault import signing
from cofactor_server.vault.signing import (
    Algorithm,
    NoSigningKey,
    SignatureInvalid,
    Signer,
    SigningKey,
    SigningKeyInvalid,
    TokenExpired,
    generate_signing_key,
    verify_times,
)
from cofactor_server.vault.signing_keys import PrivateKey
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws

from tests.unit.vault.worlds import NOON, SetClock

CLAIMS: dict[str, object] = {"iss": "https://mfa.example", "sub": "u1", "exp": 1_800_000_000, "amr": ["otp", "é"]}
RSA_KEY = generate_signing_key(Algorithm.RS256, SetClock(), SystemEntropy(), active_from=NOON)
EC_KEY = generate_signing_key(Algorithm.ES256, SetClock(), SystemEntropy(), active_from=NOON)
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def signer(clock: SetClock) -> Iterator[Signer]:
    made = Signer([RSA_KEY, EC_KEY], clock)
    yield made
    made.close()


def private(key: SigningKey) -> PrivateKey:
    loaded = serialization.load_pem_private_key(key.private_pem, None)
    assert isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    return loaded


def pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def forged(header: object, payload: object = CLAIMS, key: SigningKey = EC_KEY) -> str:
    """Sign, with a key of the server's own, what the server would not."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = ".".join(base64url(part) for part in parts)
    jwk: joserfc.jwk.Key
    if key.algorithm is Algorithm.ES256:
        jwk = joserfc.jwk.ECKey.import_key(key.private_pem)
    else:
        jwk = joserfc.jwk.RSAKey.import_key(key.private_pem)
    signature = jws.JWSRegistry.algorithms[key.algorithm].sign(signing_input.encode(), jwk)
    return f"{signing_input}.{base64url(signature)}"


HEADER = {"alg": "ES256", "typ": "at+jwt", "kid": EC_KEY.kid}
TOKEN = forged(HEADER)


@pytest.mark.requirement("S154")
@pytest.mark.parametrize("algorithm", list(Algorithm))
async def test_a_signed_token_verifies_with_the_published_keys_in_another_library(
    signer: Signer, algorithm: Algorithm
) -> None:
    token = await signer.sign(algorithm, "at+jwt", CLAIMS)
    keys = joserfc.jwk.KeySet.import_key_set(json.loads(json.dumps(signer.public_jwks())))
    read = joserfc.jwt.decode(token, keys, algorithms=[algorithm])
    assert read.claims == CLAIMS
    assert read.header == {"alg": algorithm, "typ": "at+jwt", "kid": read.header["kid"]}
    assert read.header["kid"] in (RSA_KEY.kid, EC_KEY.kid)


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("typ", ["at+jwt", "JWT"])
async def test_our_own_token_verifies(signer: Signer, algorithm: Algorithm, typ: str) -> None:
    assert signer.verify(await signer.sign(algorithm, typ, CLAIMS), typ=typ) == CLAIMS


async def test_claims_may_be_any_mapping(signer: Signer) -> None:
    token = await signer.sign(Algorithm.ES256, "JWT", MappingProxyType({"sub": "u1"}))
    assert signer.verify(token, typ="JWT") == {"sub": "u1"}


async def test_every_es256_signature_has_64_octets(signer: Signer) -> None:
    for _ in range(3_000):  # either component begins with a zero octet once in 256
        token = await signer.sign(Algorithm.ES256, "JWT", {})
        assert len(from_base64url(token.split(".")[2])) == 64


def test_the_kid_is_the_thumbprint_of_rfc_7638(signer: Signer) -> None:
    for jwk in signer.public_jwks()["keys"]:
        assert joserfc.jwk.import_key(dict(jwk)).thumbprint() == jwk["kid"]
    assert {jwk["kid"] for jwk in signer.public_jwks()["keys"]} == {RSA_KEY.kid, EC_KEY.kid}


@pytest.mark.requirement("S154")
def test_the_key_set_has_public_members_use_alg_and_kid_only(signer: Signer) -> None:
    members = {jwk["kty"]: set(jwk) for jwk in signer.public_jwks()["keys"]}
    assert members == {
        "RSA": {"kty", "n", "e", "use", "alg", "kid"},
        "EC": {"kty", "crv", "x", "y", "use", "alg", "kid"},
    }
    assert not PRIVATE_MEMBERS & (members["RSA"] | members["EC"])
    assert {(jwk["alg"], jwk["use"]) for jwk in signer.public_jwks()["keys"]} == {("RS256", "sig"), ("ES256", "sig")}


def test_a_key_set_that_is_changed_by_its_reader_is_not_ours(signer: Signer) -> None:
    signer.public_jwks()["keys"][0]["alg"] = "none"
    assert signer.public_jwks()["keys"][0]["alg"] == "RS256"


@pytest.mark.requirement("S158")
async def test_a_new_key_is_published_before_it_signs_and_the_old_one_verifies_until_it_retires(
    clock: SetClock,
) -> None:
    new = generate_signing_key(Algorithm.ES256, clock, SystemEntropy(), active_from=NOON + HOUR)
    old = replace(EC_KEY, retire_at=NOON + 2 * HOUR)
    signer = Signer([new, old], clock)

    def published() -> set[str]:
        return {jwk["kid"] for jwk in signer.public_jwks()["keys"]}

    async def signed() -> tuple[str, str]:
        token = await signer.sign(Algorithm.ES256, "JWT", {})
        return token, json.loads(from_base64url(token.split(".")[0]))["kid"]

    token, kid = await signed()
    assert kid == old.kid
    assert published() == {old.kid, new.kid}
    clock.time = NOON + HOUR
    assert (await signed())[1] == new.kid
    signer.verify(token, typ="JWT")
    clock.time = NOON + 2 * HOUR - 1
    signer.verify(token, typ="JWT")
    clock.time = NOON + 2 * HOUR
    assert published() == {new.kid}
    with pytest.raises(SignatureInvalid, match="unknown key"):
        signer.verify(token, typ="JWT")
    signer.close()


@pytest.mark.requirement("S158")
async def test_a_token_of_a_replica_whose_clock_is_ahead_verifies(clock: SetClock) -> None:
    new = generate_signing_key(Algorithm.ES256, clock, SystemEntropy(), active_from=NOON + MINUTE)
    here, ahead = Signer([EC_KEY, new], clock), Signer([EC_KEY, new], SetClock(NOON + MINUTE))
    assert here.verify(await ahead.sign(Algorithm.ES256, "JWT", CLAIMS), typ="JWT") == CLAIMS
    here.close()
    ahead.close()


async def test_nothing_is_signed_without_an_active_key_of_the_algorithm(clock: SetClock) -> None:
    early = replace(EC_KEY, active_from=NOON + 1)
    signer = Signer([early, RSA_KEY], clock)
    with pytest.raises(NoSigningKey):
        await signer.sign(Algorithm.ES256, "JWT", {})
    clock.time += 1
    assert await signer.sign(Algorithm.ES256, "JWT", {})
    signer.close()


async def test_keys_can_be_replaced_while_serving(signer: Signer, clock: SetClock) -> None:
    old = await signer.sign(Algorithm.ES256, "JWT", {})
    new = generate_signing_key(Algorithm.ES256, clock, SystemEntropy(), active_from=NOON)
    signer.replace_keys([new])
    with pytest.raises(SignatureInvalid):
        signer.verify(old, typ="JWT")
    assert signer.verify(await signer.sign(Algorithm.ES256, "JWT", CLAIMS), typ="JWT") == CLAIMS
    with pytest.raises(SigningKeyInvalid):
        signer.replace_keys([replace(new, private_pem=b"no key")])
    assert [jwk["kid"] for jwk in signer.public_jwks()["keys"]] == [new.kid]


@pytest.mark.parametrize(
    "keys",
    [
        [EC_KEY, EC_KEY],
        [replace(EC_KEY, algorithm=Algorithm.RS256)],
        [replace(RSA_KEY, algorithm=Algorithm.ES256)],
        [replace(EC_KEY, private_pem=b"")],
        [replace(EC_KEY, private_pem=pem(ec.generate_private_key(ec.SECP384R1())))],
        [replace(RSA_KEY, private_pem=pem(rsa.generate_private_key(65_537, 1_024)))],
    ],
)
def test_keys_that_cannot_sign_stop_the_start(keys: list[SigningKey], clock: SetClock) -> None:
    with pytest.raises(SigningKeyInvalid) as caught:
        Signer(keys, clock)
    assert "PRIVATE" not in str(caught.value)


def test_no_private_key_is_printed(signer: Signer) -> None:
    shown = [repr(RSA_KEY), repr(EC_KEY), repr(signer), repr(signer._keys)]
    assert not any("PRIVATE" in text for text in shown)


# --- what is refused ---------------------------------------------------------------------------------------------


def test_the_forger_of_these_tests_makes_good_tokens_too(signer: Signer) -> None:
    assert signer.verify(forged(HEADER), typ="at+jwt") == CLAIMS
    header = {"alg": "RS256", "typ": "at+jwt", "kid": RSA_KEY.kid}
    assert signer.verify(forged(header, key=RSA_KEY), typ="at+jwt") == CLAIMS


@pytest.mark.requirement("S103", "S154")
@pytest.mark.parametrize(
    "algorithm", ["none", "None", "", None, "HS256", "RS256", "ES384", "RS512", "PS256", ["ES256"]]
)
def test_an_algorithm_that_is_not_the_keys_is_refused(signer: Signer, algorithm: object) -> None:
    with pytest.raises(SignatureInvalid, match="not by the algorithm"):
        signer.verify(forged(HEADER | {"alg": algorithm}), typ="at+jwt")


@pytest.mark.requirement("S103")
@pytest.mark.parametrize("header", [HEADER, HEADER | {"alg": "none"}])
def test_a_token_without_signature_is_refused(signer: Signer, header: object) -> None:
    token = forged(header)
    for unsigned in (token.rpartition(".")[0] + ".", token.rpartition(".")[0]):
        with pytest.raises(SignatureInvalid):
            signer.verify(unsigned, typ="at+jwt")


@pytest.mark.requirement("S103")
def test_a_public_key_used_as_hmac_secret_is_refused(signer: Signer) -> None:
    for key in (RSA_KEY, EC_KEY):
        public = private(key).public_key()
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER):
            secret = public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
            for alg in ("HS256", key.algorithm.value):
                header = json.dumps({"alg": alg, "typ": "at+jwt", "kid": key.kid}).encode()
                signing_input = f"{base64url(header)}.{base64url(json.dumps(CLAIMS).encode())}"
                mac = hmac.digest(secret, signing_input.encode(), "sha256")
                with pytest.raises(SignatureInvalid):
                    signer.verify(f"{signing_input}.{base64url(mac)}", typ="at+jwt")


@pytest.mark.requirement("S104")
async def test_keys_that_a_token_brings_along_are_ignored(signer: Signer, clock: SetClock) -> None:
    mallory = generate_signing_key(Algorithm.ES256, clock, SystemEntropy(), active_from=NOON)
    her_signer = Signer([mallory], clock)
    jwk = her_signer.public_jwks()["keys"][0]
    her_signer.close()
    for brought in ({"jwk": jwk}, {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example/cert"}):
        for kid in (EC_KEY.kid, mallory.kid):
            with pytest.raises(SignatureInvalid):
                signer.verify(forged(HEADER | {"kid": kid} | brought, key=mallory), typ="at+jwt")
        assert signer.verify(forged(HEADER | brought), typ="at+jwt") == CLAIMS


@pytest.mark.requirement("S154")
@pytest.mark.parametrize("kid", [None, "", "unknown", "of the RSA key", 1, ["x"], {"a": "b"}])
def test_a_kid_that_does_not_name_the_signing_key_is_refused(signer: Signer, kid: object) -> None:
    with pytest.raises(SignatureInvalid):
        signer.verify(forged(HEADER | {"kid": RSA_KEY.kid if kid == "of the RSA key" else kid}), typ="at+jwt")
    with pytest.raises(SignatureInvalid):
        signer.verify(forged({name: value for name, value in HEADER.items() if name != "kid"}), typ="at+jwt")


@pytest.mark.requirement("S106")
async def test_a_token_of_another_type_is_refused(signer: Signer) -> None:
    id_token = await signer.sign(Algorithm.ES256, "JWT", CLAIMS)
    access_token = await signer.sign(Algorithm.ES256, "at+jwt", CLAIMS)
    for token, typ in [(id_token, "at+jwt"), (access_token, "JWT"), (access_token, "logout+jwt"), (access_token, "")]:
        with pytest.raises(SignatureInvalid, match="another type"):
            signer.verify(token, typ=typ)
    for given_typ in (None, 1, ["at+jwt"], "at+jwt ", "x/at+jwt"):
        with pytest.raises(SignatureInvalid, match="another type"):
            signer.verify(forged(HEADER | {"typ": given_typ}), typ="at+jwt")


@pytest.mark.requirement("S106")
def test_the_type_may_be_spelled_as_a_media_type(signer: Signer) -> None:
    for typ in ("at+jwt", "application/at+jwt", "AT+JWT", "Application/at+jwt"):
        assert signer.verify(forged(HEADER | {"typ": typ}), typ="at+jwt") == CLAIMS
    assert signer.verify(forged(HEADER), typ="application/at+jwt") == CLAIMS


@pytest.mark.requirement("S159")
@pytest.mark.parametrize(
    "member",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False},
        {"b64": True},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"cty": "JWT"},
    ],
)
def test_critical_nested_compressed_and_encrypted_forms_are_refused(signer: Signer, member: dict[str, object]) -> None:
    with pytest.raises(SignatureInvalid, match="refused"):
        signer.verify(forged(HEADER | member), typ="at+jwt")


@pytest.mark.requirement("S159")
def test_a_compressed_or_nested_payload_is_no_claims_set(signer: Signer) -> None:
    for payload in (zlib.compress(json.dumps(CLAIMS).encode()), forged(HEADER).encode(), ["a"], "a", 1, None, b""):
        with pytest.raises(SignatureInvalid):
            signer.verify(forged(HEADER, payload), typ="at+jwt")


@pytest.mark.requirement("S159")
def test_a_member_that_occurs_twice_is_refused(signer: Signer) -> None:
    header = json.dumps(HEADER).encode()
    with pytest.raises(SignatureInvalid, match="repeated"):
        signer.verify(forged(header[:-1] + b',"alg":"ES256"}'), typ="at+jwt")
    for payload in (b'{"sub":"u1","sub":"u2"}', b'{"sub":"u1","s\\u0075b":"u1"}', b'{"act":{"sub":"a","sub":"b"}}'):
        with pytest.raises(SignatureInvalid, match="repeated"):
            signer.verify(forged(HEADER, payload), typ="at+jwt")


@pytest.mark.requirement("S159")
async def test_a_token_over_8_kb_is_refused_and_never_made(signer: Signer) -> None:
    with pytest.raises(SignatureInvalid, match="length"):
        signer.verify(forged(HEADER, {"x": "x" * 8_000}), typ="at+jwt")
    with pytest.raises(ValueError, match="would not be accepted"):
        await signer.sign(Algorithm.ES256, "at+jwt", {"x": "x" * 8_000})
    claims = {"x": "x" * 5_900}
    assert signer.verify(await signer.sign(Algorithm.ES256, "at+jwt", claims), typ="at+jwt") == claims


@pytest.mark.requirement("S159")
@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        pytest.param("." * 8_000, id="dots"),
        "a.b.c.d.e",
        pytest.param("A" * 50_000_000, id="50 MB"),
        "é.é.é",
        "\ud800.\ud800.\ud800",
        pytest.param(base64url(b'{"alg":' + b"[" * 5_900) + "..", id="deep"),
        pytest.param(base64url(b'{"alg":' + b"9" * 5_900 + b"}") + "..", id="long number"),
        pytest.param(base64url(b"{" + b",".join(b'"%d":1' % n for n in range(600)) + b"}") + "..", id="wide"),
        json.dumps({"payload": "e30", "protected": "e30", "signature": ""}),
    ],
)
def test_garbage_is_refused_before_anything_is_computed(
    signer: Signer, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is a signature verified, nor more decoded than the longest token could hold."""
    decoded: list[int] = []

    def counted(text: str) -> bytes:
        decoded.append(len(text))
        return from_base64url(text)

    monkeypatch.setattr(signing, "_signed", lambda *_: 1 // 0)
    for module in (compact_jws, signing):
        monkeypatch.setattr(module, "from_base64url", counted)
    with pytest.raises(SignatureInvalid):
        signer.verify(token, typ="at+jwt")
    assert sum(decoded) <= signing.LONGEST


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
@pytest.mark.requirement("S159")
def test_an_altered_token_is_refused_whatever_was_altered(signer: Signer, data: st.DataObject) -> None:
    token = TOKEN
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from([c for c in "ABab09-_.=+ é\n\0" if c != token[place]]))
    for altered in (token[:place] + letter + token[place + 1 :], token[:place] + token[place + 1 :]):
        with pytest.raises(SignatureInvalid):
            signer.verify(altered, typ="at+jwt")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "jwk", "jku", "x5c", "x5u", "x5t", "crit", "b64", "p2c", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
    )
)
@pytest.mark.requirement("S159")
def test_any_header_gets_a_verdict(signer: Signer, header: dict[str, object]) -> None:
    for token in (forged(header), forged(header | {"x": 1} | HEADER)):
        with suppress(SignatureInvalid):
            signer.verify(token, typ="at+jwt")


@pytest.mark.requirement("S159")
def test_a_token_has_one_spelling(signer: Signer) -> None:
    for key in (EC_KEY, RSA_KEY):
        token = forged({"alg": key.algorithm.value, "typ": "at+jwt", "kid": key.kid}, key=key)
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        last = alphabet.index(token[-1])
        for other in (token[:-1] + alphabet[last ^ 1], token + "=", token + "==", token + "\n", " " + token):
            with pytest.raises(SignatureInvalid):
                signer.verify(other, typ="at+jwt")


def test_a_refusal_quotes_nothing_of_the_token(signer: Signer) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"SECRETISH"').decode()
    with pytest.raises(SignatureInvalid) as caught:
        signer.verify(f"{header}..", typ="at+jwt")
    assert "SECRETISH" not in str(caught.value)
    assert caught.value.__suppress_context__


# --- times -------------------------------------------------------------------------------------------------------


def test_a_token_expires_at_exp_and_with_leeway_later() -> None:
    claims = {"exp": 1_000}
    verify_times(claims, 1_000 * SECOND - 1)
    with pytest.raises(TokenExpired):
        verify_times(claims, 1_000 * SECOND)
    verify_times(claims, 1_030 * SECOND - 1, leeway_s=30)
    with pytest.raises(TokenExpired):
        verify_times(claims, 1_030 * SECOND, leeway_s=30)


def test_a_token_is_not_valid_before_nbf() -> None:
    claims = {"exp": 2_000, "nbf": 1_000}
    verify_times(claims, 1_000 * SECOND)
    verify_times(claims, 970 * SECOND, leeway_s=30)
    with pytest.raises(SignatureInvalid, match="not valid yet"):
        verify_times(claims, 1_000 * SECOND - 1)


@pytest.mark.parametrize(
    "claims", [{}, {"exp": "9"}, {"exp": None}, {"exp": True}, {"exp": 9e9}, {"exp": 9, "nbf": ""}]
)
def test_a_token_without_proper_times_is_refused(claims: dict[str, object]) -> None:
    with pytest.raises(SignatureInvalid, match="without times"):
        verify_times(claims, 0)
