"""Evaluates what must follow a first factor: tokens, a challenge, or a first enrollment."""

from collections.abc import Sequence
from dataclasses import dataclass

from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.authenticators.authenticator import Authenticator, enrolled, offered_order
from cofactor_server.domain.authenticators.kinds import EMAIL, RECOVERY_CODE
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.deployment import MFA_SCOPES, Deployment
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.demands import Demand, Wanted, kind_reach
from cofactor_server.domain.logins.grants import Target
from cofactor_server.domain.logins.hooks import HOOK
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.logins.policies import Rule, Ruling, rule_on
from cofactor_server.domain.parties.clients import Client, GrantType
from cofactor_server.domain.parties.users import EnrollmentWay, MfaPolicy, User
from cofactor_server.errors import AudienceNotAllowed, UnmetAuthenticationRequirements
from cofactor_server.services.proofs.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Requirement:
    """A second factor is required; `kinds` are those to enroll, or to be challenged with."""

    enroll: bool
    kinds: tuple[Kind, ...]
    way: EnrollmentWay = EnrollmentWay.AT_LOGIN
    """How the user enrolls, if `enroll` is set; `kinds` is empty unless this is AT_LOGIN."""
    contact: str = ""
    """The operator's support contact, where enrollment needs the operator; empty otherwise."""


class Policy:
    """Decides whether a first factor is enough, and which audience and scopes tokens may have."""

    def __init__(self, deployment: Deployment, credentials: Credentials) -> None:
        self._deployment = deployment
        self._credentials = credentials

    def target(self, client: Client, target: Target) -> Target:
        """Return the target of the tokens, with a default audience and without scopes that can't be granted.

        Args:
            client: The client that requests the tokens.
            target: The requested audience and scopes.

        Raises:
            AudienceNotAllowed: The audience is not one of the client's.
        """
        deployment = self._deployment
        scopes = list(dict.fromkeys(target.scope.split()))
        audience = target.audience or (client.audiences[0] if client.audiences else "")
        if deployment.is_mfa_audience(audience):
            return Target(" ".join(s for s in scopes if s in (*MFA_SCOPES, "openid")), deployment.mfa_audience)
        if target.audience and target.audience not in client.audiences:
            raise AudienceNotAllowed
        if GrantType.REFRESH_TOKEN not in client.grant_types:
            scopes = [scope for scope in scopes if scope != "offline_access"]
        return Target(" ".join(scopes), audience)

    def ruling(self, rules: Sequence[Rule], user: User, client: Client, target: Target, *, is_enrolled: bool) -> Ruling:
        """Return the ruling of all rules and settings that apply to a login; see `domain.logins.policies.rule_on`.

        An enrolled user never gets a token for the MFA audience without a second factor, whatever the policy says
        (ADR-8). A user who is not enrolled gets it for enrolling. The strength that rules demand of a factor does not
        apply to that audience: there the user's own authenticators determine the strength, and a user who lacks a
        factor that a rule demands enrolls it with this token.

        Args:
            rules: Every rule of the deployment.
            user: The user who logs in.
            client: The client of the login.
            target: The audience and scopes of the tokens.
            is_enrolled: Whether the user has an authenticator that counts as an enrollment.
        """
        if target.audience == self._deployment.mfa_audience:
            return Ruling(MfaPolicy.WHEN_ENROLLED, is_enrolled, ("mfa_audience",), Wanted())
        standing = None
        if user.mfa_policy is not None:
            standing = ("user", user.mfa_policy)
        elif client.mfa_policy is not None:
            standing = ("client", client.mfa_policy)
        scopes = target.scope.split()
        applying = [rule for rule in rules if rule.applies(user.id, client.id, target.audience, scopes)]
        return rule_on(applying, standing, self._deployment.mfa_policy, is_enrolled=is_enrolled)

    def may_skip(self, target: Target, wanted: Wanted) -> bool:
        """Whether a remembered browser or the hook may replace the second factor: if no more is wanted (ADR-13)."""
        plain = wanted.level is Level.ONE_FACTOR and not wanted.two_kinds and wanted.max_age is None and not wanted.by
        return plain and not self._deployment.strict and target.audience != self._deployment.mfa_audience

    def usable(self, authenticators: Sequence[Authenticator]) -> list[Authenticator]:
        """Return the authenticators that can be used now, in the order in which they are offered."""
        return [a for a in offered_order(authenticators) if a.usable() and self._credentials.factor(a.kind)]

    def awaited(self, user: User, client: Client, login: Login, authenticators: Sequence[Authenticator]) -> Requirement:
        """Return the kinds of second factor that the user may show or enroll.

        Args:
            user: The user who logs in.
            client: The client of the login.
            login: The login, with what is demanded of it.
            authenticators: The user's authenticators.

        Raises:
            UnmetAuthenticationRequirements: No authenticator that the user has, or may enroll, meets the demand.
        """
        demand = login.demand
        if enrolled(authenticators):
            usable = self.usable(authenticators)
            if demand is not None and demand.steps_up:
                usable = demand.answered_by(usable)
                if not usable:
                    raise UnmetAuthenticationRequirements
            return Requirement(enroll=False, kinds=tuple(dict.fromkeys(a.kind for a in usable)))
        # W3.8: mail is never offered for a first enrollment, and recovery codes come with another.
        kinds = tuple(kind for kind in self._credentials.kinds if kind not in (EMAIL, RECOVERY_CODE))
        way, contact = login.enrollment_way(user, client), ""
        if way is not EnrollmentWay.AT_LOGIN:
            kinds = ()
        if way in (EnrollmentWay.TICKET, EnrollmentWay.VOUCHED_LOGIN):
            contact = self._deployment.support_contact
        if demand is not None and demand.steps_up:
            kinds = tuple(kind for kind in kinds if demand.takes(kind) and kind_reach(kind) >= demand.level)
            if not kinds:
                raise UnmetAuthenticationRequirements
        return Requirement(enroll=True, kinds=kinds, way=way, contact=contact)


def wanted_of(target: Target) -> Wanted:
    """Return the authentication requirements that a client states with acr_values and max_age.

    Of several acr_values any one is enough (S132); unknown values are ignored.

    Args:
        target: The client's request.

    Raises:
        UnmetAuthenticationRequirements: The request has acr_values, and all are unknown.
    """
    levels = [level for acr in target.acr_values if (level := Level.named(acr)) is not None]
    if target.acr_values and not levels:
        raise UnmetAuthenticationRequirements
    by = (*(("acr_values",) if levels else ()), *(("max_age",) if target.max_age is not None else ()))
    return Wanted(min(levels, default=Level.ONE_FACTOR), target.max_age, by=by)


def demanding(login: Login, wanted: Wanted, *, stale: bool) -> Login:
    """Return a login with a demand for what its first factor does not provide.

    A demand of the hook is kept even if any second factor meets it (ADR-13).

    Args:
        login: The login.
        wanted: The requirements of client, policy and hook.
        stale: Whether the authentication so far is too old.
    """
    plain = wanted.level is Level.ONE_FACTOR and not wanted.two_kinds and wanted.kinds is None
    if plain and not stale and HOOK not in wanted.by:
        return login
    return replace(login, demand=Demand(wanted.level, wanted.two_kinds, decided_by=wanted.by, kinds=wanted.kinds))
