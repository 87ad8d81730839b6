"""Prompts on a device: how one pairs, what it signs, and what is not taken for its answer."""

import hashlib
import json
from typing import Any

import pytest
from cofactor_server.domain.authenticators.acr import Level, level_of
from cofactor_server.domain.authenticators.proofs import (
    Account,
    Approved,
    Code,
    Denied,
    Mismatch,
    Possession,
    Prompt,
    Signed,
    Verdict,
)
from cofactor_server.domain.foundation.values import replace
from cofactor_server.errors import InvalidRequest
from cofactor_server.factors import device_keys
from cofactor_server.factors.push import (
    LONGEST_STATEMENT,
    Answer,
    Pair,
    Push,
    PushCredential,
    PushExpected,
    Remove,
    Update,
    Watch,
    statement,
)
from cofactor_server.factors.registry import register
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.unit.factors.devices import Phone, base64url
from tests.unit.factors.ed25519 import Ed25519
from tests.unit.factors.worlds import ALICE, ISSUER, NAMES, NOW, SECOND, SeededEntropy, at

THIEF = Ed25519(b"thief".ljust(32))


class Owner:
    """A user, the device, and what is kept of it."""

    def __init__(self, *, strict: bool = False, account: Account = ALICE) -> None:
        self.entropy = SeededEntropy()
        self.factor = Push(self.entropy, strict=strict)
        self.enrollment = self.factor.enroll(account, "", {})
        self.credential: PushCredential = self.enrollment.credential
        self.phone = Phone(self.enrollment.show["barcode_uri"], NAMES.user_id, NAMES.authenticator_id)

    def pair(self, **changes: Any) -> "Owner":
        verdict = self.present(self.phone.pair(**changes))
        assert isinstance(verdict, Approved)
        self.credential = verdict.credential
        return self

    def prompt(self, now: int = NOW) -> Prompt[PushExpected]:
        return self.factor.challenge(self.credential, at(now))

    def present(self, proof: Signed | Code, prompt: Prompt[PushExpected] | None = None) -> Verdict[PushCredential]:
        """Have a proof judged as the core does it: what can't be parsed is a mismatch."""
        expected = (prompt or self.prompt()).expected
        face = register(self.factor)
        verdict = face.verify(face.encode(self.credential), face.encode(expected), proof, at(NOW))
        if isinstance(verdict, Approved):
            return Approved(
                face.decode(verdict.credential), verdict.facts, verdict.unique, verdict.show, name=verdict.name
            )
        return verdict


# Enrolling and pairing


@pytest.mark.requirement("S18")
def test_of_the_pairing_secret_only_a_hash_is_kept() -> None:
    owner = Owner()
    (secret,) = (drawn for drawn in owner.entropy.drawn if isinstance(drawn, str))

    assert len(secret) == 32
    assert f"enrollment_tx_id={secret}&" in owner.enrollment.show["barcode_uri"]
    assert owner.credential.secret_sha256 == hashlib.sha256(secret.encode()).digest()
    assert owner.enrollment.unique == hashlib.sha256(secret.encode()).hexdigest()


def test_the_code_to_scan_has_the_shape_of_the_wire() -> None:
    uri = Owner().enrollment.show["barcode_uri"]

    assert uri.startswith("otpauth://totp/Acme%20Corp:alice%40example.com?enrollment_tx_id=")
    assert uri.endswith("&base_url=https%3A%2F%2Fmfa.example.com%2F")


def test_there_are_no_options() -> None:
    with pytest.raises(InvalidRequest):
        Push(SeededEntropy()).enroll(ALICE, "", {"number": "off"})


@pytest.mark.requirement("S18")
def test_of_a_device_its_public_key_is_kept_and_named_by_its_hash() -> None:
    owner = Owner()
    verdict = owner.present(owner.phone.pair())

    assert isinstance(verdict, Approved)
    assert verdict.credential.secret_sha256 == b""
    assert verdict.credential.key.endswith(owner.phone.key.public)
    assert verdict.unique == device_keys.fingerprint(verdict.credential.key)
    assert verdict.name == "Alice's phone"


def test_a_device_pairs_once() -> None:
    owner = Owner()
    pairing = owner.phone.pair()
    owner.pair()

    assert owner.present(pairing) == Mismatch()
    assert owner.present(owner.phone.pair(THIEF)) == Mismatch()


@pytest.mark.parametrize(
    "changes",
    [
        {"secret_sha256": base64url(hashlib.sha256(b"guess").digest())},
        {"secret_sha256": base64url(b"")},
        {"secret_sha256": ""},
        {"issuer": "https://mfa.example.org/"},
        {"version": 2},
        {"type": "cofactor.answer"},
        {"surprise": True},
        {"key": {"kty": "OKP", "crv": "Ed25519", "x": base64url(THIEF.public)}},
        {"key": {"kty": "OKP", "crv": "X25519", "x": base64url(THIEF.public)}},
        {"key": {"kty": "OKP", "crv": "Ed25519", "x": base64url(THIEF.public[:31])}},
        {"key": {"kty": "EC", "crv": "P-256", "x": base64url(b"\1" * 32), "y": base64url(b"\1" * 32)}},
        {"key": {"kty": "EC", "crv": "P-384", "x": base64url(b"\1" * 32), "y": base64url(b"\1" * 32)}},
        {"key": {"kty": "oct", "k": base64url(b"\1" * 32)}},
        {"push": {"service": "MQTT", "token": "t"}},
        {"push": {"service": "FCM", "token": ""}},
        {"push": {"service": "FCM", "token": "line\nbreak"}},
        {"name": 7},
    ],
)
def test_a_pairing_that_says_anything_else_is_refused(changes: dict[str, Any]) -> None:
    owner = Owner()

    assert owner.present(owner.phone.pair(**changes)) == Mismatch()


def test_a_pairing_has_to_be_signed_by_the_key_it_brings() -> None:
    owner = Owner()
    pairing = owner.phone.pair()

    assert owner.present(replace(pairing, signature=THIEF.sign(pairing.payload))) == Mismatch()
    assert owner.present(replace(pairing, signature=b"")) == Mismatch()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("", ""),
        ("Pixel 9\n", "Pixel 9"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("\0\x1b[2J", "[2J"),
        ("x" * 70, "x" * 64),
        ("Téléphone 📱", "Téléphone 📱"),
    ],
)
def test_a_devices_name_holds_nothing_unseen(name: str, kept: str) -> None:
    owner = Owner()
    verdict = owner.present(owner.phone.pair(name=name))

    assert isinstance(verdict, Approved)
    assert verdict.name == kept


# Prompts


@pytest.mark.requirement("S10", "S13", "S97")
def test_the_number_is_shown_to_the_login_and_never_sent_to_the_device() -> None:
    owner = Owner().pair()
    prompt = owner.prompt()
    number = prompt.show["number"]

    assert (len(number), number.isdigit(), prompt.send is not None) == (6, True, True)
    assert number == owner.entropy.drawn[-1]
    assert number not in json.dumps(prompt.send.payload if prompt.send else "")
    assert number not in str(prompt.expected.shown) + str(prompt.expected.mac)


def test_the_device_shows_for_what_and_whom_and_from_where_it_is_asked() -> None:
    shown = json.loads(Owner().pair().prompt().expected.shown)

    assert shown == {
        "account": "alice@example.com",
        "application": "Shop",
        "address": "203.0.113.7",
        "time": NOW // SECOND,
    }


@pytest.mark.requirement("S179")
def test_what_a_payment_is_about_is_shown_and_signed() -> None:
    owner = Owner().pair()
    context = replace(at(NOW), transaction={"amount": "12.00 EUR", "payee": "Shop"})
    prompt = owner.factor.challenge(owner.credential, context)

    assert json.loads(prompt.expected.shown)["transaction"] == {"amount": "12.00 EUR", "payee": "Shop"}
    assert isinstance(owner.present(owner.phone.decide(prompt, NOW), prompt), Approved)
    assert owner.present(owner.phone.decide(owner.prompt(), NOW, number=prompt.show["number"]), prompt) == Mismatch()


def test_nothing_is_sent_to_a_device_without_a_push_service() -> None:
    prompt = Owner().pair(push=None).prompt()

    assert prompt.send is None
    assert prompt.expected.shown


def test_a_push_goes_to_the_service_of_the_device() -> None:
    message = Owner().pair(push={"service": "APNS", "token": "0f0f"}).prompt().send

    assert message is not None
    assert (message.channel, message.to, message.code) == ("push", "apns:0f0f", "")


# Answers


def test_an_approval_proves_a_key_in_software() -> None:
    owner = Owner().pair()
    prompt = owner.prompt()
    verdict = owner.present(owner.phone.decide(prompt, NOW), prompt)

    assert isinstance(verdict, Approved)
    assert (verdict.facts.amr, verdict.facts.possession) == (("swk", "pop"), Possession.SOFTWARE)
    assert level_of(verdict.facts) is Level.MFA
    assert not verdict.facts.phishing_resistant


@pytest.mark.requirement("S13")
def test_a_device_that_only_approves_proves_less() -> None:
    owner = Owner().pair(approve_only=True)
    prompt = owner.prompt()
    verdict = owner.present(owner.phone.decide(prompt, NOW), prompt)

    assert prompt.show == {}
    assert isinstance(verdict, Approved)
    assert level_of(verdict.facts) is Level.MFA_LOW


@pytest.mark.requirement("S13")
def test_the_strict_profile_refuses_a_device_that_only_approves() -> None:
    owner = Owner(strict=True)

    assert owner.present(owner.phone.pair(approve_only=True)) == Mismatch()


def test_no_is_a_denial() -> None:
    owner = Owner().pair()
    prompt = owner.prompt()

    assert owner.present(owner.phone.decide(prompt, NOW, decision="deny", number=""), prompt) == Denied()


@pytest.mark.requirement("S13", "S97")
@pytest.mark.parametrize("number", ["", "000000", "12345", "1234567", "٤٩٣٠١٨", "49301 "])
def test_one_wrong_number_denies(number: str) -> None:
    owner = Owner().pair()
    prompt = owner.prompt()
    assert prompt.show["number"] != number

    assert owner.present(owner.phone.decide(prompt, NOW, number=number), prompt) == Denied()


def test_a_device_that_only_approves_has_no_number_to_guess() -> None:
    owner = Owner().pair(approve_only=True)
    prompt = owner.prompt()

    assert owner.present(owner.phone.decide(prompt, NOW, number="123456"), prompt) == Denied()


@pytest.mark.parametrize(
    "changes",
    [
        {"challenge": "00" * 16},
        {"challenge": ""},
        {"user": "usr_mallory"},
        {"device": "push|dev_0000000000000000"},
        {"issuer": "https://mfa.example.org/"},
        {"shown_sha256": base64url(hashlib.sha256(b'{"application":"Bank"}').digest())},
        {"shown_sha256": ""},
        {"version": 2},
        {"version": True},
        {"type": "cofactor.watch"},
        {"decision": "maybe"},
        {"decision": None},
        {"surprise": 1},
        {"time": NOW // SECOND - 301},
        {"time": NOW // SECOND + 301},
        {"time": 10**30},
        {"time": "now"},
    ],
)
def test_an_answer_to_anything_else_is_no_answer(changes: dict[str, Any]) -> None:
    owner = Owner().pair()
    prompt = owner.prompt()

    assert owner.present(owner.phone.decide(prompt, NOW, **changes), prompt) == Mismatch()


def test_an_answer_of_another_key_is_no_answer_and_no_denial() -> None:
    owner = Owner().pair()
    prompt = owner.prompt()

    assert owner.present(owner.phone.decide(prompt, NOW, THIEF), prompt) == Mismatch()
    assert owner.present(owner.phone.decide(prompt, NOW, THIEF, decision="deny"), prompt) == Mismatch()


def test_a_signature_over_other_octets_is_no_answer() -> None:
    owner = Owner().pair()
    prompt = owner.prompt()
    denied = owner.phone.decide(prompt, NOW, decision="deny")
    approved = owner.phone.decide(prompt, NOW)

    assert owner.present(replace(approved, signature=denied.signature), prompt) == Mismatch()
    assert owner.present(replace(approved, payload=approved.payload + b" "), prompt) == Mismatch()


def test_an_answer_is_for_no_earlier_prompt() -> None:
    owner = Owner().pair()
    first, second = owner.prompt(), owner.prompt(NOW + SECOND)

    assert owner.present(owner.phone.decide(first, NOW), second) == Mismatch()


def test_a_code_is_no_answer() -> None:
    owner = Owner().pair()
    prompt = owner.prompt()

    assert owner.present(Code(prompt.show["number"]), prompt) == Mismatch()


def test_the_enrollments_prompt_is_answered_by_nothing_once_paired() -> None:
    owner = Owner()
    pairing = owner.prompt()
    owner.pair()
    said = owner.phone.decide(owner.prompt(), NOW, shown_sha256=base64url(hashlib.sha256(b"").digest()))

    assert owner.present(said, pairing) == Mismatch()


# Keys


def test_a_key_on_p256_signs_in_der() -> None:
    owner = Owner()
    key = ec.generate_private_key(ec.SECP256R1())
    numbers = key.public_key().public_numbers()
    x, y = base64url(numbers.x.to_bytes(32)), base64url(numbers.y.to_bytes(32))

    def sign(signed: Signed) -> Signed:
        return replace(signed, signature=key.sign(signed.payload, ec.ECDSA(SHA256())))

    paired = owner.present(sign(owner.phone.pair(key={"kty": "EC", "crv": "P-256", "x": x, "y": y})))
    assert isinstance(paired, Approved)
    owner.credential = paired.credential
    prompt = owner.prompt()

    assert isinstance(owner.present(sign(owner.phone.decide(prompt, NOW)), prompt), Approved)
    assert owner.present(owner.phone.decide(prompt, NOW), prompt) == Mismatch()


def test_a_key_of_another_kind_signs_nothing() -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    assert not device_keys.signed_by(der, b"payload", b"signature")
    assert not device_keys.signed_by(b"no key", b"payload", b"signature")


@pytest.mark.parametrize("text", ["", "AA", "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "=", "A" * 42 + "é"])
def test_octets_are_spelled_in_one_way(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64url|32 octets|ASCII"):
        device_keys.octets(text)


def test_a_statement_is_of_a_bounded_length() -> None:
    with pytest.raises(ValueError, match="too long"):
        statement(Signed(b" " * (LONGEST_STATEMENT + 1), b""), Update)


@pytest.mark.parametrize("kind", [Answer, Pair, Remove, Update, Watch])
def test_a_statement_says_what_it_is(kind: type[Any]) -> None:
    phone = Owner().phone
    shown = b"{}"
    stated: dict[Any, Signed] = {
        Answer: phone.state("5a" * 16, shown, "123456", NOW),
        Pair: phone.pair(),
        Remove: phone.call("remove", "nonce"),
        Update: phone.call("update", "nonce"),
        Watch: phone.call("watch", "nonce"),
    }
    members = json.loads(stated[kind].payload)
    del members["type"]
    nameless = Signed(json.dumps(members).encode(), b"")

    assert isinstance(statement(stated[kind], kind), kind)
    for other, signed in stated.items():
        if other is not kind:
            with pytest.raises(ValueError, match=r".+"):
                statement(signed, kind)
    with pytest.raises(ValueError, match="type"):
        statement(nameless, kind)


def test_a_secret_is_in_no_repr() -> None:
    owner = Owner().pair()
    prompt = owner.prompt()
    printed = repr((owner.enrollment, owner.credential, owner.credential.push, prompt, prompt.expected))

    assert "registration-token" not in printed
    assert owner.phone.secret not in printed
    assert prompt.show["number"] not in printed
    assert ISSUER not in printed
