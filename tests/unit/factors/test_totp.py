"""Codes of an authenticator app: RFC 4226, RFC 6238, and what peers got wrong."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import pyotp
import pytest
from cofactor_server.domain.authenticators.proofs import Account, Approved, Code, Mismatch, Possession, Purpose, Verdict
from cofactor_server.errors import InvalidRequest
from cofactor_server.factors.otp import SECRET_OCTETS, Algorithm, Codes, Digits
from cofactor_server.factors.totp import HINT_STEPS, Totp, TotpCredential, totp_credential
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.factors.devices import AuthenticatorApp, hotp
from tests.unit.factors.worlds import ALICE, NOW, SECOND, SeededEntropy, at

SEEDS: Mapping[Algorithm, bytes] = {
    "SHA1": b"12345678901234567890",
    "SHA256": b"12345678901234567890123456789012",
    "SHA512": b"1234567890123456789012345678901234567890123456789012345678901234",
}
STEP = 30 * SECOND


class Phone:
    """An app and what the server keeps for it."""

    def __init__(self, skew_steps: int = 1, ahead: int = 0, **options: str) -> None:
        self.totp = Totp(SeededEntropy(), skew_steps=skew_steps)
        enrollment = self.totp.enroll(ALICE, "", options)
        self.credential = enrollment.credential
        self.app = AuthenticatorApp(enrollment.show["barcode_uri"], ahead)

    def enter(self, now: int, steps: int = 0) -> Verdict[TotpCredential]:
        """Enter at `now` the code that the app shows `steps` later (or earlier)."""
        return self.type(self.app.code(now, steps), now)

    def type(self, text: str, now: int) -> Verdict[TotpCredential]:
        verdict = self.totp.verify(self.credential, None, Code(text), at(now))
        if isinstance(verdict, Approved):
            self.credential = verdict.credential
        return verdict


@pytest.fixture
def phone() -> Phone:
    return Phone()


# --- the RFCs' vectors --------------------------------------------------------------------------------------------


@pytest.mark.requirement("S48")
def test_the_values_of_rfc_4226_appendix_d_are_accepted_at_their_counters() -> None:
    totp = Totp(SeededEntropy(), skew_steps=0)
    credential = totp_credential(SEEDS["SHA1"])
    values = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]

    verdicts = [totp.verify(credential, None, Code(value), at(counter * STEP)) for counter, value in enumerate(values)]

    assert [accepted_step(verdict) for verdict in verdicts] == list(range(10))


VECTORS = [
    pytest.param(59, "94287082 46119246 90693936", marks=pytest.mark.requirement("S60")),
    pytest.param(1111111109, "07081804 68084774 25091201", marks=pytest.mark.requirement("S61")),
    pytest.param(1111111111, "14050471 67062674 99943326", marks=pytest.mark.requirement("S62")),
    pytest.param(1234567890, "89005924 91819424 93441116", marks=pytest.mark.requirement("S63")),
    pytest.param(2000000000, "69279037 90698825 38618901", marks=pytest.mark.requirement("S64")),
    pytest.param(20000000000, "65353130 77737706 47863826", marks=pytest.mark.requirement("S65")),
]


@pytest.mark.parametrize(("seconds", "values"), VECTORS)
def test_the_values_of_rfc_6238_appendix_b_are_accepted_at_their_times(seconds: int, values: str) -> None:
    totp = Totp(SeededEntropy(), skew_steps=0)

    verdicts = [
        totp.verify(
            totp_credential(SEEDS[algorithm], algorithm=algorithm, digits=8), None, Code(value), at(seconds * SECOND)
        )
        for algorithm, value in zip(SEEDS, values.split(), strict=True)
    ]

    assert [accepted_step(verdict) for verdict in verdicts] == [seconds // 30] * 3


@pytest.mark.requirement("S66")
@pytest.mark.parametrize("algorithm", SEEDS)
def test_a_secret_is_as_long_as_its_hash(algorithm: Algorithm) -> None:
    phone = Phone(algorithm=algorithm)

    assert len(phone.credential.secret) == len(SEEDS[algorithm]) == SECRET_OCTETS[algorithm]
    assert isinstance(phone.enter(NOW), Approved)


@pytest.mark.requirement("S66")
def test_the_short_seed_does_not_serve_the_longer_hashes() -> None:
    totp = Totp(SeededEntropy(), skew_steps=0)
    credential = totp_credential(SEEDS["SHA1"], algorithm="SHA256", digits=8)

    assert totp.verify(credential, None, Code("46119246"), at(59 * SECOND)) == Mismatch()


@pytest.mark.requirement("S49")
@pytest.mark.parametrize("digits", [6, 8])
def test_a_code_that_begins_with_zero_is_padded(digits: int) -> None:
    totp = Totp(SeededEntropy(), skew_steps=0)
    credential = totp_credential(SEEDS["SHA1"], digits=digits)
    counter = next(counter for counter in range(500) if hotp(SEEDS["SHA1"], counter, digits).startswith("0"))
    padded = hotp(SEEDS["SHA1"], counter, digits)

    assert accepted_step(totp.verify(credential, None, Code(padded), at(counter * STEP))) == counter
    assert totp.verify(credential, None, Code(padded.lstrip("0")), at(counter * STEP)) == Mismatch()


@given(
    secret=st.binary(min_size=16, max_size=80),
    algorithm=st.sampled_from(list(SEEDS)),
    digits=st.sampled_from([6, 7, 8]),
    period=st.integers(15, 120),
    seconds=st.integers(0, 2**40),
)
@settings(max_examples=300, deadline=None)
def test_it_agrees_with_an_independent_computation(
    secret: bytes, algorithm: str, digits: int, period: int, seconds: int
) -> None:
    credential = totp_credential(secret, algorithm=algorithm, digits=digits, period=period)
    code = hotp(secret, seconds // period, digits, algorithm)

    verdict = Totp(SeededEntropy(), skew_steps=0).verify(credential, None, Code(code), at(seconds * SECOND))

    assert accepted_step(verdict) == seconds // period


# --- enrolling ----------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S21", "S89")
def test_a_secret_is_160_bits_from_the_given_entropy_and_32_letters_of_base32() -> None:
    entropy = SeededEntropy()

    enrollment = Totp(entropy).enroll(ALICE, "", {})

    assert entropy.drawn == [enrollment.credential.secret]
    assert len(enrollment.credential.secret) == 20
    assert len(enrollment.show["secret"]) == 32
    assert enrollment.name == ""


def test_the_barcode_is_the_contracts() -> None:
    shown = Totp(SeededEntropy()).enroll(Account("usr_1", "user@mail", "Tenant"), "", {}).show

    assert shown["barcode_uri"] == (
        f"otpauth://totp/Tenant:user%40mail?secret={shown['secret']}&issuer=Tenant&algorithm=SHA1&digits=6&period=30"
    )


def test_a_label_can_add_nothing_to_the_barcode() -> None:
    account = Account("usr_1", "a&secret=AAAA/?#b c", "Acme: R&D/Köln")

    shown = Totp(SeededEntropy()).enroll(account, "", {}).show["barcode_uri"]

    assert shown.startswith("otpauth://totp/Acme%3A%20R%26D%2FK%C3%B6ln:a%26secret%3DAAAA%2F%3F%23b%20c?secret=")
    assert shown.count("secret=") == 1
    assert "&issuer=Acme%3A%20R%26D%2FK%C3%B6ln&algorithm=SHA1&" in shown


@pytest.mark.parametrize("algorithm", SEEDS)
def test_the_shown_secret_has_no_padding(algorithm: str) -> None:
    shown = Totp(SeededEntropy()).enroll(ALICE, "", {"algorithm": algorithm}).show

    assert "=" not in shown["secret"]
    assert f"secret={shown['secret']}&" in shown["barcode_uri"]


@pytest.mark.requirement("S67", "S116")
def test_algorithm_digits_and_period_are_the_authenticators_own() -> None:
    phone = Phone(algorithm="SHA512", digits="8", period="60")

    assert phone.app.algorithm == "SHA512"
    assert len(phone.app.code(NOW)) == 8
    assert accepted_step(phone.enter(NOW)) == NOW // (60 * SECOND)


@pytest.mark.parametrize("period", ["15", "120"])
def test_a_period_at_the_limits_is_taken(period: str) -> None:
    assert isinstance(Phone(period=period).enter(NOW), Approved)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        pytest.param("period", "121", marks=pytest.mark.requirement("S22")),
        ("period", "14"),
        ("period", "0"),
        ("period", "-30"),
        ("period", "3_0"),
        ("period", " 30"),
        ("period", "٣٠"),
        ("period", ""),
        ("period", "9" * 5000),
        pytest.param("digits", "5", marks=pytest.mark.requirement("S50")),
        ("digits", "7"),
        ("digits", ""),
        ("algorithm", "MD5"),
        ("algorithm", "sha1"),
        ("algorithm", ""),
        ("window", "10"),
    ],
)
def test_an_option_that_is_unknown_or_out_of_range_is_refused(option: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Totp(SeededEntropy()).enroll(ALICE, "", {option: value})

    assert [name for name, _ in caught.value.violations] == [option]


# --- imports ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S51")
@pytest.mark.parametrize("octets", [10, 15])
def test_a_secret_below_128_bits_is_imported_only_where_that_is_allowed(octets: int) -> None:
    secret = SEEDS["SHA1"][:octets]

    with pytest.raises(InvalidRequest):
        totp_credential(secret)
    verdict = Totp(SeededEntropy()).verify(
        totp_credential(secret, allow_short=True), None, Code(hotp(secret, 7)), at(7 * STEP)
    )

    assert accepted_step(verdict) == 7


@pytest.mark.requirement("S51")
def test_a_secret_below_80_bits_is_never_imported() -> None:
    with pytest.raises(InvalidRequest):
        totp_credential(SEEDS["SHA1"][:9], allow_short=True)


@pytest.mark.requirement("S50")
@pytest.mark.parametrize("digits", [6, 7, 8])
def test_codes_of_six_seven_and_eight_digits_work(digits: int) -> None:
    credential = totp_credential(SEEDS["SHA1"], digits=digits)

    verdict = Totp(SeededEntropy()).verify(credential, None, Code(hotp(SEEDS["SHA1"], 7, digits)), at(7 * STEP))

    assert accepted_step(verdict) == 7


@pytest.mark.requirement("S50")
@pytest.mark.parametrize("wrong", [{"digits": 5}, {"digits": 9}, {"period": 121}, {"algorithm": "MD5"}])
def test_an_import_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        totp_credential(SEEDS["SHA1"], **wrong)

    assert [name for name, _ in caught.value.violations] == list(wrong)


# --- the window ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S68")
@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_one_step_either_way_is_accepted(phone: Phone, steps: int) -> None:
    assert accepted_step(phone.enter(NOW, steps)) == NOW // STEP + steps


@pytest.mark.requirement("S68")
@pytest.mark.parametrize("steps", [-2, 2])
def test_two_steps_either_way_are_refused(phone: Phone, steps: int) -> None:
    assert isinstance(phone.enter(NOW, steps), Mismatch)


@pytest.mark.requirement("S24", "S91")
@pytest.mark.parametrize("steps", [-1, 1])
def test_the_strict_profile_accepts_the_current_step_alone(steps: int) -> None:
    phone = Phone(skew_steps=0)

    assert isinstance(phone.enter(NOW, steps), Mismatch)
    assert isinstance(phone.enter(NOW), Approved)


@pytest.mark.requirement("S91")
def test_the_strict_profile_ignores_a_drift_measured_before_it_was_on() -> None:
    phone = Phone(ahead=30)
    phone.enter(NOW)
    phone.totp = Totp(SeededEntropy(), skew_steps=0)

    assert isinstance(phone.enter(NOW + 2 * STEP), Mismatch)
    assert isinstance(phone.enter(NOW + 2 * STEP, -1), Approved)


def test_a_step_begins_and_ends_with_its_period(phone: Phone) -> None:
    code = phone.app.code(NOW)
    strict = Totp(SeededEntropy(), skew_steps=0)

    verdicts = [
        strict.verify(phone.credential, None, Code(code), at(now)) for now in (NOW - 1, NOW, NOW + STEP - 1, NOW + STEP)
    ]

    assert [isinstance(verdict, Approved) for verdict in verdicts] == [False, True, True, False]


def test_the_first_steps_of_the_epoch_have_no_step_before_them(phone: Phone) -> None:
    assert isinstance(phone.enter(0), Approved)


# --- drift --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S71")
def test_the_window_is_centered_on_the_measured_drift() -> None:
    phone = Phone(ahead=30)
    assert isinstance(phone.enter(NOW), Approved)
    phone.app.ahead = 60

    assert isinstance(phone.enter(NOW + 10 * STEP), Approved)
    assert isinstance(Phone(ahead=60).enter(NOW + 10 * STEP), Mismatch)


@pytest.mark.requirement("S71")
def test_a_drift_that_is_gone_is_measured_again() -> None:
    phone = Phone(ahead=30)
    phone.enter(NOW)
    phone.app.ahead = 0
    phone.enter(NOW + 10 * STEP)

    assert phone.credential.drift == 0


@pytest.mark.requirement("S71")
def test_drift_does_not_move_on_a_failed_or_replayed_code() -> None:
    phone = Phone()
    phone.enter(NOW)
    before = phone.credential

    assert isinstance(phone.enter(NOW), Mismatch)
    assert isinstance(phone.enter(NOW + 10 * STEP, 2), Mismatch)
    assert isinstance(phone.type("nonsense", NOW + 10 * STEP), Mismatch)
    assert phone.credential is before


@pytest.mark.requirement("S71")
@given(visits=st.lists(st.tuples(st.integers(1, 5), st.integers(-4, 4)), max_size=30))
@settings(max_examples=200, deadline=None)
def test_no_history_walks_the_window_away_from_the_servers_time(visits: list[tuple[int, int]]) -> None:
    phone = Phone()
    now = NOW
    for wait, steps in visits:
        now += wait * STEP
        verdict = phone.enter(now, steps)
        assert not isinstance(verdict, Approved) or abs(steps) <= 2

    assert isinstance(phone.enter(now + 10 * STEP), Approved)


# --- replay -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S19", "S20", "S69", "S182")
def test_the_same_code_is_refused_a_second_time_and_known_as_a_replay(phone: Phone) -> None:
    phone.enter(NOW)

    assert phone.enter(NOW) == Mismatch(replay=True)


@pytest.mark.requirement("S69", "S183")
def test_after_the_code_of_the_next_step_the_still_valid_one_is_refused(phone: Phone) -> None:
    phone.enter(NOW, 1)

    assert phone.enter(NOW) == Mismatch(replay=True)
    assert phone.enter(NOW, -1) == Mismatch(replay=True)


@pytest.mark.requirement("S74")
@pytest.mark.parametrize("steps_back", [1, 2, 5, 100])
def test_a_server_clock_that_steps_back_does_not_reopen_a_spent_step(phone: Phone, steps_back: int) -> None:
    spent = phone.app.code(NOW)
    phone.type(spent, NOW)
    past = NOW - steps_back * STEP

    assert isinstance(phone.type(spent, past), Mismatch)
    assert isinstance(phone.enter(past), Mismatch)
    assert isinstance(phone.enter(NOW + STEP), Approved)


@pytest.mark.requirement("S69")
@given(visits=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=40))
@settings(max_examples=200, deadline=None)
def test_accepted_steps_only_ever_grow(visits: list[tuple[int, int]]) -> None:
    phone = Phone()
    now = NOW
    accepted = []
    for wait, steps in visits:
        now += wait * STEP
        verdict = phone.enter(now, steps)
        if isinstance(verdict, Approved):
            accepted.append(verdict.credential.last_step)

    assert accepted == sorted(set(accepted))


# --- help ---------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("S75")
@pytest.mark.parametrize("steps", [-10, -9, -2, 2, 9, 10])
def test_a_code_of_a_nearby_step_is_refused_with_the_advice_to_check_the_clock(phone: Phone, steps: int) -> None:
    code = Code(phone.app.code(NOW, steps))
    assert phone.totp.verify(phone.credential, None, code, at(NOW, Purpose.ENROLL)) == Mismatch(hint="check_clock")


@pytest.mark.requirement("S59", "S75")
@pytest.mark.parametrize("skew_steps", [0, 1])
def test_a_login_is_told_of_no_code_that_is_good_at_any_later_time(skew_steps: int) -> None:
    """Else whoever guessed it would have to wait, and no more."""
    for steps in range(-HINT_STEPS, HINT_STEPS + 1):
        for drift in (-1, 0, 1):
            phone = Phone(skew_steps)
            phone.credential = msgspec.structs.replace(phone.credential, drift=drift)
            code = Code(phone.app.code(NOW, steps))
            verdicts = [phone.totp.verify(phone.credential, None, code, at(NOW + n * STEP)) for n in range(25)]
            told = verdicts[0] == Mismatch(hint="check_clock")
            good = any(isinstance(verdict, Approved) for verdict in verdicts)
            assert told is not good, (steps, drift)


@pytest.mark.requirement("S75")
@pytest.mark.parametrize("steps", [-11, 11])
def test_a_code_of_a_distant_step_is_merely_wrong(phone: Phone, steps: int) -> None:
    assert phone.enter(NOW, steps) == Mismatch()


@pytest.mark.requirement("S20", "S75")
def test_a_spent_code_typed_again_later_is_a_replay_and_no_matter_of_clocks(phone: Phone) -> None:
    phone.enter(NOW)

    assert phone.enter(NOW + 4 * STEP, -4) == Mismatch(replay=True)


# --- what is typed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["{0}{1}", "{0} {1}", " {0}{1}\n", "\t{0} {1} "])
def test_ascii_white_space_in_a_code_is_ignored(phone: Phone, shape: str) -> None:
    code = phone.app.code(NOW)

    assert isinstance(phone.type(shape.format(code[:3], code[3:]), NOW), Approved)


@pytest.mark.parametrize(
    "shape", ["{0}-{1}", "{0}\u00a0{1}", "+{0}{1}", "0{0}{1}", "{0}{1}0", "{0}{1}\0", "{0}", "{0}{1}" + " " * 64]
)
def test_a_code_with_anything_else_in_it_is_refused(phone: Phone, shape: str) -> None:
    code = phone.app.code(NOW)

    assert phone.type(shape.format(code[:3], code[3:]), NOW) == Mismatch()


@pytest.mark.parametrize("zero", ["\u0660", "\u0966", "\uff10", "\U0001d7ce"])
def test_digits_of_other_scripts_are_refused(phone: Phone, zero: str) -> None:
    code = "".join(chr(ord(zero) + int(digit)) for digit in phone.app.code(NOW))

    assert phone.type(code, NOW) == Mismatch()


# --- what it proves, and what it costs ----------------------------------------------------------------------------


def test_an_accepted_code_proves_a_software_possession_that_can_not_be_replayed(phone: Phone) -> None:
    verdict = phone.enter(NOW)

    assert isinstance(verdict, Approved)
    facts = verdict.facts
    assert (facts.amr, facts.possession) == (("otp",), Possession.SOFTWARE)
    assert facts.replay_resistant
    assert not facts.phishing_resistant
    assert not facts.user_verified
    assert not facts.recovery


@given(
    st.binary(min_size=14, max_size=64),
    st.sampled_from(["SHA1", "SHA256", "SHA512"]),
    st.sampled_from([6, 7, 8]),
    st.integers(0, 2**63 - 1),
)
def test_codes_are_those_of_another_implementation(
    secret: bytes, algorithm: Algorithm, digits: Digits, counter: int
) -> None:
    base32, digest = base64.b32encode(secret).decode(), getattr(hashlib, algorithm.lower())
    theirs = pyotp.HOTP(base32, digits=digits, digest=digest)
    assert Codes(secret, algorithm, digits).code(counter) == theirs.at(counter)


def test_a_right_code_costs_one_hmac_and_a_wrong_one_a_bounded_number(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    code = Codes.code

    def counted(self: Codes, step: int) -> str:
        computed.append(step)
        return code(self, step)

    monkeypatch.setattr(Codes, "code", counted)
    phone.totp.verify(phone.credential, None, Code(phone.app.code(NOW)), at(NOW))
    assert len(computed) == 1
    computed.clear()
    phone.totp.verify(phone.credential, None, Code("000000"), at(NOW))
    assert len(computed) <= 3 + 2 * HINT_STEPS + 1


@pytest.mark.parametrize("skew_steps", [-1, 5])
def test_a_window_that_is_no_window_is_refused(skew_steps: int) -> None:
    with pytest.raises(ValueError, match="skew_steps"):
        Totp(SeededEntropy(), skew_steps=skew_steps)


def accepted_step(verdict: Verdict[TotpCredential]) -> int | None:
    return verdict.credential.last_step if isinstance(verdict, Approved) else None
