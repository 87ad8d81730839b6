"""The code on paper: how long it is, what is kept of it, and that it works once."""

import hashlib
import math
import re

import pytest
from cofactor_server.domain.authenticators.proofs import Approved, Code, Mismatch, Possession, Verdict
from cofactor_server.errors import InvalidRequest
from cofactor_server.factors.recovery_code import ALPHABET, LENGTH, RecoveryCode, RecoveryCredential
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.factors.worlds import ALICE, NOW, SeededEntropy, at


class Holder:
    """A user with a recovery code."""

    def __init__(self) -> None:
        self.entropy = SeededEntropy()
        self.factor = RecoveryCode(self.entropy)
        enrollment = self.factor.enroll(ALICE, "", {})
        self.credential = enrollment.credential
        self.code = enrollment.show["recovery_code"]

    def type(self, text: str) -> Verdict[RecoveryCredential]:
        verdict = self.factor.verify(self.credential, None, Code(text), at(NOW))
        if isinstance(verdict, Approved):
            self.credential = verdict.credential
        return verdict


@pytest.fixture
def holder() -> Holder:
    return Holder()


@pytest.mark.requirement("S25", "S28", "S88", "S89")
def test_a_code_is_120_bits_from_the_given_entropy(holder: Holder) -> None:
    assert holder.entropy.drawn == [holder.code]
    assert len(set(ALPHABET)) == len(ALPHABET) == 32
    assert LENGTH * math.log2(len(ALPHABET)) == 120


def test_a_code_has_the_contracts_shape_and_no_letter_that_is_misread(holder: Holder) -> None:
    assert re.fullmatch("[A-Z0-9]{24}", holder.code)
    assert not set(ALPHABET) & set("ILOU")


@pytest.mark.requirement("S26", "S88")
def test_only_the_hash_of_a_code_is_kept(holder: Holder) -> None:
    assert holder.credential == RecoveryCredential(hashlib.sha256(holder.code.encode()).digest())


@pytest.mark.requirement("S27", "S29")
def test_using_a_code_kills_it_and_shows_the_next(holder: Holder) -> None:
    verdict = holder.type(holder.code)

    assert isinstance(verdict, Approved)
    assert verdict.show != holder.code
    assert holder.type(holder.code) == Mismatch()
    assert isinstance(holder.type(verdict.show), Approved)


def test_a_wrong_code_draws_nothing(holder: Holder) -> None:
    holder.type("0" * 24)

    assert holder.entropy.drawn == [holder.code]


@given(hyphens=st.sets(st.integers(0, 23)), lower=st.booleans(), around=st.sampled_from(["", " ", "\n", "\t "]))
def test_case_white_space_and_hyphens_do_not_matter(hyphens: set[int], lower: bool, around: str) -> None:
    holder = Holder()
    typed = "".join(f"-{letter}" if place in hyphens else f"{letter} " for place, letter in enumerate(holder.code))

    assert isinstance(holder.type(around + (typed.lower() if lower else typed) + around), Approved)


@pytest.mark.parametrize(("printed", "read"), [("1", "I"), ("1", "l"), ("0", "o"), ("0", "O")])
def test_a_digit_read_as_a_letter_is_accepted(holder: Holder, printed: str, read: str) -> None:
    holder.code = "A" * 23 + printed
    holder.credential = RecoveryCredential(hashlib.sha256(holder.code.encode()).digest())

    assert isinstance(holder.type("A" * 23 + read), Approved)


@pytest.mark.parametrize("shape", ["{}0", "0{}", "{}_", "{}\u00a0", "{}\0", "{}" + "-" * 200])
def test_a_code_with_anything_else_in_it_is_refused(holder: Holder, shape: str) -> None:
    assert holder.type(shape.format(holder.code)) == Mismatch()


def test_letters_that_upper_case_into_ascii_are_refused(holder: Holder) -> None:
    holder.credential = RecoveryCredential(hashlib.sha256(b"SS" + b"A" * 22).digest())

    assert holder.type("ß" + "A" * 22) == Mismatch()


def test_a_recovery_code_proves_no_possession_and_earns_no_amr(holder: Holder) -> None:
    verdict = holder.type(holder.code)

    assert isinstance(verdict, Approved)
    facts = verdict.facts
    assert (facts.amr, facts.possession, facts.recovery) == ((), Possession.NONE, True)


@pytest.mark.parametrize(
    ("option", "value"),
    [("length", "8"), ("count", "0"), ("count", "11"), ("count", ""), ("count", "-1"), ("count", "٣"), ("count", "01")],
)
def test_an_option_that_is_unknown_or_out_of_range_is_refused(holder: Holder, option: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        holder.factor.enroll(ALICE, "", {option: value})

    assert [name for name, _ in caught.value.violations] == [option]


def set_of(count: int) -> tuple[Holder, list[str]]:
    """Return a user with a set of codes."""
    holder = Holder()
    enrollment = holder.factor.enroll(ALICE, "", {"count": str(count)})
    holder.credential = enrollment.credential
    return holder, enrollment.show["recovery_code"].split(" ")


@pytest.mark.requirement("S25", "S72")
@pytest.mark.parametrize("count", [1, 2, 10])
def test_a_set_has_as_many_codes_as_were_asked_for(count: int) -> None:
    holder, codes = set_of(count)

    assert len(set(codes)) == count
    assert {len(code) for code in codes} == {24}
    assert len({holder.credential.sha256, *holder.credential.others}) == count


@pytest.mark.requirement("S27", "S29", "S87")
def test_every_code_of_a_set_works_once_and_its_successor_is_shown() -> None:
    holder, codes = set_of(10)

    verdicts = [holder.type(code) for code in codes]

    shown = [verdict.show for verdict in verdicts if isinstance(verdict, Approved)]
    assert len({*shown, *codes}) == 20
    assert [holder.type(code) for code in codes] == [Mismatch()] * 10
    assert all(isinstance(holder.type(code), Approved) for code in shown)


def test_what_was_stored_before_there_were_sets_is_read(holder: Holder) -> None:
    from msgspec import msgpack

    stored = msgpack.encode({"sha256": holder.credential.sha256})

    assert msgpack.decode(stored, type=RecoveryCredential) == holder.credential
