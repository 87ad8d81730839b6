"""What devices of the Guardian wire sign, and what is not taken for it (ADR-17, W13)."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cofactor_server.domain.authenticators.acr import Level, level_of
from cofactor_server.domain.authenticators.proofs import (
    Approved,
    Denied,
    Mismatch,
    Prompt,
    Proof,
    Signed,
    Ticket,
    Verdict,
)
from cofactor_server.factors import guardian, rsa_keys
from cofactor_server.factors.push import Push, PushCredential, PushExpected
from cofactor_server.factors.registry import register

from tests.support.guardian import ACCEPTED, METHOD, REASON, RsaKey, base64url, jwt, minimal, rsa_key
from tests.unit.factors.devices import Phone
from tests.unit.factors.worlds import ALICE, ISSUER, NAMES, NOW, SECOND, SeededEntropy, at

RESOLVE = f"{ISSUER}appliance-mfa/api/resolve-transaction"
ACCOUNTS = f"{ISSUER}appliance-mfa/api/device-accounts"
IDENTIFIER = "a1b2c3d4e5f60718"
AT = NOW // SECOND
KEY = rsa_key()
DER = rsa_keys.to_der(KEY.jwk()["n"], KEY.jwk()["e"])
OTHER = rsa_key(which=1)
OWN_HOST = "https://tenant.guardian.example.com/"


def claims(**changes: Any) -> dict[str, Any]:
    said = {
        "iat": AT,
        "exp": AT + 30,
        "aud": RESOLVE,
        "iss": IDENTIFIER,
        "sub": NAMES.challenge_id,
        METHOD: "push",
        ACCEPTED: True,
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def answer(key: RsaKey = KEY, header: dict[str, Any] | None = None, **changes: Any) -> bytes:
    return jwt(key, header or {"alg": "RS256", "typ": "JWT"}, claims(**changes)).encode()


def numbered(*values: object) -> list[Any]:
    """Return parameters named by their place: what they hold is another at each run."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), id=str(n)) for n, value in enumerate(values)
    ]


def is_refused(call: Callable[[], object]) -> bool:
    """Whether a call raises what the parsing of untrusted octets raises."""
    try:
        call()
    except ValueError:
        return True
    return False


class Owner:
    """A user's phone, and what is kept of it."""

    def __init__(self, *, strict: bool = False) -> None:
        self.factor = Push(SeededEntropy(), strict=strict, guardian_url=OWN_HOST)
        enrollment = self.factor.enroll(ALICE, "", {})
        self.secret = Phone(enrollment.show["barcode_uri"], NAMES.user_id, NAMES.authenticator_id).secret
        self.credential: PushCredential = enrollment.credential
        self.pairing = self.factor.challenge(self.credential, at(NOW))

    def ticket(self, secret: str = "") -> Ticket:
        return Ticket(secret or self.secret, IDENTIFIER, "Alice's phone", DER, "FCM", "registration-token", b"t" * 32)

    def enroll(self) -> "Owner":
        verdict = self.present(self.ticket(), self.pairing)
        assert isinstance(verdict, Approved)
        self.credential = verdict.credential
        return self

    def prompt(self) -> Prompt[PushExpected]:
        return self.factor.challenge(self.credential, at(NOW))

    def present(self, proof: Proof, prompt: Prompt[PushExpected] | None = None) -> Verdict[PushCredential]:
        """Have a proof judged as the core does it: what can't be parsed is a mismatch."""
        face = register(self.factor)
        expected = face.encode((prompt or self.prompt()).expected)
        verdict = face.verify(face.encode(self.credential), expected, proof, at(NOW))
        if isinstance(verdict, Approved):
            return Approved(face.decode(verdict.credential), verdict.facts, verdict.unique, name=verdict.name)
        return verdict

    def judged(self, statement: bytes) -> Verdict[PushCredential]:
        return self.present(Signed(statement, b""))


@pytest.fixture(scope="module")
def owner() -> Owner:
    return Owner().enroll()


# Enrolling


def test_the_ticket_of_the_qr_code_enrolls_a_device_that_only_approves() -> None:
    owner = Owner()

    verdict = owner.present(owner.ticket(), owner.pairing)

    assert isinstance(verdict, Approved)
    assert verdict.credential == PushCredential(
        b"",
        DER,
        verdict.credential.push,
        approve_only=True,
        account=guardian.Device(IDENTIFIER, b"t" * 32),
    )
    assert level_of(verdict.facts) is Level.MFA_LOW
    assert verdict.name == "Alice's phone"
    assert verdict.unique


def test_another_ticket_enrolls_nothing() -> None:
    owner = Owner()

    assert isinstance(owner.present(owner.ticket("x" * 32), owner.pairing), Mismatch)


def test_a_ticket_enrolls_once() -> None:
    owner = Owner()
    ticket = owner.ticket()
    owner.enroll()

    assert isinstance(owner.present(ticket, owner.pairing), Mismatch)


@pytest.mark.requirement("S13")
def test_the_strict_profile_takes_no_device_that_only_approves() -> None:
    owner = Owner(strict=True)

    assert isinstance(owner.present(owner.ticket(), owner.pairing), Mismatch)


def test_nothing_secret_of_a_device_is_printed(owner: Owner) -> None:
    printed = repr((owner.credential, owner.prompt(), owner.ticket()))

    for secret in (IDENTIFIER, "registration-token", owner.secret, "txtkn"):
        assert secret not in printed


# Keys


@pytest.mark.parametrize("lead", [b"", b"\x00", b"\x00\x00"])
def test_zero_octets_before_a_modulus_do_not_matter(lead: bytes) -> None:
    jwk = KEY.jwk(lead=lead)

    assert rsa_keys.to_der(jwk["n"], jwk["e"]) == DER


@pytest.mark.parametrize(
    ("n", "e"),
    numbered(
        (rsa_key(1024).n, 65_537),
        (rsa_key(2048, 3).n, 3),
        (KEY.n, 3),
        (KEY.n, 1),
        (KEY.n, 0),
        (1 << 2046 | 1, 65_537),
        (1 << 4096 | 1, 65_537),
        (1 << 5000 | 1, 65_537),
        (0, 65_537),
    ),
)
def test_a_key_of_another_size_or_exponent_is_refused(n: int, e: int) -> None:
    assert is_refused(lambda: rsa_keys.to_der(base64url(minimal(n)), base64url(minimal(e))))


@pytest.mark.parametrize("n", ["", "AQAB=", "AQ AB", "AQ+B", "AQAB\n", "é", "A", "AQAC" * 300])
def test_a_number_that_is_spelled_otherwise_is_refused(n: str) -> None:
    assert is_refused(lambda: rsa_keys.to_der(n, "AQAB"))


def test_a_thumbprint_is_that_of_rfc_7638() -> None:
    """The example of its section 3.1."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3o"
        "knjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZH"
        "zu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEg"
        "U8awapJzKnqDKgw"
    )

    assert base64url(rsa_keys.thumbprint(n, "AQAB")) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert rsa_keys.thumbprint_of(rsa_keys.to_der(n, "AQAB")) == rsa_keys.thumbprint(n, "AQAB")


# Prompts


def test_a_prompt_carries_what_the_wire_names_and_no_number(owner: Owner) -> None:
    prompt = owner.prompt()

    assert prompt.show == {}
    assert prompt.send is not None
    assert prompt.send.to == "fcm:registration-token"
    pushed = dict(prompt.send.payload or {})
    assert json.loads(pushed.pop("s")) == {"b": {"n": "Shop", "v": ""}}
    assert json.loads(pushed.pop("l")) == {"n": "203.0.113.7"}
    token = pushed.pop("txtkn")
    assert pushed == {
        "dai": NAMES.authenticator_id.removeprefix("push|"),
        "d": "2023-11-14T22:13:30.000Z",
        "sh": ISSUER,
        "c": NAMES.challenge_id,
        "txlnkid": NAMES.challenge_id,
    }
    assert guardian.route(token) == (NAMES.user_id, NAMES.challenge_id)
    assert prompt.expected.transaction is not None
    assert prompt.expected.transaction.token_sha256 == hashlib.sha256(token.encode()).digest()


def test_every_prompt_has_a_token_of_its_own(owner: Owner) -> None:
    tokens = {(prompt.send.payload or {})["txtkn"] for _ in range(20) if (prompt := owner.prompt()).send}

    assert len(tokens) == 20


# Answers


def test_an_answer_approves(owner: Owner) -> None:
    verdict = owner.judged(answer())

    assert isinstance(verdict, Approved)
    assert level_of(verdict.facts) is Level.MFA_LOW
    assert verdict.credential == owner.credential


def test_an_answer_denies_with_or_without_a_reason(owner: Owner) -> None:
    for reason in (None, "I was asleep"):
        said: dict[str, Any] = {ACCEPTED: False, REASON: reason}
        assert isinstance(owner.judged(answer(**said)), Denied)


@pytest.mark.parametrize(
    "aud",
    [
        RESOLVE,
        RESOLVE.replace("https://", "HTTPS://"),
        RESOLVE.replace("mfa.example.com", "MFA.example.com:443"),
        f"{OWN_HOST}api/resolve-transaction",
        f"{OWN_HOST}appliance-mfa/api/resolve-transaction",
    ],
)
def test_an_answer_may_be_for_each_url_of_the_settings(owner: Owner, aud: str) -> None:
    assert isinstance(owner.judged(answer(aud=aud)), Approved)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://evil.example.com/appliance-mfa/api/resolve-transaction"},
        {"aud": RESOLVE.replace("https://", "http://")},
        {"aud": RESOLVE.replace(".com/", ".com:8443/")},
        {"aud": RESOLVE + "/"},
        {"aud": RESOLVE + "?x=1"},
        {"aud": RESOLVE + "#x"},
        {"aud": RESOLVE.replace("https://", "https://evil@")},
        {"aud": RESOLVE.replace("mfa.example.com", "mfa.example.com.evil.example")},
        {"aud": "https://[", "sub": NAMES.challenge_id},
        {"aud": ACCOUNTS},
        {"aud": f"{ISSUER}api/resolve-transaction"},
        {"aud": [RESOLVE]},
        {"aud": None},
        {"iss": "another phone"},
        {"iss": NAMES.authenticator_id},
        {"iss": None},
        {"sub": "5b" * 16},
        {"sub": NAMES.user_id},
        {"sub": None},
        {METHOD: "sms"},
        {METHOD: None},
        {ACCEPTED: "true"},
        {ACCEPTED: 1},
        {ACCEPTED: None},
        {"exp": AT + 61},
        {"exp": AT + 7200},
        {"exp": AT},
        {"exp": AT - 10},
        {"exp": None},
        {"iat": None},
        {"iat": str(AT)},
        {"iat": AT - 61, "exp": AT - 31},
        {"iat": AT + 31, "exp": AT + 61},
        {"iat": -(10**30), "exp": AT},
        {"iat": 0, "exp": 30},
    ],
)
def test_an_answer_for_another_url_device_challenge_method_or_time_is_none(
    owner: Owner, changes: dict[str, Any]
) -> None:
    assert isinstance(owner.judged(answer(**changes)), Mismatch)


@pytest.mark.parametrize(("iat", "life"), [(AT - 59, 30), (AT + 30, 30), (AT, 60), (AT, 1)])
def test_a_clock_may_be_half_a_minute_off(owner: Owner, iat: int, life: int) -> None:
    assert isinstance(owner.judged(answer(iat=iat, exp=iat + life)), Approved)


def test_an_answer_by_another_key_is_none(owner: Owner) -> None:
    assert isinstance(owner.judged(answer(OTHER)), Mismatch)


@pytest.mark.requirement("S106")
def test_a_header_that_brings_its_own_key_proves_nothing(owner: Owner) -> None:
    for brought in ({"jwk": OTHER.jwk()}, {"jku": "https://evil.example.com/jwks"}, {"kid": "other"}, {"x5c": ["x"]}):
        assert isinstance(owner.judged(answer(OTHER, {"alg": "RS256", "typ": "JWT", **brought})), Mismatch)


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "RS1", "RS512", "PS256", "ES256", "rs256", "", None, 256])
def test_every_other_algorithm_is_refused_though_the_key_signed(owner: Owner, alg: Any) -> None:
    assert isinstance(owner.judged(answer(header={"alg": alg, "typ": "JWT"})), Mismatch)


def test_a_header_without_an_algorithm_or_with_what_must_be_understood_is_refused(owner: Owner) -> None:
    for header in ({"typ": "JWT"}, {"alg": "RS256", "crit": ["b64"], "b64": False}, {"alg": "RS256", "crit": []}):
        assert isinstance(owner.judged(answer(header=header)), Mismatch)


def unsigned(header: dict[str, Any]) -> str:
    return f"{base64url(json.dumps(header).encode())}.{base64url(json.dumps(claims()).encode())}"


def test_no_signature_is_none(owner: Owner) -> None:
    for alg in ("none", "RS256"):
        assert isinstance(owner.judged(f"{unsigned({'alg': alg})}.".encode()), Mismatch)


@pytest.mark.parametrize("secret", numbered(DER, base64.b64encode(DER), KEY.jwk()["n"].encode(), b""))
def test_the_public_key_is_no_secret_of_an_hmac(owner: Owner, secret: bytes) -> None:
    signed = unsigned({"alg": "HS256", "typ": "JWT"})
    mac = base64url(hmac.digest(secret, signed.encode(), "sha256"))

    assert isinstance(owner.judged(f"{signed}.{mac}".encode()), Mismatch)


@pytest.mark.parametrize(
    "statement",
    numbered(
        b"",
        b".",
        b"..",
        b"a.b.c",
        b"a.b.c.d",
        b"\x00.\x00.\x00",
        b"\xff" * 100,
        b"x" * 100_000,
        b"." * 100_000,
        answer() + b".",
        answer() + b"=",
        b" " + answer(),
        answer()[:-4],
        answer().replace(b".", b"..", 1),
        jwt(KEY, {"alg": "RS256"}, claims(padding="x" * 5000)).encode(),
        jwt(KEY, {"alg": "RS256"}, [claims()]).encode(),  # type: ignore[arg-type]
        jwt(KEY, [], claims()).encode(),  # type: ignore[arg-type]
        jwt(KEY, {"alg": "RS256"}, None).encode(),  # type: ignore[arg-type]
    ),
)
def test_garbage_is_no_answer(owner: Owner, statement: bytes) -> None:
    assert isinstance(owner.judged(statement), Mismatch)


def test_every_octet_of_an_answer_counts(owner: Owner) -> None:
    good = answer()
    for place in range(0, len(good), 7):
        changed = bytearray(good)
        changed[place] = ord("A") if changed[place] != ord("A") else ord("B")
        assert isinstance(owner.judged(bytes(changed)), Mismatch), place


def test_a_device_of_this_wire_answers_only_in_its_words(owner: Owner) -> None:
    phone = Phone("otpauth://totp/x?enrollment_tx_id=x&base_url=x", NAMES.user_id, NAMES.authenticator_id)

    assert isinstance(owner.present(phone.sign(type="cofactor.answer")), Mismatch)
    assert isinstance(owner.present(owner.ticket()), Mismatch)


# What a device asks for itself


def check(statement: bytes, **changes: Any) -> None:
    given: dict[str, Any] = {"urls": guardian.Urls(ISSUER).accounts, "account": "dev_1", "user": "usr_1", "now": NOW}
    guardian.check_call(statement, DER, **{**given, **changes})


def asking(key: RsaKey = KEY, **changes: Any) -> bytes:
    said = {"iat": AT, "exp": AT + 7200, "aud": ACCOUNTS, "iss": "dev_1", "sub": "usr_1", **changes}
    return jwt(key, {"alg": "RS256", "typ": "JWT"}, said).encode()


def test_a_device_asks_for_itself_with_two_hours_at_most() -> None:
    check(asking())
    assert guardian.caller(asking()) == ("dev_1", "usr_1")


@pytest.mark.parametrize(
    "statement",
    numbered(
        asking(OTHER),
        asking(iss="dev_2"),
        asking(sub="usr_2"),
        asking(aud=RESOLVE),
        asking(aud=f"{ACCOUNTS}/dev_1"),
        asking(exp=AT + 7201),
        asking(iat=AT - 7231, exp=AT - 31),
        asking(iat=AT + 31),
        answer(),
    ),
)
def test_what_another_asks_or_for_another_url_or_time_is_refused(statement: bytes) -> None:
    assert is_refused(lambda: check(statement))


@pytest.mark.parametrize("sub", ["", "usr\x00", "usr 1", "é", "x" * 129, 5, None])
def test_a_name_that_no_row_has_is_not_looked_up(sub: Any) -> None:
    assert is_refused(lambda: guardian.caller(asking(sub=sub)))


def test_what_is_nested_too_deeply_is_not_looked_up() -> None:
    nested = base64url(b'{"iss":"dev_1","sub":"usr_1","x":' + b"[" * 2_900)

    assert is_refused(lambda: guardian.caller(f"e30.{nested}.AA".encode()))


# DPoP proofs


TOKEN = "usr_1~challenge~secret"
CONSENT = f"{ISSUER}rich-consents/challenge"


def proof(key: RsaKey = KEY, header: dict[str, Any] | None = None, **changes: Any) -> bytes:
    said = {
        "htu": CONSENT,
        "htm": "GET",
        "ath": base64url(hashlib.sha256(TOKEN.encode()).digest()),
        "jti": "once",
        "iat": AT,
        **changes,
    }
    return jwt(key, header or {"alg": "RS256", "typ": "dpop+jwt", "jwk": key.jwk()}, said).encode()


def present(statement: bytes) -> guardian.Presented:
    return guardian.presented(
        statement, DER, urls=guardian.Urls(ISSUER, OWN_HOST).consent("challenge"), token=TOKEN, now=NOW
    )


def test_a_proof_is_named_and_stays_so_for_a_minute() -> None:
    shown = present(proof())

    assert shown == guardian.Presented(hashlib.sha256(b"once").digest(), NOW + 60 * SECOND)
    assert present(proof(htu=f"{OWN_HOST}rich-consents/challenge")) == shown
    assert present(proof(header={"alg": "RS256", "typ": "dpop+jwt", "jwk": KEY.jwk(lead=b"")})) == shown


@pytest.mark.parametrize(
    "statement",
    numbered(
        proof(OTHER),
        proof(OTHER, {"alg": "RS256", "typ": "dpop+jwt", "jwk": KEY.jwk()}),
        proof(KEY, {"alg": "RS256", "typ": "dpop+jwt", "jwk": OTHER.jwk()}),
        proof(KEY, {"alg": "RS256", "typ": "dpop+jwt"}),
        proof(KEY, {"alg": "RS256", "typ": "JWT", "jwk": KEY.jwk()}),
        proof(KEY, {"alg": "RS256", "jwk": KEY.jwk()}),
        proof(KEY, {"alg": "none", "typ": "dpop+jwt", "jwk": KEY.jwk()}),
        proof(KEY, {"alg": "RS256", "typ": "dpop+jwt", "jwk": {**KEY.jwk(), "kty": "oct"}}),
        proof(htm="POST"),
        proof(htm="get"),
        proof(htu="https://evil.example.com/rich-consents/challenge"),
        proof(htu=f"{ISSUER}rich-consents/other"),
        proof(htu=f"{CONSENT}?x"),
        proof(ath=base64url(hashlib.sha256(b"another").digest())),
        proof(ath=""),
        proof(ath=TOKEN),
        proof(jti=""),
        proof(jti="x" * 257),
        proof(jti=5),
        proof(iat=AT - 61),
        proof(iat=AT + 61),
        answer(),
        b"garbage",
    ),
)
def test_another_proof_proves_nothing(statement: bytes) -> None:
    assert is_refused(lambda: present(statement))
