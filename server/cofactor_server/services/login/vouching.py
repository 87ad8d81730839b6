"""Checks and records vouched logins: a trusted client's statement about a first factor (ADR-6)."""

from dataclasses import dataclass

from cofactor_server.domain.authenticators.acr import FIRST_FACTOR_METHODS
from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.events import Event, EventName
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.grants import VouchedGrant
from cofactor_server.domain.parties.clients import Capability, Client
from cofactor_server.domain.parties.users import User
from cofactor_server.errors import CofactorError, UserBlocked, VouchRefused
from cofactor_server.seams import SECOND
from cofactor_server.services.transactions.validity import client_refusal
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work

AHEAD = 5 * SECOND
"""How far in the future a first factor may appear to be, to allow for clock skew."""


def check(deployment: Deployment, client: Client, grant: VouchedGrant, now: int) -> None:
    """Check a vouch against the client's registration.

    Raises:
        VouchRefused: The client may not vouch at all, for this realm or with these methods, or the first factor's
            time is too old or in the future.
    """
    if not client.confidential or Capability.VOUCH not in client.capabilities:
        raise VouchRefused(explanation="the client may not vouch")
    if grant.realm not in client.realms:
        raise VouchRefused(explanation="the realm is not one of the client's")
    allowed = FIRST_FACTOR_METHODS.intersection(client.vouch_methods)
    if not grant.methods or not allowed.issuperset(grant.methods):
        raise VouchRefused(explanation="the methods are not first factors that the client may state")
    if not now - deployment.vouch_max_age <= grant.authenticated_at <= now + AHEAD:
        raise VouchRefused(explanation="the first factor was shown too long ago, or in the future")


@dataclass(frozen=True, slots=True)
class Vouched:
    """A recorded vouch, with the account as of that moment."""

    user: User
    authenticators: tuple[Authenticator, ...]


@dataclass(frozen=True, slots=True)
class RecordVouch:
    """Records a vouch, and stores the user label that it contains."""

    user_id: str
    client: Client
    label: str
    methods: tuple[str, ...]
    now: int

    @property
    def needs(self) -> Needs:
        """The user's authenticators."""
        return Needs(self.user_id, client_id=self.client.id)

    def decide(self, work: Work) -> Vouched | CofactorError:
        """Record it, unless the user is blocked or deleted."""
        if refusal := client_refusal(work, self.client):
            return refusal
        user = work.user(self.user_id)
        if user is None:
            return VouchRefused(explanation="the user is unknown")
        if user.blocked:
            return UserBlocked()
        if self.label and self.label != user.label:
            user = replace(user, label=self.label)
            work.save_user(user)
        details = {"methods": " ".join(self.methods)}
        work.record(Event(user.id, EventName.LOGIN_VOUCHED, self.now, self.client.id, details=details))
        return Vouched(user, tuple(work.authenticators(user.id)))
