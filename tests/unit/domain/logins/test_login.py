"""How a user who is not enrolled enrolls the first authenticator, by user, client and first factor."""

import pytest
from cofactor_server.domain.logins.login import FirstFactor, Login
from cofactor_server.domain.parties.clients import Capability, Client, GrantType
from cofactor_server.domain.parties.users import Enrollment, EnrollmentWay, User

PASSWORD, VOUCHED, REFRESH = FirstFactor.PASSWORD, FirstFactor.VOUCHED, FirstFactor.REFRESH
AT_LOGIN, TICKET, VOUCHED_LOGIN, NEW_LOGIN = EnrollmentWay


def way(
    first: FirstFactor,
    of_client: Enrollment,
    of_user: Enrollment | None = None,
    *capabilities: Capability,
    grants: frozenset[GrantType] = frozenset({GrantType.PASSWORD}),
) -> EnrollmentWay:
    user = User("usr_1", "default", "alice", "", 0, False, 0, enrollment=of_user)
    client = Client(
        id="cli_1",
        name="Shop",
        created_at=0,
        grant_types=grants,
        capabilities=frozenset(capabilities),
        enrollment=of_client,
    )
    login = Login("l", "usr_1", 0, "cli_1", "", "", ("pwd",), first, 0, 0, 1)
    found = login.enrollment_way(user, client)
    assert login.may_enroll(user, client) == (found is AT_LOGIN)
    return found


@pytest.mark.requirement("S101")
@pytest.mark.parametrize("first", FirstFactor)
def test_a_user_who_was_reset_needs_a_ticket_whatever_client_and_factor(first: FirstFactor) -> None:
    for enrollment in Enrollment:
        assert way(first, enrollment, Enrollment.TICKET, Capability.ENROLL) is TICKET


@pytest.mark.parametrize(("first", "found"), [(PASSWORD, AT_LOGIN), (VOUCHED, AT_LOGIN), (REFRESH, NEW_LOGIN)])
def test_an_operator_may_allow_one_enrollment_at_a_login(first: FirstFactor, found: EnrollmentWay) -> None:
    for enrollment in Enrollment:
        assert way(first, enrollment, Enrollment.AT_LOGIN) is found


@pytest.mark.parametrize(
    ("first", "enrollment", "found"),
    [
        (PASSWORD, Enrollment.AT_LOGIN, AT_LOGIN),
        (PASSWORD, Enrollment.TICKET, TICKET),
        (PASSWORD, Enrollment.VOUCHED, VOUCHED_LOGIN),
        (VOUCHED, Enrollment.AT_LOGIN, TICKET),
        (VOUCHED, Enrollment.TICKET, TICKET),
        (VOUCHED, Enrollment.VOUCHED, TICKET),
        (REFRESH, Enrollment.AT_LOGIN, NEW_LOGIN),
        (REFRESH, Enrollment.TICKET, TICKET),
        (REFRESH, Enrollment.VOUCHED, VOUCHED_LOGIN),
    ],
)
def test_a_client_without_the_capability(first: FirstFactor, enrollment: Enrollment, found: EnrollmentWay) -> None:
    assert way(first, enrollment) is found


@pytest.mark.parametrize(
    ("enrollment", "found"),
    [(Enrollment.AT_LOGIN, AT_LOGIN), (Enrollment.VOUCHED, AT_LOGIN), (Enrollment.TICKET, TICKET)],
)
def test_a_vouch_enrolls_with_the_capability(enrollment: Enrollment, found: EnrollmentWay) -> None:
    assert way(VOUCHED, enrollment, None, Capability.ENROLL) is found


def test_a_refresh_at_a_client_that_only_vouches_sends_nobody_to_a_login_that_refuses() -> None:
    vouching = frozenset({GrantType.VOUCHED})

    assert way(REFRESH, Enrollment.AT_LOGIN, None, grants=vouching) is TICKET
    assert way(REFRESH, Enrollment.AT_LOGIN, None, Capability.ENROLL, grants=vouching) is NEW_LOGIN
