"""What every factor promises, plugins included (ADR-47)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from cofactor_server.domain.authenticators.proofs import (
    Account,
    Approved,
    Code,
    Denied,
    Enrollment,
    Mismatch,
    Possession,
    Prompt,
    Proof,
    PublicKeyCredential,
    Purpose,
    Signed,
)
from cofactor_server.factors import registry
from cofactor_server.factors.registry import CredentialUnreadable, EncodedVerdict, Registered
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.factors.devices import DEVICES, Device
from tests.unit.factors.worlds import ALICE, MALLORY, NOW, RELYING_PARTY, SECOND, SeededEntropy, at

PROFILES = {
    "compatible": registry.load(SeededEntropy(1), RELYING_PARTY),
    "strict": registry.load(SeededEntropy(2), RELYING_PARTY, strict=True),
}
DESTINATIONS = {"sms": "+12025550123", "voice": "+12025550123", "email": "alice@example.com", "pigeon": "home"}
"""Where a factor sends, by kind."""

LATER = 90 * SECOND
"""Long enough for the next code of an app."""

every_factor = pytest.mark.parametrize(
    "factor",
    [
        pytest.param(factor, id=f"{kind}-{profile}")
        for profile, factors in PROFILES.items()
        for kind, factor in factors.items()
    ],
)

junk = st.one_of(
    st.builds(Code, st.text(max_size=200)),
    st.builds(Code, st.text(alphabet="0123456789 \t\n-٣๓²", max_size=12)),
    st.builds(Code, st.text(alphabet="0123456789ABCDEFGHJKMNPQRSTVWXYZ-ıſß", max_size=60)),
    st.builds(Signed, st.binary(max_size=300), st.binary(max_size=100)),
    st.builds(PublicKeyCredential, st.text(max_size=60), st.text(max_size=300)),
)


@dataclass
class Enrolled:
    """An authenticator, as the core keeps it, and the device in its user's hand."""

    factor: Registered
    account: Account = ALICE
    enrollment: Enrollment[bytes] = field(init=False)
    credential: bytes = field(init=False)
    device: Device = field(init=False)

    def __post_init__(self) -> None:
        if self.factor.kind not in DEVICES:
            pytest.fail(f"tests/unit/factors/devices.py has no device of kind {self.factor.kind!r}")
        self.enrollment = self.factor.enroll(self.account, DESTINATIONS.get(self.factor.kind, ""), {})
        self.credential = self.enrollment.credential
        self.device = DEVICES[self.factor.kind](self.enrollment)

    def prompt(self, now: int, purpose: Purpose = Purpose.LOGIN) -> Prompt[bytes]:
        return self.factor.challenge(self.credential, at(now, purpose))

    def judge(self, prompt: Prompt[bytes], proof: Proof, now: int) -> EncodedVerdict:
        """Verify, and keep what the core would keep."""
        verdict = self.factor.verify(self.credential, prompt.expected, proof, at(now))
        if isinstance(verdict, Approved):
            self.credential = verdict.credential
        return verdict

    def log_in(self, now: int) -> EncodedVerdict:
        prompt = self.prompt(now)
        verdict = self.judge(prompt, self.device.answer(prompt, now), now)
        if isinstance(verdict, Approved) and verdict.show:
            self.device.learn(verdict.show)
        return verdict


@every_factor
def test_an_enrollment_is_confirmed_and_then_logs_in_again_and_again(factor: Registered) -> None:
    alice = Enrolled(factor)

    verdicts = [alice.log_in(NOW + visit * LATER) for visit in range(4)]

    assert [type(verdict) for verdict in verdicts] == [Approved] * 4


@every_factor
@pytest.mark.requirement("S43", "S87")
def test_a_proof_is_accepted_once(factor: Registered) -> None:
    alice = Enrolled(factor)
    prompt = alice.prompt(NOW)
    proof = alice.device.answer(prompt, NOW)
    first = alice.judge(prompt, proof, NOW)

    second = alice.judge(alice.prompt(NOW), proof, NOW)

    assert isinstance(first, Approved)
    assert isinstance(second, Mismatch)


@pytest.mark.requirement("S172")
@every_factor
def test_a_forged_proof_is_refused(factor: Registered) -> None:
    alice = Enrolled(factor)
    prompt = alice.prompt(NOW)

    verdict = alice.judge(prompt, alice.device.forge(prompt, NOW), NOW)

    assert isinstance(verdict, Mismatch | Denied)


@every_factor
def test_a_proof_made_with_another_users_device_is_refused(factor: Registered) -> None:
    alice, mallory = Enrolled(factor), Enrolled(factor, MALLORY)
    prompt = alice.prompt(NOW)

    verdict = alice.judge(prompt, mallory.device.answer(mallory.prompt(NOW), NOW), NOW)

    assert isinstance(verdict, Mismatch)
    assert not verdict.replay


@every_factor
def test_a_failure_spoils_nothing(factor: Registered) -> None:
    alice = Enrolled(factor)
    prompt = alice.prompt(NOW)
    alice.judge(prompt, Code("nonsense"), NOW)

    assert isinstance(alice.log_in(NOW), Approved)


@every_factor
@pytest.mark.requirement("S72")
def test_two_enrollments_share_no_secret(factor: Registered) -> None:
    one, two = Enrolled(factor), Enrolled(factor)

    assert one.enrollment.credential != two.enrollment.credential or not one.enrollment.show
    assert not set(one.enrollment.show.values()) & set(two.enrollment.show.values())


@every_factor
def test_what_is_shown_to_the_user_is_not_in_a_repr(factor: Registered) -> None:
    alice = Enrolled(factor)
    prompt = alice.prompt(NOW)
    proof = alice.device.answer(prompt, NOW)
    verdict = alice.judge(prompt, proof, NOW)
    assert isinstance(verdict, Approved)
    secrets = {*alice.enrollment.show.values(), *prompt.show.values(), verdict.show, *proof_texts(proof)} - {""}

    printed = " ".join(map(repr, (factor, alice.enrollment, factor.decode(alice.credential), prompt, proof, verdict)))

    assert secrets
    assert not [secret for secret in secrets if secret in printed]


@pytest.mark.requirement("S172")
@every_factor
def test_what_is_stored_is_not_in_a_repr(factor: Registered) -> None:
    alice = Enrolled(factor)
    credential = factor.decode(alice.enrollment.credential)
    stored = set(octets(msgspec.to_builtins(credential, builtin_types=(bytes,))))
    stored.add(alice.enrollment.credential)

    printed = " ".join(map(repr, (credential, alice.enrollment, alice.log_in(NOW))))

    assert not [secret for secret in stored if repr(secret)[2:-1] in printed or secret.hex() in printed]


@every_factor
@given(proof=junk)
@settings(max_examples=300, deadline=None)
def test_junk_is_a_mismatch_and_never_an_exception(factor: Registered, proof: Proof) -> None:
    alice = Enrolled(factor)

    assert isinstance(alice.judge(alice.prompt(NOW), proof, NOW), Mismatch)


@every_factor
@given(stored=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_a_credential_of_anything_else_is_unreadable_and_not_quoted(factor: Registered, stored: bytes) -> None:
    with pytest.raises(CredentialUnreadable) as caught:
        factor.verify(stored, None if not factor.prompts else b"", Code("123456"), at(NOW))

    assert str(caught.value) == f"a stored credential of kind {factor.kind!r} can't be read"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@every_factor
def test_a_credential_with_a_field_of_a_later_release_is_unreadable(factor: Registered) -> None:
    fields = msgspec.msgpack.decode(Enrolled(factor).credential)

    with pytest.raises(CredentialUnreadable):
        factor.decode(msgspec.msgpack.encode({**fields, "from_the_future": 1}))


@every_factor
def test_nothing_is_sent_or_shown_unless_the_factor_prompts(factor: Registered) -> None:
    prompt = Enrolled(factor).prompt(NOW)

    assert factor.prompts or (not prompt.show and prompt.send is None)


@every_factor
def test_a_possession_is_proven_by_everything_but_recovery_and_mail(factor: Registered) -> None:
    verdict = Enrolled(factor).log_in(NOW)

    assert isinstance(verdict, Approved)
    weak = verdict.facts.recovery or verdict.facts.delivered_by == "email"
    assert (verdict.facts.possession is Possession.NONE) == weak
    assert bool(verdict.facts.amr) != weak


@every_factor
def test_a_list_says_how_the_factor_is_used(factor: Registered) -> None:
    assert factor.authenticator_type in {"otp", "oob", "webauthn", "recovery-code"}
    assert factor.listed_type
    assert factor.prompts == (factor.authenticator_type in {"oob", "webauthn"})


def proof_texts(proof: Proof) -> Iterator[str]:
    match proof:
        case Code(value):
            yield value
        case Signed(payload, signature):
            yield from (payload.hex(), signature.hex(), repr(payload)[2:-1], repr(signature)[2:-1])
        case PublicKeyCredential(_, document):  # its id is public
            yield document
            yield from (part for part in json.loads(document)["response"].values() if isinstance(part, str))


def octets(value: Any) -> Iterator[bytes]:
    """Yield every byte string inside."""
    match value:
        case bytes() if value:
            yield value
        case dict():
            for member in value.values():
                yield from octets(member)
        case list() | tuple():
            for member in value:
                yield from octets(member)
