import json
from typing import Any

import pytest
from cofactor_server.domain.foundation.encoding import base64url
from cofactor_server.vault import client_keys
from cofactor_server.vault.client_keys import AssertionInvalid, KeySetInvalid
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

RSA = RSAKey.generate_key(2048, {"kid": "r1"})
EC = ECKey.generate_key("P-256", {"kid": "e1"})
CLAIMS = {"sub": "cli_1"}


def public(*keys: RSAKey | ECKey, **more: Any) -> str:
    return json.dumps({"keys": [{**key.as_dict(private=False), **more} for key in keys]})


def signed(key: Any, payload: bytes = b"", **header: Any) -> str:
    octets = payload or json.dumps(CLAIMS).encode()
    registry = jws.JWSRegistry(
        algorithms=["RS256", "RS384", "PS256", "ES256", "RS512", "HS256", "none"], strict_check_header=False
    )
    return jws.serialize_compact({"typ": "JWT", **header}, octets, key, registry=registry)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (RSA, "RS384"), (RSA, "PS256"), (EC, "ES256")])
@pytest.mark.parametrize("named", [True, False])
def test_what_a_registered_key_signed_is_read(key: Any, algorithm: str, named: bool) -> None:
    registered = client_keys.normalized(public(RSA, EC))
    header = {"alg": algorithm, **({"kid": key.kid} if named else {})}
    assert client_keys.verify(registered, signed(key, **header)) == CLAIMS


@pytest.mark.requirement("S103", "S104", "S159")
@pytest.mark.parametrize(
    "assertion",
    [
        signed(RSAKey.generate_key(2048), alg="RS256"),
        signed(RSA, alg="RS256", kid="e1"),
        signed(RSA, alg="RS512"),
        signed(OctKey.import_key(public(RSA)), alg="HS256"),
        signed(RSA, alg="RS256", typ="at+jwt"),
        signed(RSA, alg="RS256", cty="JWT"),
        signed(RSAKey.generate_key(2048), alg="RS256", jwk=RSA.as_dict(private=False)),
        signed(RSA, b'{"sub":"cli_1","sub":"cli_2"}', alg="RS256"),
        signed(RSA, b"[]", alg="RS256"),
        signed(RSA, b'{"x":"' + b"x" * 3_000 + b'"}', alg="RS256"),
        base64url(b'{"alg":"none"}') + ".e30.",
        "a.b",
        "...",
        "",
    ],
)
def test_what_no_registered_key_signed_as_it_may_is_refused(assertion: str) -> None:
    with pytest.raises(AssertionInvalid):
        client_keys.verify(client_keys.normalized(public(RSA, EC)), assertion)


def test_a_key_that_states_its_algorithm_signs_by_no_other() -> None:
    registered = client_keys.normalized(public(RSA, alg="PS256"))
    client_keys.verify(registered, signed(RSA, alg="PS256"))
    with pytest.raises(AssertionInvalid):
        client_keys.verify(registered, signed(RSA, alg="RS256"))


def test_no_private_member_is_registered_and_no_unknown_one() -> None:
    registered = json.loads(client_keys.normalized(public(RSA, x5u="https://example.test/")))["keys"]
    assert [set(key) for key in registered] == [{"kty", "n", "e", "kid"}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON Web Key Set"),
        ("[]", "no JSON Web Key Set"),
        ('{"keys": 1}', "no JSON Web Key Set"),
        ('{"keys": []}', "no key"),
        (json.dumps({"keys": [RSA.as_dict(private=True)]}), "private"),
        (json.dumps({"keys": [{"kty": "oct", "k": "AAAA"}]}), "symmetric"),
        (json.dumps({"keys": [{"kty": "RSA", "n": base64url(b"\xff" * 128), "e": "AQAB"}]}), "2048"),
        (json.dumps({"keys": [{**RSA.as_dict(private=False), "e": "Aw"}]}), "65537"),
        (public(ECKey.generate_key("P-384")), "P-256"),
        (json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}), "can't be read"),
        (json.dumps({"keys": [{"kty": "RSA"}]}), "can't be read"),
        (json.dumps({"keys": [{"kty": "OKP"}]}), "neither RSA nor EC"),
        (public(RSA, RSA), "same kid"),
        (public(RSA, use="enc"), "not for signatures"),
        (public(RSA, alg="RS512"), "alg"),
        (public(RSA, kid=7), "kid"),
        (json.dumps({"keys": [{}] * 11}), "more than 10"),
        (" " * 40_000, "larger"),
    ],
)
def test_a_set_that_cannot_be_registered_is_told_why(text: str, why: str) -> None:
    with pytest.raises(KeySetInvalid, match=why):
        client_keys.normalized(text)


def test_an_assertion_names_its_client() -> None:
    assert client_keys.names(signed(RSA, alg="RS256")) == "cli_1"
    assert [client_keys.names(text) for text in ("", "a.b.c", "a.W10.c", "a.e30.c")] == [""] * 4
