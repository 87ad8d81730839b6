"""WebAuthn against a key in software that does one thing wrong at a time (WebAuthn Level 3 sections 7.1 and 7.2)."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from cofactor_server.domain.authenticators.acr import Level, level_of
from cofactor_server.domain.authenticators.proofs import (
    Account,
    Approved,
    Context,
    Denied,
    Mismatch,
    Possession,
    Prompt,
    PublicKeyCredential,
    Purpose,
)
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.relying_party import ANY_LOCALHOST, RelyingParty, UserVerification
from cofactor_server.errors import InvalidRequest
from cofactor_server.factors.webauthn import WebAuthn, WebAuthnCredential, WebAuthnExpected
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.factors import security_key
from tests.unit.factors.security_key import (
    BE,
    BS,
    EDDSA,
    ES256,
    ORIGIN,
    RP_ID,
    RS256,
    UP,
    AlreadyRegistered,
    Made,
    RsaKey,
    SecurityKey,
    b64,
    cbor,
    proof_of,
    unb64,
)
from tests.unit.factors.worlds import ALICE, MALLORY, NOW, RELYING_PARTY, SeededEntropy

Verdict = Approved[WebAuthnCredential] | Denied | Mismatch
REFUSED = Mismatch()


@dataclass
class Holder:
    """One account's credential at the relying party, and the key in its user's hand."""

    factor: WebAuthn
    key: SecurityKey
    credential: WebAuthnCredential
    siblings: tuple[WebAuthnCredential, ...] = ()

    def prompt(self) -> tuple[Prompt[WebAuthnExpected], dict[str, Any]]:
        prompt = self.factor.challenge(self.credential, self.context())
        return prompt, json.loads(prompt.show["public_key_json"])

    def context(self) -> Context:
        return Context("Shop", Purpose.LOGIN, NOW, siblings=self.siblings)

    def judge(self, prompt: Prompt[WebAuthnExpected], credential: dict[str, Any]) -> Verdict:
        return self.say(prompt, proof_of(credential))

    def say(self, prompt: Prompt[WebAuthnExpected], proof: PublicKeyCredential) -> Verdict:
        try:
            verdict = self.factor.verify(self.credential, prompt.expected, proof, self.context())
        except ValueError:  # what the registry takes for a mismatch
            return REFUSED
        if isinstance(verdict, Approved):
            self.credential = verdict.credential
        return verdict

    def take(self, **replaced: Any) -> Verdict:
        """Go through the next ceremony: the first registers."""
        prompt, options = self.prompt()
        do = self.key.create if "rp" in options else self.key.get
        return self.judge(prompt, do(options, **replaced))


def opened(
    key: SecurityKey | None = None,
    relying_party: RelyingParty = RELYING_PARTY,
    account: Account = ALICE,
    **options: str,
) -> Holder:
    factor = WebAuthn(SeededEntropy(), relying_party)
    return Holder(factor, key or SecurityKey(), factor.enroll(account, "", options).credential)


def registered(key: SecurityKey | None = None, relying_party: RelyingParty = RELYING_PARTY) -> Holder:
    account = opened(key, relying_party)
    assert isinstance(account.take(), Approved)
    return account


def approved(verdict: Verdict) -> Approved[WebAuthnCredential]:
    assert isinstance(verdict, Approved)
    return verdict


# Ceremonies that are right


@pytest.mark.requirement("S168")
@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256])
@pytest.mark.parametrize("attestation", ["none", "packed"])
def test_a_key_of_each_algorithm_registers_and_signs(algorithm: int, attestation: str) -> None:
    account = opened(SecurityKey(algorithm, attestation=attestation))

    verdicts = [account.take() for _ in range(3)]

    assert [type(verdict) for verdict in verdicts] == [Approved] * 3


@pytest.mark.requirement("S40", "S98", "S160")
def test_each_challenge_is_random_and_long() -> None:
    account = opened()

    challenges = {account.prompt()[1]["challenge"] for _ in range(20)}

    assert len(challenges) == 20
    assert {len(unb64(challenge)) for challenge in challenges} == {32}


def test_a_creation_says_who_asks_for_whom_and_wants_no_attestation() -> None:
    _, options = opened().prompt()

    assert options["rp"] == {"id": RP_ID, "name": "Acme Corp"}
    assert options["user"] == {"id": b64(b"usr_alice"), "name": "alice@example.com", "displayName": "alice@example.com"}
    assert [entry["alg"] for entry in options["pubKeyCredParams"]] == [ES256, EDDSA, RS256]
    assert (options["attestation"], options["timeout"]) == ("none", 300_000)
    assert options["authenticatorSelection"]["residentKey"] == "discouraged"


def test_a_passkey_is_made_on_request() -> None:
    _, options = opened(resident_key="true").prompt()

    selection = options["authenticatorSelection"]
    assert (selection["residentKey"], selection["requireResidentKey"]) == ("required", True)


@pytest.mark.parametrize(("name", "value"), [("resident_key", "perhaps"), ("digits", "6")])
def test_an_option_that_means_nothing_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        WebAuthn(SeededEntropy(), RELYING_PARTY).enroll(ALICE, "", {name: value})

    assert [violation[0] for violation in caught.value.violations] == [name]


def test_what_the_browser_calls_the_account_is_forgotten_once_the_key_is_made() -> None:
    account = registered()

    assert "alice@example.com" not in str(msgspec.to_builtins(account.credential))


def test_a_request_lists_the_credential_and_how_it_is_reached() -> None:
    account = registered()
    _, options = account.prompt()

    assert options["rpId"] == RP_ID
    assert options["allowCredentials"] == [
        {"id": b64(account.key.made[0].id), "type": "public-key", "transports": ["usb", "nfc"]}
    ]


def test_a_key_that_is_registered_already_is_not_registered_again() -> None:
    first = registered()
    second = opened(first.key)
    second.siblings = (first.credential,)

    with pytest.raises(AlreadyRegistered):
        second.take()


def test_another_key_of_the_user_answers_where_it_is_listed_and_only_there() -> None:
    first, second = registered(), registered()
    alone, _ = first.prompt()
    first.siblings = (second.credential,)
    listed, options = first.prompt()

    answer = second.key.get(options)
    elsewhere = second.factor.verify(second.credential, alone.expected, proof_of(answer), first.context())
    here = second.factor.verify(second.credential, listed.expected, proof_of(answer), first.context())

    assert elsewhere == REFUSED
    assert isinstance(here, Approved)


def test_a_browser_may_leave_the_user_handle_out_and_pad_its_base64() -> None:
    account = registered()
    prompt, options = account.prompt()
    answer = account.key.get(options, userHandle=None)
    answer["response"]["signature"] += "=" * (-len(answer["response"]["signature"]) % 4)

    assert isinstance(account.judge(prompt, answer), Approved)


# What it amounts to


@pytest.mark.parametrize(
    ("synced", "level", "possession", "amr"),
    [
        (False, Level.PHISHING_RESISTANT_HARDWARE, Possession.HARDWARE, ("hwk", "user")),
        (True, Level.PHISHING_RESISTANT, Possession.SOFTWARE, ("swk", "user")),
    ],
)
def test_a_key_that_can_be_copied_is_no_hardware(
    synced: bool, level: Level, possession: Possession, amr: tuple[str, ...]
) -> None:
    account = opened(SecurityKey(synced=synced))

    for verdict in (account.take(), account.take()):
        facts = approved(verdict).facts
        assert (level_of(facts), facts.possession, facts.amr, facts.exportable) == (level, possession, amr, synced)


@pytest.mark.parametrize("verifies", [True, False])
def test_whether_the_user_was_verified_is_said(verifies: bool) -> None:
    account = opened(SecurityKey(verifies=verifies))

    assert [approved(account.take()).facts.user_verified for _ in range(2)] == [verifies] * 2


@pytest.mark.requirement("S162")
def test_user_verification_is_required_where_the_deployment_says_so() -> None:
    strict = replace(RELYING_PARTY, user_verification=UserVerification.REQUIRED)
    lazy, good = opened(SecurityKey(verifies=False), strict), registered(relying_party=strict)
    good.key.verifies = False

    assert lazy.take() == Mismatch(hint="user_verification_required")
    assert good.take() == Mismatch(hint="user_verification_required")
    assert lazy.prompt()[1]["authenticatorSelection"]["userVerification"] == "required"
    assert good.prompt()[1]["userVerification"] == "required"


def test_the_credential_id_is_what_is_unique() -> None:
    account = opened()

    assert approved(account.take()).unique == b64(account.key.made[0].id)


# Where it is asked

BOTH = pytest.mark.parametrize("make", [opened, registered], ids=["creation", "request"])
Make = Callable[[], Holder]


@BOTH
@pytest.mark.requirement("S161")
@pytest.mark.parametrize(
    "origin",
    [
        "https://auth.example.test.evil.test",
        "https://evil-auth.example.test",
        "https://login.auth.example.test",
        "https://example.test",
        "http://auth.example.test",
        "https://auth.example.test:8443",
        "https://AUTH.example.test",
        "https://auth.example.test/",
        "https://auth.example.test\u0000",
        "null",
        "",
    ],
)
def test_a_page_of_an_origin_that_is_not_listed_gets_nothing(make: Make, origin: str) -> None:
    account = make()
    account.key.origin = origin

    assert account.take() == Mismatch(hint="check_origin")


@pytest.mark.requirement("S161")
def test_a_listed_subdomain_and_an_application_may_ask() -> None:
    application = "android:apk-key-hash:" + "x" * 43
    relying_party = RelyingParty("example.test", "Acme", ("https://shop.example.test", application))

    for origin in relying_party.origins:
        account = opened(SecurityKey(origin=origin), relying_party)
        assert [type(account.take()) for _ in range(2)] == [Approved] * 2


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        ("http://localhost", True),
        ("http://localhost:3000", True),
        ("https://localhost:3000", False),
        ("http://localhost:3000.evil.test", False),
        ("http://localhost:*", False),
        ("http://evil.localhost:3000", False),
        ("http://127.0.0.1:3000", False),
    ],
)
def test_on_any_port_of_localhost_means_that(origin: str, accepted: bool) -> None:
    relying_party = RelyingParty("localhost", "Acme", (ANY_LOCALHOST,))

    assert isinstance(opened(SecurityKey(origin=origin), relying_party).take(), Approved) == accepted


@BOTH
@pytest.mark.requirement("S162")
def test_another_relying_party_gets_nothing(make: Make) -> None:
    account = make()
    account.key.rp_id = "evil.test"

    assert account.take() == REFUSED


@BOTH
@pytest.mark.requirement("S170")
@pytest.mark.parametrize(
    "client",
    [{"crossOrigin": True}, {"crossOrigin": True, "topOrigin": "https://evil.test"}, {"topOrigin": ORIGIN}],
)
def test_a_frame_within_another_origin_gets_nothing(make: Make, client: dict[str, Any]) -> None:
    account = make()
    account.key.client = client

    assert account.take() == REFUSED


@BOTH
@pytest.mark.requirement("S160", "S161")
@pytest.mark.parametrize(
    "client",
    [
        {"challenge": b64(bytes(32))},
        {"challenge": ""},
        {"challenge": None},
        {"type": "webauthn.create"},
        {"type": "webauthn.get"},
        {"type": "payment.get"},
        {"type": ["webauthn.get"]},
        {"origin": [ORIGIN]},
        {"crossOrigin": "false"},
    ],
)
def test_client_data_is_compared_to_the_letter(make: Make, client: dict[str, Any]) -> None:
    account = make()
    right = "webauthn.create" if account.credential.key is None else "webauthn.get"
    if client.get("type") == right:
        client = {"type": right.upper()}
    account.key.client = client

    assert account.take() == REFUSED


@BOTH
def test_a_challenge_with_something_added_is_not_the_challenge(make: Make) -> None:
    account = make()
    prompt, options = account.prompt()
    for added in ("=", "A", " ", "\n"):
        do = account.key.create if "rp" in options else account.key.get
        assert account.judge(prompt, do({**options, "challenge": options["challenge"] + added})) == REFUSED


# Flags, counters, keys


@BOTH
@pytest.mark.requirement("S162")
def test_nobody_present_is_nobody(make: Make) -> None:
    account = make()
    account.key.flags = UP

    assert account.take() == REFUSED


@BOTH
@pytest.mark.requirement("S163")
def test_what_is_backed_up_without_being_able_to_is_refused(make: Make) -> None:
    account = make()
    account.key.flags = BS

    assert account.take() == REFUSED


@pytest.mark.requirement("S163")
@pytest.mark.parametrize("synced", [True, False])
def test_whether_a_key_can_be_copied_never_changes(synced: bool) -> None:
    account = registered(SecurityKey(synced=synced))
    account.key.flags = BE | BS if synced else BE

    assert account.take() == REFUSED


def test_whether_a_passkey_is_backed_up_may_change() -> None:
    account = registered(SecurityKey(synced=True))
    account.key.flags = BS

    verdict = approved(account.take())

    assert verdict.credential.key is not None
    assert not verdict.credential.key.backed_up


@pytest.mark.requirement("S164")
@pytest.mark.parametrize("count", [0, 3, 6])
def test_a_count_that_does_not_grow_tells_of_a_clone(count: int) -> None:
    account = registered()
    account.key.made[0].count = 6
    assert isinstance(account.take(), Approved)
    account.key.made[0].count = count

    assert account.take() == Mismatch(cloned=True)
    account.key.made[0].count = 100
    assert isinstance(account.take(), Approved)


@pytest.mark.requirement("S164")
def test_nobody_can_raise_the_alarm_of_a_clone_without_the_key() -> None:
    account = registered()
    account.key.made[0].count = 6
    account.take()
    account.key.made[0].count = 0

    assert account.take(signature=bytes(70)) == REFUSED


def test_a_key_without_a_counter_signs_again_and_again() -> None:
    account = opened(SecurityKey(counts=False))

    assert [type(account.take()) for _ in range(4)] == [Approved] * 4


@pytest.mark.requirement("S168")
@pytest.mark.parametrize("algorithm", [-35, -36, -37, -258, -259, -65535, -8_000, 0, 7])
def test_a_key_of_an_algorithm_that_was_not_asked_for_is_refused(algorithm: int) -> None:
    account = opened()
    account.key.made.append(Made(b"x" * 16, WithCose({3: algorithm}), b"usr_alice"))

    assert made(account) == REFUSED


@pytest.mark.requirement("S168")
@pytest.mark.parametrize(
    "cose",
    [
        {-1: 2},
        {-1: 6},
        {-2: bytes(32)},
        {-2: b"\xff" * 32},
        {-2: 7},
        {-3: "y"},
        {1: 1},
        {1: 3},
        {1: [2]},
        {3: [-7]},
        {3: EDDSA},
    ],
)
def test_a_key_that_is_none_is_refused(cose: dict[int, Any]) -> None:
    account = opened()
    account.key.made.append(Made(b"x" * 16, WithCose(cose), b"usr_alice"))

    assert made(account) == REFUSED


@pytest.mark.parametrize(("bits", "exponent"), [(1_024, 65_537), (2_048, 3), (8_192, 65_537)])
def test_an_rsa_key_is_neither_weak_nor_costly(bits: int, exponent: int) -> None:
    account = opened(SecurityKey(RS256))
    numbers = rsa.generate_private_key(65_537, 2_048).public_key().public_numbers()
    modulus = (numbers.n | 1 << (bits - 1)) if bits > 2_048 else numbers.n >> (2_048 - bits)
    cose = {1: 3, 3: RS256, -1: (modulus | 1).to_bytes(bits // 8, "big"), -2: exponent.to_bytes(3, "big")}
    account.key.made.append(Made(b"x" * 16, WithCose(cose, RsaKey()), b"usr_alice"))

    assert made(account) == REFUSED


@pytest.mark.requirement("S165")
@pytest.mark.parametrize(("length", "taken"), [(1, True), (1_023, True), (1_024, False), (0, False)])
def test_a_credential_id_is_at_most_1023_octets(length: int, taken: bool) -> None:
    account = opened()
    account.key.made.append(Made(b"x" * length, security_key.EcKey(), b"usr_alice"))

    assert isinstance(made(account), Approved) == taken


class WithCose:
    """A key whose public half says something else."""

    def __init__(self, cose: dict[int, Any], key: security_key.KeyPair | None = None) -> None:
        self._key = key or security_key.EcKey()
        self._cose = cose

    def cose(self) -> dict[int, Any]:
        return {**self._key.cose(), **self._cose}

    def sign(self, octets: bytes) -> bytes:
        return self._key.sign(octets)


def made(account: Holder) -> Verdict:
    """Register the credential that was put into the key."""
    prompt, options = account.prompt()
    client_data = account.key._client_data("webauthn.create", options["challenge"])
    return account.judge(prompt, account.key.attested(account.key.made[-1], options["rp"]["id"], client_data))


# Attestations


@pytest.mark.requirement("S169")
@pytest.mark.parametrize("format_", ["tpm", "apple", "android-key", "android-safetynet", "fido-u2f", "compound", "x"])
def test_an_attestation_that_was_not_asked_for_is_refused_cleanly(format_: str) -> None:
    account = opened(SecurityKey(attestation=format_))

    assert account.take() == REFUSED


@pytest.mark.requirement("S169")
def test_a_tampered_self_attestation_is_refused() -> None:
    account = opened(SecurityKey(attestation="packed"))
    prompt, options = account.prompt()
    good = account.key.create(options)
    attestation = unb64(good["response"]["attestationObject"])
    assert isinstance(opened_like(account).judge(prompt, good), Approved)

    for place in range(30, len(attestation), 7):
        spoiled = bytearray(attestation)
        spoiled[place] ^= 1
        answer = {**good, "response": {**good["response"], "attestationObject": b64(bytes(spoiled))}}
        assert opened_like(account).judge(prompt, answer) == REFUSED, place


def opened_like(account: Holder) -> Holder:
    return Holder(account.factor, account.key, account.credential)


@pytest.mark.parametrize(
    "attestation",
    [
        {"fmt": "none", "attStmt": {"sig": b"x"}},
        {"fmt": ["none"], "attStmt": {}},
        {"fmt": "packed", "attStmt": {}},
        {"fmt": "packed", "attStmt": {"alg": ES256, "sig": 5}},
        {"fmt": "packed", "attStmt": {"alg": ES256, "sig": b"x", "x5c": [b"no certificate"]}},
        {"fmt": "packed", "attStmt": []},
        {"fmt": "none"},
        {"attStmt": {}},
    ],
)
def test_an_attestation_of_another_shape_is_refused(attestation: dict[str, Any]) -> None:
    account = opened(SecurityKey(attestation="packed"))
    prompt, options = account.prompt()
    good = account.key.create(options)
    signed = unb64(good["response"]["attestationObject"])
    data = signed[signed.index(hashlib.sha256(RP_ID.encode()).digest()) :]
    if "attStmt" not in attestation and attestation.get("fmt") == "none":
        data = data[:40]  # what is left out of the statement may be empty; of the data nothing may

    answer = {
        **good,
        "response": {**good["response"], "attestationObject": b64(cbor({**attestation, "authData": data}))},
    }

    assert account.judge(prompt, answer) == REFUSED


# Whose it is


@pytest.mark.requirement("S166")
def test_another_users_key_answers_nothing() -> None:
    alice, mallory = registered(), opened(account=MALLORY)
    assert isinstance(mallory.take(), Approved)
    prompt, options = alice.prompt()
    hers = {**options, "allowCredentials": [{"id": b64(mallory.key.made[0].id), "type": "public-key"}]}

    assert alice.judge(prompt, mallory.key.get(hers)) == REFUSED
    disguised = {**mallory.key.get(hers), "id": b64(alice.key.made[0].id), "rawId": b64(alice.key.made[0].id)}
    assert alice.judge(prompt, disguised) == REFUSED


@pytest.mark.requirement("S167")
def test_a_user_handle_of_somebody_else_is_refused() -> None:
    account = registered()

    assert account.take(userHandle=b"usr_mallory") == REFUSED


@pytest.mark.requirement("S160", "S203")
def test_an_answer_to_one_challenge_answers_no_other() -> None:
    account = registered()
    prompt, options = account.prompt()
    answer = account.key.get(options)
    assert isinstance(account.judge(prompt, answer), Approved)

    assert account.judge(account.prompt()[0], answer) == REFUSED


def test_a_registration_is_no_login_and_a_login_no_registration() -> None:
    fresh, old = opened(), registered()
    creation, request = fresh.prompt()[0], old.prompt()[0]

    assert fresh.judge(creation, old.key.get(old.prompt()[1])) == REFUSED
    assert old.judge(request, SecurityKey().create(fresh.prompt()[1])) == REFUSED


def test_a_creation_replaces_no_key_that_is_there() -> None:
    account = opened()
    prompt, options = account.prompt()
    assert isinstance(account.judge(prompt, account.key.create(options)), Approved)

    assert account.judge(prompt, SecurityKey().create(options)) == REFUSED


# Anything at all

octets = st.binary(max_size=400)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)),
    max_leaves=12,
)


@BOTH
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_cut_turned_or_made_up_is_no_exception_and_where_it_is_signed_a_mismatch(
    make: Make, data: st.DataObject
) -> None:
    account = make()
    prompt, options = account.prompt()
    good = account.key.create(options) if "rp" in options else account.key.get(options)
    response = dict(good["response"])
    names = ["clientDataJSON", "attestationObject" if "rp" in options else "authenticatorData"]
    name = data.draw(st.sampled_from(names if "rp" in options else [*names, "signature"]))
    right = unb64(response[name])
    at = data.draw(st.integers(0, 9_999)) % len(right)  # a signature's length varies
    changed = data.draw(
        st.one_of(
            octets,
            st.just(right[:at]),
            st.builds(lambda added: right + added, st.binary(min_size=1, max_size=20)),
            st.builds(lambda put: right[:at] + put + right[at + len(put) :], st.binary(min_size=1, max_size=9)),
        )
    )
    if changed == right:
        return
    response[name] = b64(changed)

    verdict = account.judge(prompt, {**good, "response": response})

    # Nothing signs a creation without attestation, so that some of its octets may be others and mean the same.
    assert isinstance(verdict, Mismatch) or "rp" in options


@BOTH
@given(document=st.one_of(st.text(max_size=200), json_values.map(json.dumps), octets.map(b64)))
@settings(max_examples=200, deadline=None)
def test_a_document_of_anything_is_a_mismatch(make: Make, document: str) -> None:
    account = make()

    assert account.say(account.prompt()[0], PublicKeyCredential("x", document)) == REFUSED


@BOTH
@given(path=st.sampled_from(["id", "rawId", "type", "response"]), value=json_values)
@settings(max_examples=200, deadline=None)
def test_a_member_of_another_type_is_a_mismatch(make: Make, path: str, value: Any) -> None:
    account = make()
    prompt, options = account.prompt()
    good = account.key.create(options) if "rp" in options else account.key.get(options)
    if value == good[path]:
        return

    assert account.say(prompt, PublicKeyCredential("x", json.dumps({**good, path: value}))) == REFUSED
