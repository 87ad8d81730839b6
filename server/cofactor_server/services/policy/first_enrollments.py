"""What a login is told whose user is not enrolled: how the first authenticator is enrolled, and whom to ask."""

from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.parties.users import EnrollmentWay, User
from cofactor_server.errors import (
    CofactorError,
    EnrollmentByTicketOnly,
    EnrollmentNeedsLogin,
    EnrollmentNotAllowed,
)

ANYBODY = "an administrator"
"""Whom to ask where the operator has set no contact."""


def enrollment_refusal(login: Login, user: User, client: Client, contact: str) -> CofactorError | None:
    """Return why a login does not enroll the first authenticator of its user; None if it does.

    Every call that needs an authenticator answers with this one, so that none sends the user to another that refuses.

    Args:
        login: Of a user who is not enrolled.
        user: Whose login it is.
        client: At which application.
        contact: The operator's; empty for none.
    """
    way = login.enrollment_way(user, client)
    match way:
        case EnrollmentWay.AT_LOGIN:
            return None
        case EnrollmentWay.NEW_LOGIN:
            return EnrollmentNeedsLogin(enrollment_way=way)
    refused = EnrollmentByTicketOnly if way is EnrollmentWay.TICKET else EnrollmentNotAllowed
    if not contact:
        return refused(enrollment_way=way, whom=ANYBODY)
    return refused(enrollment_way=way, whom=contact, contact=contact)
