"""What an authentication amounts to: one table (ADR-14)."""

import pytest
from cofactor_server.domain.authenticators.acr import (
    FIRST_FACTOR_METHODS,
    PAPE_MULTI_FACTOR,
    Level,
    authentication,
    level_of,
)
from cofactor_server.domain.authenticators.proofs import Facts, Possession
from cofactor_server.factors import otp, recovery_code

NONE, SOFTWARE, HARDWARE = Possession.NONE, Possession.SOFTWARE, Possession.HARDWARE
TABLE = {
    "otp": (Facts(("otp",), SOFTWARE), "mfa", ("pwd", "otp", "mfa")),
    "sms": (Facts(("sms",), SOFTWARE), "mfa", ("pwd", "sms", "mfa")),
    "voice": (Facts(("tel",), SOFTWARE), "mfa", ("pwd", "tel", "mfa")),
    "email": (Facts((), NONE, delivered_by="email"), "mfa-low", ("pwd",)),
    "email that claims possession": (Facts((), SOFTWARE, delivered_by="email"), "mfa-low", ("pwd", "mfa")),
    "push with a number": (Facts(("swk", "pop"), SOFTWARE), "mfa", ("pwd", "swk", "pop", "mfa")),
    "push that only approves": (
        Facts(("swk", "pop"), SOFTWARE, approve_deny=True),
        "mfa-low",
        ("pwd", "swk", "pop", "mfa"),
    ),
    "recovery code": (Facts((), NONE, recovery=True), "mfa-low", ("pwd",)),
    "synced passkey": (Facts(("swk",), SOFTWARE, phishing_resistant=True), "phr", ("pwd", "swk", "mfa")),
    "exportable hardware": (
        Facts(("hwk",), HARDWARE, phishing_resistant=True, exportable=True),
        "phr",
        ("pwd", "hwk", "mfa"),
    ),
    "security key": (
        Facts(("hwk",), HARDWARE, phishing_resistant=True, exportable=False),
        "phrh",
        ("pwd", "hwk", "mfa"),
    ),
    "nothing possessed": (Facts(("user",), NONE, user_verified=True), "1fa", ("pwd", "user")),
}


@pytest.mark.requirement("S13", "S14", "S45", "S153")
@pytest.mark.parametrize(("facts", "acr", "amr"), TABLE.values(), ids=TABLE)
def test_facts_become_acr_and_amr(facts: Facts, acr: str, amr: tuple[str, ...]) -> None:
    shown = authentication(("pwd",), facts, time=7)
    assert (shown.level.acr, shown.amr, shown.time) == (f"urn:cofactor:acr:{acr}", amr, 7)
    assert level_of(facts) is shown.level


@pytest.mark.requirement("S41")
@pytest.mark.parametrize("facts", [facts for facts, _, _ in TABLE.values()], ids=TABLE)
def test_mfa_is_stated_only_of_two_categories(facts: Facts) -> None:
    assert "mfa" not in authentication((), facts, time=0).amr
    assert ("mfa" in authentication(("pwd",), facts, time=0).amr) == (facts.possession is not NONE)


def test_a_first_factor_alone_is_one_factor() -> None:
    shown = authentication(("pwd",), None, time=0)
    assert (shown.level, shown.amr, shown.recovery) == (Level.ONE_FACTOR, ("pwd",), False)


def test_a_recovery_code_is_remembered_as_one() -> None:
    assert authentication(("pwd",), recovery_code.FACTS, time=0).recovery
    assert not authentication(("pwd",), otp.FACTS, time=0).recovery


def test_the_shipped_factors_are_where_the_table_has_them() -> None:
    assert authentication(("pwd",), otp.FACTS, time=0).amr == ("pwd", "otp", "mfa")
    assert level_of(otp.FACTS) is Level.MFA
    assert authentication(("pwd",), recovery_code.FACTS, time=0).amr == ("pwd",)
    assert level_of(recovery_code.FACTS) is Level.MFA_LOW


def test_levels_have_an_order_and_names() -> None:
    assert sorted(Level) == [Level.of(f"urn:cofactor:acr:{name}") for name in ("1fa", "mfa-low", "mfa", "phr", "phrh")]


@pytest.mark.parametrize("acr", ["", "urn:mace:incommon:iap:silver", "2"])
def test_an_unknown_acr_is_the_weakest(acr: str) -> None:
    assert Level.of(acr) is Level.ONE_FACTOR


def test_the_pape_value_is_an_alias() -> None:
    assert Level.of(PAPE_MULTI_FACTOR) is Level.MFA


def test_possession_can_not_be_vouched_for() -> None:
    assert FIRST_FACTOR_METHODS.isdisjoint({"mfa", "otp", "sms", "tel", "hwk", "swk", "pop"})
