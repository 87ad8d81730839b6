"""Turns a verified profile address into an authenticator: listed without enrollment, never removed (W9)."""

from cofactor_server.domain.authenticators.authenticator import Authenticator, State, id_of, new_suffix
from cofactor_server.domain.authenticators.kinds import EMAIL
from cofactor_server.domain.authenticators.proofs import Account
from cofactor_server.domain.parties.users import User
from cofactor_server.seams import Entropy
from cofactor_server.services.proofs.credentials import Credentials


class ProfileAddresses:
    """Makes authenticators from profile addresses.

    They are ordinary rows, since each has a guess budget. Whether mail is switched on is checked when they are listed
    and used. They do not count as an enrollment (ADR-1).
    """

    def __init__(self, credentials: Credentials, entropy: Entropy) -> None:
        self._credentials = credentials
        self._entropy = entropy

    def check(self, email: str) -> None:
        """Check that a text is a valid mail address.

        Args:
            email: The text.

        Raises:
            InvalidRequest: The text is not a valid mail address.
        """
        self._credentials.known(EMAIL).enroll(Account("", "", ""), email, {})

    def of(self, user: User) -> Authenticator | None:
        """Return an authenticator for a user's profile address; None if there is no address or it is not verified.

        It counts as confirmed when the user was created, so that it is offered last.
        """
        if not user.email or not user.email_verified:
            return None
        authenticator_id = id_of(EMAIL, new_suffix(self._entropy))
        made = self._credentials.known(EMAIL).enroll(Account(user.id, user.label, ""), user.email, {})
        return Authenticator(
            user_id=user.id,
            id=authenticator_id,
            kind=EMAIL,
            state=State.ACTIVE,
            created_at=user.created_at,
            credential=self._credentials.seal(user.id, authenticator_id, made.credential),
            name=made.name,
            confirmed_at=user.created_at,
            implicit=True,
        )
