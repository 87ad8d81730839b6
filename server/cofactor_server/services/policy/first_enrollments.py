"""Refuses first enrollments that a login may not make, with the way that is open and a contact."""

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
"""The contact in the error's text where the operator has set none."""


def enrollment_refusal(login: Login, user: User, client: Client, contact: str) -> CofactorError | None:
    """Return why a login may not enroll its user's first authenticator; None if it may.

    Every call that needs an authenticator returns this refusal, so that no call sends the user to another that refuses.

    Args:
        login: The login of a user who is not enrolled.
        user: The user.
        client: The client of the login.
        contact: The operator's support contact; empty for none.
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
