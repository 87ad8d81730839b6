"""Codes from a counter: RFC 4226 with its values, the window, and finding a token that went ahead."""

import base64
from typing import Any

import pytest
from cofactor_server.domain.authenticators.proofs import Account, Approved, Code, Mismatch, Verdict
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.budgets import MOST_GUESS_CHANCE, guess_chance
from cofactor_server.domain.foundation.values import replace
from cofactor_server.errors import InvalidRequest
from cofactor_server.factors.hotp import (
    LOOK_AHEAD,
    MOST_LOOK_AHEAD,
    RESYNCHRONIZE_WITHIN,
    Hotp,
    HotpCredential,
    hotp_credential,
)
from cofactor_server.factors.otp import FACTS
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.factors.devices import hotp as computed
from tests.unit.factors.worlds import ALICE, NOW, SeededEntropy, at

SEED = b"12345678901234567890"
APPENDIX_D = ("755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489")
LEADING_ZERO = next(counter for counter in range(1000) if computed(SEED, counter).startswith("0"))


class Token:
    """A token in its user's hand, and what the server keeps of it."""

    def __init__(self, *, look_ahead: int = LOOK_AHEAD, digits: int = 6, algorithm: str = "SHA1") -> None:
        self.factor = Hotp(SeededEntropy(), look_ahead=look_ahead)
        self.credential = hotp_credential(SEED, digits=digits, algorithm=algorithm)
        self.digits, self.algorithm = digits, algorithm

    def code(self, counter: int) -> str:
        return computed(SEED, counter, self.digits, self.algorithm)

    def type(self, text: str) -> Verdict[HotpCredential]:
        verdict = self.factor.verify(self.credential, None, Code(text), at(NOW))
        if isinstance(verdict, Approved):
            self.credential = verdict.credential
        return verdict

    def press(self, *counters: int, between: str = " ") -> Verdict[HotpCredential]:
        return self.type(between.join(map(self.code, counters)))


@pytest.fixture
def token() -> Token:
    return Token()


@pytest.mark.requirement("S48")
def test_the_codes_are_those_of_the_rfc(token: Token) -> None:
    verdicts = [token.type(code) for code in APPENDIX_D]

    assert [type(verdict) for verdict in verdicts] == [Approved] * 10
    assert token.credential.counter == 10


@pytest.mark.requirement("S49")
def test_a_code_is_padded_with_zeros_and_taken_only_so(token: Token) -> None:
    token.credential = hotp_credential(SEED, counter=LEADING_ZERO)
    code = token.code(LEADING_ZERO)

    assert token.type(code.lstrip("0")) == Mismatch()
    assert isinstance(token.type(code), Approved)


@pytest.mark.requirement("S50")
@pytest.mark.parametrize("digits", [6, 7, 8])
@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256", "SHA512"])
def test_six_seven_and_eight_digits_of_every_hash_work(digits: int, algorithm: str) -> None:
    assert isinstance(Token(digits=digits, algorithm=algorithm).press(0), Approved)


@pytest.mark.requirement("S50")
@pytest.mark.parametrize("digits", [5, 9])
def test_fewer_and_more_digits_are_refused(digits: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        hotp_credential(SEED, digits=digits)

    assert [name for name, _ in caught.value.violations] == ["digits"]


@pytest.mark.requirement("S51")
def test_a_secret_below_128_bits_is_imported_only_where_that_is_allowed() -> None:
    with pytest.raises(InvalidRequest):
        hotp_credential(SEED[:10])
    with pytest.raises(InvalidRequest):
        hotp_credential(SEED[:9], allow_short=True)

    assert hotp_credential(SEED[:10], allow_short=True).secret == SEED[:10]


@pytest.mark.parametrize("wrong", [{"counter": -1}, {"counter": 2**63}, {"algorithm": "MD5"}, {"algorithm": "sha1"}])
def test_an_import_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        hotp_credential(SEED, **wrong)

    assert [name for name, _ in caught.value.violations] == list(wrong)


# --- the window ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S52")
@pytest.mark.parametrize("counter", [0, 1, 5])
def test_the_counter_moves_to_the_one_after_the_match(token: Token, counter: int) -> None:
    token.press(counter)

    assert token.credential.counter == counter + 1


@pytest.mark.requirement("S52")
def test_the_counter_does_not_move_on_a_failure(token: Token) -> None:
    for text in ("000000", "nonsense", token.code(LOOK_AHEAD + 1)):
        token.type(text)

    assert token.credential.counter == 0


@pytest.mark.requirement("S19", "S20", "S53")
def test_a_code_is_refused_a_second_time_and_known_as_a_replay(token: Token) -> None:
    token.press(3)

    assert token.press(3) == Mismatch(hint="resynchronize", replay=True)


@pytest.mark.requirement("S53")
def test_a_code_that_was_passed_over_is_refused(token: Token) -> None:
    token.press(3)

    assert [token.press(counter) for counter in range(3)] == [Mismatch(hint="resynchronize")] * 3


@pytest.mark.requirement("S54")
@pytest.mark.parametrize("look_ahead", [0, 1, LOOK_AHEAD, MOST_LOOK_AHEAD])
def test_the_window_ends_where_it_is_set_to(look_ahead: int) -> None:
    assert isinstance(Token(look_ahead=look_ahead).press(look_ahead), Approved)
    assert isinstance(Token(look_ahead=look_ahead).press(look_ahead + 1), Mismatch)


@pytest.mark.parametrize("look_ahead", [-1, MOST_LOOK_AHEAD + 1])
def test_a_window_without_bounds_is_refused(look_ahead: int) -> None:
    with pytest.raises(ValueError, match="look_ahead"):
        Hotp(SeededEntropy(), look_ahead=look_ahead)


@pytest.mark.requirement("S59")
def test_ten_guesses_are_right_once_in_ten_thousand_unless_an_operator_looks_further() -> None:
    served = Deployment("https://x.test/", kinds=frozenset({"totp", "hotp", "sms"}))

    assert served.guess_chances() == pytest.approx({"totp": 3e-5, "hotp": 1e-4, "sms": 1e-5})
    assert max(served.guess_chances().values()) <= MOST_GUESS_CHANCE
    assert max(replace(served, hotp_look_ahead=10).guess_chances().values()) > MOST_GUESS_CHANCE
    assert replace(served, strict=True).guess_chances() == pytest.approx({"totp": 1e-5, "hotp": 1e-4})


@pytest.mark.requirement("S59")
def test_the_chance_is_that_of_as_many_codes_as_are_taken_at_once() -> None:
    assert guess_chance(LOOK_AHEAD + 1) == pytest.approx(1e-4)
    assert guess_chance(1, digits=8) == pytest.approx(1e-7)
    assert Deployment("https://x.test/").hotp_look_ahead == LOOK_AHEAD


# --- finding a token that went ahead ------------------------------------------------------------------------------


@pytest.mark.requirement("S55")
@pytest.mark.parametrize("counter", [LOOK_AHEAD + 1, RESYNCHRONIZE_WITHIN - 1, RESYNCHRONIZE_WITHIN, 10_000])
def test_a_code_too_far_ahead_is_refused_with_what_to_do(token: Token, counter: int) -> None:
    assert token.press(counter) == Mismatch(hint="resynchronize")


def test_a_guess_is_told_of_no_code_that_is_still_to_come(token: Token) -> None:
    shown = {token.code(counter) for counter in range(1_000)}
    guess = next(code for code in (f"{number:06d}" for number in range(2_000)) if code not in shown)

    assert token.type(guess) == token.press(LOOK_AHEAD + 1)


@pytest.mark.requirement("S55")
@pytest.mark.parametrize("between", [" ", "", "  "])
@pytest.mark.parametrize("many", [2, 3])
@pytest.mark.parametrize("start", [0, 50])
def test_successive_codes_tell_where_a_token_stands(token: Token, start: int, many: int, between: str) -> None:
    verdict = token.press(*range(start, start + many), between=between)

    assert isinstance(verdict, Approved)
    assert token.credential.counter == start + many
    assert isinstance(token.press(start + many), Approved)


@pytest.mark.requirement("S55")
def test_all_of_the_codes_lie_within_the_window(token: Token) -> None:
    last = RESYNCHRONIZE_WITHIN - 1

    assert token.press(last, last + 1) == Mismatch()
    assert isinstance(token.press(last - 1, last), Approved)


@pytest.mark.requirement("S55")
@pytest.mark.parametrize("counters", [(50, 52), (51, 50), (50, 50), (50, 51, 53), (50, 51, 52, 53)])
def test_codes_that_do_not_follow_each_other_tell_nothing(token: Token, counters: tuple[int, ...]) -> None:
    assert token.press(*counters) == Mismatch()


def test_codes_that_are_used_do_not_take_a_token_back(token: Token) -> None:
    token.press(50, 51)

    assert token.press(50, 51) == Mismatch()
    assert token.press(51, 52) == Mismatch()


def test_successive_codes_of_eight_digits_fit_where_a_code_is_typed() -> None:
    assert isinstance(Token(digits=8).press(50, 51, 52), Approved)


@given(presses=st.lists(st.integers(0, 150), max_size=30))
@settings(max_examples=50, deadline=None)
def test_the_counter_only_ever_grows(presses: list[int]) -> None:
    token = Token()
    before = 0
    for counter in presses:
        verdict = token.press(counter)
        assert isinstance(verdict, Approved) == (before <= counter <= before + LOOK_AHEAD)
        assert token.credential.counter == (counter + 1 if isinstance(verdict, Approved) else before)
        before = token.credential.counter


# --- enrolling ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S21", "S51", "S89")
def test_a_secret_is_160_bits_from_the_given_entropy() -> None:
    entropy = SeededEntropy()
    made = Hotp(entropy).enroll(ALICE, "", {})

    assert entropy.drawn == [made.credential.secret]
    assert len(made.credential.secret) == 20
    assert base64.b32decode(made.show["secret"]) == made.credential.secret


def test_the_barcode_names_the_counter() -> None:
    shown = Hotp(SeededEntropy()).enroll(Account("usr_1", "user@mail", "Tenant"), "", {"digits": "7"}).show

    assert shown["barcode_uri"] == (
        f"otpauth://hotp/Tenant:user%40mail?secret={shown['secret']}&issuer=Tenant&algorithm=SHA1&digits=7&counter=0"
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [("digits", "5"), ("digits", ""), ("digits", "06"), ("algorithm", "MD5"), ("period", "30"), ("counter", "5")],
)
def test_an_option_that_is_unknown_or_out_of_range_is_refused(option: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Hotp(SeededEntropy()).enroll(ALICE, "", {option: value})

    assert [name for name, _ in caught.value.violations] == [option]


def test_an_accepted_code_proves_a_possession_that_can_not_be_replayed(token: Token) -> None:
    verdict = token.press(0)

    assert isinstance(verdict, Approved)
    assert verdict.facts is FACTS
    assert (FACTS.amr, FACTS.replay_resistant) == (("otp",), True)
