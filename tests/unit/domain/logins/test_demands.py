"""What a change of a user's authenticators takes (ADR-8): what each can reach, whether or not it was used."""

import pytest
from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.logins.demands import level_to_change, reach_of

LOW, MFA, PHR, PHRH = Level.MFA_LOW, Level.MFA, Level.PHISHING_RESISTANT, Level.PHISHING_RESISTANT_HARDWARE
TABLE = [
    ("totp", "", MFA),
    ("hotp", "", MFA),
    ("sms", "", MFA),
    ("voice", "", MFA),
    ("email", "", LOW),
    ("recovery-code", "", LOW),
    ("push", LOW.acr, LOW),  # a device that only approves
    ("push", MFA.acr, MFA),
    ("webauthn", PHR.acr, PHR),
    ("webauthn", PHRH.acr, PHRH),
    ("webauthn", "", PHRH),
    ("pigeon", MFA.acr, MFA),
    ("pigeon", "", PHRH),
]


def one(kind: str, acr: str, state: State = State.ACTIVE) -> Authenticator:
    return Authenticator(
        user_id="usr_1", id=f"{kind}|dev_1", kind=kind, state=state, created_at=0, credential=b"", acr=acr
    )


@pytest.mark.requirement("S34")
@pytest.mark.parametrize(("kind", "acr", "level"), TABLE)
@pytest.mark.parametrize("state", [State.ACTIVE, State.DISABLED])
def test_a_confirmed_authenticator_counts_as_what_it_can_reach(kind: str, acr: str, level: Level, state: State) -> None:
    mine = [one("email", LOW.acr), one(kind, acr, state)]

    assert level_to_change(mine) is max(LOW, level)


def test_a_pending_one_counts_as_nothing() -> None:
    assert level_to_change([one("email", LOW.acr), one("totp", "", State.PENDING)]) is LOW
    assert level_to_change([]) is Level.ONE_FACTOR


def test_a_plugin_may_be_asked_for_more_than_it_has_shown() -> None:
    assert reach_of(one("pigeon", MFA.acr)) is PHRH
