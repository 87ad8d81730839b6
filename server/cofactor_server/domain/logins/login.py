"""A login: a first factor accepted, a second awaited; what an mfa_token stands for."""

from enum import StrEnum

from cofactor_server.domain.foundation.values import Value
from cofactor_server.domain.logins.demands import Demand
from cofactor_server.domain.parties.clients import Capability, Client, GrantType
from cofactor_server.domain.parties.users import Enrollment, EnrollmentWay, User
from cofactor_server.seams import MINUTE, SECOND

MFA_TOKEN_LIFE = 10 * MINUTE
CLOCK_LEEWAY = 30 * SECOND
"""How far ahead of ours a sealed token's issue may lie, when another replica made it (ADR-24)."""


class FirstFactor(StrEnum):
    """Who checked the first factor."""

    PASSWORD = "password"
    VOUCHED = "vouched"
    REFRESH = "refresh"


class Login(Value, frozen=True):
    """What the final token needs, sealed into the mfa_token so that the first step writes nothing.

    An access token for the MFA audience that confirms what it enrolled stands for a login too: `id` is then its jti,
    and `by_access_token` is true.
    """

    id: str
    user_id: str
    epoch: int
    client_id: str
    scope: str
    audience: str
    methods: tuple[str, ...]
    first_factor: FirstFactor
    first_factor_at: int
    """When it was shown, which a vouching client says of its own."""
    issued_at: int
    expires_at: int
    by_access_token: bool = False
    demand: Demand | None = None
    """What has to be shown beyond any second factor; None for most logins."""
    remembered: bool = False
    """Whether it began in a browser that is remembered: guesses in it count as the user's own (ADR-9)."""
    opened_by: tuple[str, ...] = ()
    """Of an access token for the MFA audience, the authenticators that it came from."""

    @property
    def rests_on(self) -> tuple[str, ...]:
        """Ids of the authenticators without which it is worth nothing: shown in it, or for its access token."""
        shown = self.demand.shown if self.demand is not None else ()
        return (*self.opened_by, *(one.authenticator_id for one in shown))

    def expired(self, now: int) -> bool:
        """Whether its time is over, or has not come."""
        return now >= self.expires_at or self.issued_at > now + CLOCK_LEEWAY

    def may_enroll(self, user: User, client: Client) -> bool:
        """Tell whether a user who is not enrolled may enroll within this login (ADR-3 and ADR-6).

        A refresh token alone never enrolls: whoever stole one would own the account's second factor, and a client that
        vouches without `enroll` would have a way round it (S101).
        """
        return self.enrollment_way(user, client) is EnrollmentWay.AT_LOGIN

    def enrollment_way(self, user: User, client: Client) -> EnrollmentWay:
        """Return how a user who is not enrolled enrolls the first authenticator: within this login, or how else.

        A ticket is what is left where no login of the user, or of this client, enrolls.
        """
        wanted = user.enrollment or client.enrollment
        if wanted is Enrollment.TICKET or user.enrollment is Enrollment.VOUCHED:
            return EnrollmentWay.TICKET
        if self.first_factor is FirstFactor.REFRESH:
            return self._after_refresh(user, client, wanted)
        if user.enrollment is None and self.first_factor is FirstFactor.VOUCHED:
            return EnrollmentWay.AT_LOGIN if Capability.ENROLL in client.capabilities else EnrollmentWay.TICKET
        return EnrollmentWay.AT_LOGIN if wanted is Enrollment.AT_LOGIN else EnrollmentWay.VOUCHED_LOGIN

    def _after_refresh(self, user: User, client: Client, wanted: Enrollment) -> EnrollmentWay:
        """Return which login would enroll, since one that began with a refresh token does not."""
        if wanted is Enrollment.VOUCHED:
            return EnrollmentWay.VOUCHED_LOGIN
        by_password = client.grant_types & {GrantType.PASSWORD, GrantType.PASSWORD_REALM}
        if by_password or user.enrollment is not None or Capability.ENROLL in client.capabilities:
            return EnrollmentWay.NEW_LOGIN
        return EnrollmentWay.TICKET  # a client that only vouches, and may not enroll
