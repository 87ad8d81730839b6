"""A verified profile address as an authenticator: listed without enrolling, never removed (W9)."""

from cofactor_server.domain.authenticators.authenticator import Authenticator, State, id_of, new_suffix
from cofactor_server.domain.authenticators.kinds import EMAIL
from cofactor_server.domain.authenticators.proofs import Account
from cofactor_server.domain.parties.users import User
from cofactor_server.seams import Entropy
from cofactor_server.services.proofs.credentials import Credentials


class ProfileAddresses:
    """Makes authenticators of profile addresses.

    They are rows like others, since they have guess budgets like others; whether mail is switched on is asked when
    they are listed and used. They count as no enrollment (ADR-1).
    """

    def __init__(self, credentials: Credentials, entropy: Entropy) -> None:
        self._credentials = credentials
        self._entropy = entropy

    def check(self, email: str) -> None:
        """Refuse what is no mail address.

        Raises:
            InvalidRequest: It is none.
        """
        self._credentials.known(EMAIL).enroll(Account("", "", ""), email, {})

    def of(self, user: User) -> Authenticator | None:
        """Return the authenticator that a user's profile address is; None where there is none, or it is not verified.

        It stands where it is offered last: confirmed when the user was created.
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
