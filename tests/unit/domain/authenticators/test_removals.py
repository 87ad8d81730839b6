"""Whether an authenticator is the last one, and what goes with it."""

import pytest
from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.removals import removal
from cofactor_server.domain.foundation.events import EventName, NoticeName

NOW = 1_800_000_000_000_000


def one(
    name: str, state: State = State.ACTIVE, *, kind: str = "totp", link: str = "", implicit: bool = False
) -> Authenticator:
    return Authenticator("usr_1", name, kind, state, NOW, b"", link_id=link, implicit=implicit)


APP = one("app")
CODE = one("code", kind="recovery-code")
BEGUN = one("begun", State.PENDING)
PROFILE = one("profile", kind="email", implicit=True)
SMS, VOICE = one("sms", kind="sms", link="phone"), one("voice", kind="voice", link="phone")


def test_after_the_last_one_all_goes_but_the_profile_address() -> None:
    change = removal([APP], [APP, CODE, BEGUN, PROFILE])

    assert change.is_last
    assert change.gone == (APP, CODE, BEGUN)
    assert (change.event, change.notice) == (
        EventName.LAST_AUTHENTICATOR_REMOVED,
        NoticeName.LAST_AUTHENTICATOR_REMOVED,
    )


@pytest.mark.parametrize(
    "other",
    [one("other"), one("other", State.DISABLED), one("other", kind="a kind of a plugin that is gone"), SMS],
    ids=["active", "disabled", "unknown", "telephone"],
)
def test_it_is_not_the_last_while_another_counts_as_enrolled(other: Authenticator) -> None:
    change = removal([APP], [APP, CODE, BEGUN, other])

    assert not change.is_last
    assert change.gone == (APP,)
    assert (change.event, change.notice) == (EventName.AUTHENTICATOR_REMOVED, NoticeName.AUTHENTICATOR_REMOVED)


def test_a_linked_pair_is_one() -> None:
    assert removal([SMS, VOICE], [SMS, VOICE, CODE]).is_last
    assert not removal([SMS, VOICE], [SMS, VOICE, APP]).is_last


@pytest.mark.parametrize("chosen", [CODE, BEGUN], ids=["recovery code", "pending"])
def test_what_does_not_count_is_never_the_last(chosen: Authenticator) -> None:
    change = removal([chosen], [APP, CODE, BEGUN])

    assert not change.is_last
    assert change.gone == (chosen,)
    assert change.is_told == (chosen is CODE)


def test_of_a_user_who_is_not_enrolled_nothing_is_the_last() -> None:
    assert not removal([BEGUN], [BEGUN, CODE]).is_last


def test_one_that_is_disabled_is_the_last_too() -> None:
    broken = one("broken", State.DISABLED)

    assert removal([broken], [broken, CODE]).is_last
