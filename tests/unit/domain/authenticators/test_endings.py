"""What ends when an authenticator goes (ADR-7), as one rule for every way in which it goes."""

import pytest
from cofactor_server.domain.authenticators.acr import Authentication, Level
from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.endings import Opened, lacks_factor, stands

APP, PHONE = "totp|dev_1", "sms|dev_2"


def one(authenticator_id: str, state: State = State.ACTIVE) -> Authenticator:
    kind = authenticator_id.partition("|")[0]
    return Authenticator(user_id="usr_1", id=authenticator_id, kind=kind, state=state, created_at=0, credential=b"")


@pytest.mark.parametrize("state", list(State))
def test_what_it_opened_stands_while_it_is_active(state: State) -> None:
    assert stands([PHONE], [one(APP), one(PHONE, state)]) == (state is State.ACTIVE)


def test_what_two_opened_ends_with_either_and_what_none_did_with_nothing() -> None:
    assert not stands([APP, PHONE], [one(APP)])
    assert stands([], [])


def test_what_ends_is_told_of_what_is_gone_alone() -> None:
    opened = Opened(((APP,), (PHONE,), (APP, PHONE), ()), ((PHONE,),))

    assert opened.by({PHONE}) == Opened(((PHONE,), (APP, PHONE)), ((PHONE,),))
    assert opened.by({PHONE}).details == {"ended_refresh_tokens": "2", "ended_browsers": "1"}


@pytest.mark.parametrize(
    ("level", "by", "spared", "asks", "lacks"),
    [
        (Level.ONE_FACTOR, (), False, True, True),
        (Level.ONE_FACTOR, (), False, False, False),
        (Level.ONE_FACTOR, (), True, True, False),  # the hook said so at the login
        (Level.ONE_FACTOR, (APP,), True, True, False),  # a remembered browser
        (Level.MFA, (APP,), False, True, False),
        (Level.MFA, (), False, False, True),  # of a version that did not keep which
    ],
)
def test_a_refresh_token_lacks_a_factor_where_policy_asks_for_one_and_none_opened_it(
    level: Level, by: tuple[str, ...], spared: bool, asks: bool, lacks: bool
) -> None:
    shown = Authentication(level, ("pwd",), 0, authenticators=by, spared=spared)

    assert lacks_factor(shown, asks=asks) == lacks
