"""Exchanges refresh tokens, and requires a second factor where the policy or the request needs one (W3.4)."""

from collections.abc import Sequence

from cofactor_server.domain.authenticators.acr import FIRST_FACTOR_METHODS
from cofactor_server.domain.authenticators.authenticator import Authenticator, enrolled
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.demands import Demand, Wanted
from cofactor_server.domain.logins.grants import Chained, Issue, MfaRequired, Outcome, RefreshTokenGrant, Target
from cofactor_server.domain.logins.login import FirstFactor
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.parties.users import User
from cofactor_server.errors import RefreshTokenInvalid
from cofactor_server.seams import Entropy, new_id
from cofactor_server.services.policy.apis import Apis
from cofactor_server.services.policy.evaluation import Policy, wanted_of
from cofactor_server.services.policy.rules import Policies
from cofactor_server.services.tokens.logins import Logins
from cofactor_server.services.tokens.minting import Mint
from cofactor_server.services.tokens.refresh_tokens import Presented, Refresh, RefreshTokens, Rule, WantsMfa
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.idempotency import Repeat, Repeats
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import queries


class RefreshGrants:
    """Exchanges refresh tokens."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        deployment: Deployment,
        policy: Policy,
        policies: Policies,
        records: Records,
        decider: Decider,
        logins: Logins,
        refresh_tokens: RefreshTokens,
        repeats: Repeats,
        mint: Mint,
        apis: Apis,
        entropy: Entropy,
    ) -> None:
        self._deployment = deployment
        self._policy = policy
        self._policies = policies
        self._records = records
        self._decider = decider
        self._logins = logins
        self._refresh_tokens = refresh_tokens
        self._repeats = repeats
        self._mint = mint
        self._apis = apis
        self._entropy = entropy

    async def exchange(self, caller: Caller, client: Client, grant: RefreshTokenGrant, request_id: str) -> Outcome:
        """Exchange a refresh token and rotate it.

        Raises:
            CofactorError: W8 lists the reasons.
        """
        presented = Presented.parse(grant.refresh_token)
        if presented is None:
            raise RefreshTokenInvalid
        # The token names a user: a forged one must not take a place in the queue that this user's calls have.
        family = await self._records.read(queries.family, presented.user_id, presented.family_id)
        if family is None or not self._refresh_tokens.is_genuine(family, presented):
            raise RefreshTokenInvalid
        target = grant.target
        granted = await self._apis.left(Target(family.scope, family.audience))
        refresh = Refresh(
            tokens=self._refresh_tokens,
            repeats=self._repeats,
            client=client,
            presented=presented,
            scope=target.scope,
            audience=target.audience,
            wants_mfa_audience=self._deployment.is_mfa_audience(target.audience),
            rule=await self._rule(client, granted, target),
            jti=new_id(self._entropy, ""),
            source=caller.source,
            left=granted.scope,
            repeat=Repeat.of(
                client.id,
                request_id,
                grant.grant_type,
                grant.refresh_token,
                target.scope,
                target.audience,
                " ".join(target.acr_values),
                "" if target.max_age is None else str(target.max_age),
            ),
        )
        decided: Issue | Chained | WantsMfa = await self._decider.decide(caller, refresh)
        if isinstance(decided, WantsMfa):
            return await self._mfa_for(client, decided, target)
        return await self._mint.outcome(decided, client)

    async def _rule(self, client: Client, granted: Target, target: Target) -> Rule:
        """Return the rule for what the client and the policy require of a refresh; the user is known at decision time.

        Whether MFA is required at all matters only to a family that a password alone opened. A login that showed a
        second factor, or was allowed to skip it, has passed that check (S203).
        """
        rules, wanted = await self._policies.current(), wanted_of(target)
        asked = Target(target.scope or granted.scope, target.audience or granted.audience)

        def rule(user: User, mine: Sequence[Authenticator]) -> tuple[bool, Wanted]:
            ruling = self._policy.ruling(rules, user, client, asked, is_enrolled=enrolled(mine))
            return ruling.asks, wanted.joined(ruling.wanted)

        return rule

    async def _mfa_for(self, client: Client, refused: WantsMfa, target: Target) -> MfaRequired:
        family, wanted = refused.family, refused.wanted
        account = await self._records.read(queries.account, family.user_id)
        if account is None or account.user.epoch != refused.epoch:
            raise RefreshTokenInvalid
        granted = Target(refused.scope, family.audience)
        if self._deployment.is_mfa_audience(target.audience):
            granted = await self._apis.granted(self._policy.target(client, target))
        methods = _first_factor(family.authentication.amr)
        login = self._logins.begun(
            account.user, client, granted, methods, FirstFactor.REFRESH, family.authentication.time
        )
        # The login is bound to this generation of the family, no matter what the request asks for (ADR-15).
        demand = Demand(wanted.level, wanted.two_kinds, (), family.id, family.generation, wanted.by)
        login = replace(login, demand=demand)
        requirement = self._policy.awaited(account.user, client, login, account.authenticators)
        return self._logins.awaiting(login, requirement)


def _first_factor(amr: Sequence[str]) -> tuple[str, ...]:
    """Return the first-factor methods of a family's `amr`; a security key's `user` is not a first factor."""
    key = "hwk" in amr or "swk" in amr
    return tuple(method for method in amr if method in FIRST_FACTOR_METHODS and not (key and method == "user"))
