"""Codes by text message, call and mail: which addresses are taken, what is kept, what a code proves."""

import string

import pytest
from cofactor_server.domain.authenticators.acr import Level, level_of
from cofactor_server.domain.authenticators.proofs import Approved, Code, Mismatch, Prompt, Signed, Verdict
from cofactor_server.errors import InvalidRequest, PhoneNumberInvalid
from cofactor_server.factors.sent_code import Destination, Email, SentCode, Sms, Voice

from tests.unit.factors.worlds import ALICE, NOW, SeededEntropy, at

NUMBER = "+442071838750"
ADDRESS = "alice@example.com"

Kind = type[Sms] | type[Voice] | type[Email]
EVERY = pytest.mark.parametrize(("kind", "to"), [(Sms, NUMBER), (Voice, NUMBER), (Email, ADDRESS)])
TELEPHONES = pytest.mark.parametrize("kind", [Sms, Voice])


class Reader:
    """A user to whom codes are sent."""

    def __init__(self, kind: Kind, to: str) -> None:
        self.entropy = SeededEntropy()
        self.factor = kind(self.entropy)
        self.enrollment = self.factor.enroll(ALICE, to, {})
        self.prompt: Prompt[SentCode] = self.factor.challenge(self.enrollment.credential, at(NOW))

    @property
    def code(self) -> str:
        assert self.prompt.send is not None
        return self.prompt.send.code

    def type(self, text: str) -> Verdict[Destination]:
        return self.factor.verify(self.enrollment.credential, self.prompt.expected, Code(text), at(NOW))


@EVERY
@pytest.mark.requirement("S10", "S89", "S90")
def test_a_code_is_six_digits_from_the_given_entropy(kind: Kind, to: str) -> None:
    reader = Reader(kind, to)

    assert reader.entropy.drawn == [reader.code]
    assert len(reader.code) == 6
    assert set(reader.code) <= set(string.digits)


@EVERY
@pytest.mark.requirement("S114")
def test_of_a_code_only_a_mac_is_kept(kind: Kind, to: str) -> None:
    reader = Reader(kind, to)

    assert reader.prompt.expected.key_id == "key-1"
    assert len(reader.prompt.expected.mac) == 32
    assert reader.code not in repr(reader.prompt) + str(reader.prompt.expected.mac)


@EVERY
def test_a_code_is_compared_under_the_key_it_was_kept_with(kind: Kind, to: str) -> None:
    reader = Reader(kind, to)
    moved = SentCode("key-2", reader.prompt.expected.mac)

    assert reader.factor.verify(reader.enrollment.credential, moved, Code(reader.code), at(NOW)) == Mismatch()


@EVERY
def test_a_code_goes_to_the_address_over_the_channel_of_its_kind(kind: Kind, to: str) -> None:
    message = Reader(kind, to).prompt.send

    assert message is not None
    assert (message.channel, message.to) == (kind.__name__.lower(), to)


@EVERY
def test_every_challenge_has_a_code_of_its_own(kind: Kind, to: str) -> None:
    reader = Reader(kind, to)
    first = reader.code
    reader.prompt = reader.factor.challenge(reader.enrollment.credential, at(NOW))

    assert reader.code != first
    assert reader.type(first) == Mismatch()


@EVERY
@pytest.mark.parametrize("shape", ["{0}{1}", "{0} {1}", " {0}{1}\n"])
def test_ascii_white_space_in_a_code_is_ignored(kind: Kind, to: str, shape: str) -> None:
    reader = Reader(kind, to)

    assert isinstance(reader.type(shape.format(reader.code[:3], reader.code[3:])), Approved)


@EVERY
@pytest.mark.parametrize("shape", ["", "{}0", "0{}", "{}\0", "-{}", "{}\u00a0", "{}" + " " * 64])
def test_a_code_with_anything_else_in_it_is_refused(kind: Kind, to: str, shape: str) -> None:
    reader = Reader(kind, to)

    assert reader.type(shape.format(reader.code)) == Mismatch()


@pytest.mark.parametrize("zero", ["\u0660", "\u0966", "\uff10"])
def test_digits_of_other_scripts_are_refused(zero: str) -> None:
    reader = Reader(Sms, NUMBER)

    assert reader.type("".join(chr(ord(zero) + int(digit)) for digit in reader.code)) == Mismatch()


def test_a_signature_is_no_code() -> None:
    reader = Reader(Sms, NUMBER)
    signed = Signed(reader.code.encode(), b"")

    assert reader.factor.verify(reader.enrollment.credential, reader.prompt.expected, signed, at(NOW)) == Mismatch()


@pytest.mark.parametrize(
    ("kind", "to", "amr", "level"),
    [
        (Sms, NUMBER, ("sms",), Level.MFA),
        (Voice, NUMBER, ("tel",), Level.MFA),
        pytest.param(Email, ADDRESS, (), Level.MFA_LOW, marks=pytest.mark.requirement("S14")),
    ],
)
def test_what_reading_a_code_proves(kind: Kind, to: str, amr: tuple[str, ...], level: Level) -> None:
    reader = Reader(kind, to)
    verdict = reader.type(reader.code)

    assert isinstance(verdict, Approved)
    assert verdict.facts.amr == amr
    assert level_of(verdict.facts) is level
    assert not verdict.facts.phishing_resistant


@TELEPHONES
@pytest.mark.parametrize(
    "number",
    [
        "",
        "442071838750",
        "+44 20 7183 8750",
        "+44(20)71838750",
        "+442071838750;ext=5",
        "+1800FLOWERS",
        "+4420718387501234",
        "+15550100",
        "+9991234567",
        "+٤٤٢٠٧١٨٣٨٧٥٠",
        "+442071838750\n",
        "tel:+442071838750",
        pytest.param("+449098790000", id="premium rate"),
    ],
)
def test_what_is_no_number_to_reach_somebody_at_is_refused(kind: Kind, number: str) -> None:
    with pytest.raises(PhoneNumberInvalid):
        kind(SeededEntropy()).enroll(ALICE, number, {})


@pytest.mark.parametrize(
    "address",
    ["", "alice", "alice@", "@example.com", "alice@example", "alice@localhost", "a@b@example.com",
     "alice@[127.0.0.1]", "Alice <alice@example.com>", '"a b"@example.com', "alice@example.com\nBcc: x@example.com",
     "alice@exa mple.com", "alice@10.0.0.1"],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_quoting_it(address: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Email(SeededEntropy()).enroll(ALICE, address, {})

    assert caught.value.violations == (("email", "is not a mail address"),)


def test_an_address_is_kept_as_it_is_written_but_for_the_case_of_its_domain() -> None:
    made = Email(SeededEntropy()).enroll(ALICE, "A.b+c@EXAMPLE.com", {})

    assert made.credential.to == "A.b+c@example.com"


@pytest.mark.parametrize(
    ("kind", "to", "masked"),
    [
        (Sms, "+442071838750", "XXXXXXXXX8750"),
        (Voice, "+12025550123", "XXXXXXXX0123"),
        (Email, "chucky@example.com", "chuc**@exam*******"),
        (Email, "jack@example.com", "****@exam*******"),
        (Email, "ab@gmail.com", "**@gmai*****"),
        (Email, "a.long.one@x.io", "a.lo******@x.io"),
    ],
)
def test_a_list_shows_a_mask(kind: Kind, to: str, masked: str) -> None:
    assert kind(SeededEntropy()).enroll(ALICE, to, {}).name == masked


@EVERY
def test_an_address_is_not_in_a_repr(kind: Kind, to: str) -> None:
    reader = Reader(kind, to)

    assert to not in repr((reader.enrollment, reader.enrollment.credential, reader.prompt))


@EVERY
def test_there_are_no_options(kind: Kind, to: str) -> None:
    with pytest.raises(InvalidRequest):
        kind(SeededEntropy()).enroll(ALICE, to, {"digits": "8"})
