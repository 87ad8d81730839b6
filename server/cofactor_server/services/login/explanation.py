"""Explains login decisions: what a login would require, which rule decides it, and the state of every budget.

An explanation reads the same data as a login, uses the same code for every decision, and writes nothing.
"""

from cofactor_server.domain.authenticators.authenticator import State, enrolled
from cofactor_server.domain.authenticators.kinds import RECOVERY_CODE, WEBAUTHN
from cofactor_server.domain.authenticators.proofs import Kind
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.budgets import (
    FAILED_CODES,
    PROMPTS_IN_VAIN,
    SOURCE_FAILED_CODES,
    STRANGER_FAILURES_PER_DAY,
    Guard,
)
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.explanations import (
    AuthenticatorStanding,
    BudgetStanding,
    Consequence,
    DecisionQuestion,
    Explanation,
    HookWord,
    longest_wait,
)
from cofactor_server.domain.logins.grants import Target
from cofactor_server.domain.logins.hooks import Answer, AsRuled, Deny, NoAnswer, RequireMfa, SkipMfa
from cofactor_server.domain.logins.login import FirstFactor, Login
from cofactor_server.domain.logins.policies import Ruling, keeps_one
from cofactor_server.domain.parties.clients import Client, GrantType
from cofactor_server.domain.parties.users import User
from cofactor_server.errors import (
    MissingParameter,
    NotFound,
    Quota,
    RealmUnknown,
    UnmetAuthenticationRequirements,
)
from cofactor_server.seams import DAY, SECOND, Clock
from cofactor_server.services.login.throttling import Throttle
from cofactor_server.services.messages.limits import Postage
from cofactor_server.services.messages.sending import MAILS, PHONE, PROMPTS
from cofactor_server.services.policy.apis import Apis
from cofactor_server.services.policy.decision_hook import Asked, Hooking
from cofactor_server.services.policy.evaluation import Policy, demanding, wanted_of
from cofactor_server.services.policy.rules import Policies
from cofactor_server.services.proofs.credentials import Credentials
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import queries
from cofactor_server.store.repositories.queries import Account


class Explaining:
    """Explains what a login would require after a correct first factor."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        deployment: Deployment,
        policy: Policy,
        policies: Policies,
        hooking: Hooking,
        credentials: Credentials,
        apis: Apis,
        records: Records,
        throttle: Throttle,
        postage: Postage,
        clock: Clock,
    ) -> None:
        self._deployment = deployment
        self._policy = policy
        self._policies = policies
        self._hooking = hooking
        self._credentials = credentials
        self._apis = apis
        self._records = records
        self._throttle = throttle
        self._postage = postage
        self._clock = clock

    async def explain(self, caller: Caller, asked: DecisionQuestion) -> Explanation:
        """Explain a hypothetical login.

        Args:
            caller: A client that may manage users; without a client, the operator asks and may name any realm.
            asked: The login.

        Raises:
            NotFound: There is no such user or client.
            RealmUnknown: The realm is not one of the caller's, or not one of the client's.
            CofactorError: The reason why the login would be refused before any policy applies.
        """
        client, account = await self._parties(caller, asked)
        user, is_enrolled, now = account.user, enrolled(account.authenticators), self._clock.now()
        target = await self._apis.granted(self._policy.target(client, asked.target))
        wanted = wanted_of(asked.target)
        known, guesses_full_at = await self._records.read(queries.source, user.id, asked.source, now)
        login = self._login(user, client, target, vouched=asked.vouched, now=now)
        rules = await self._policies.current()
        ruling = self._policy.ruling(rules, user, client, target, is_enrolled=is_enrolled)
        answer = None
        if asked.ask_hook and self._hooking.is_on:
            grant = GrantType.VOUCHED if asked.vouched else GrantType.PASSWORD
            question = Asked(grant, asked.target, wanted, asked.source, known, dry_run=True)
            answer = await self._hooking.answer(question, account, login, ruling)
        hooked = ruling if answer is None else self._hooking.ruled(client, login, wanted, ruling, answer)
        wanted = wanted.joined(hooked.wanted)
        login = demanding(login, wanted, stale=False)
        consequence, kinds = self._consequence(account, client, login, hooked, answer)
        tries: tuple[BudgetStanding, ...] = ()
        if not asked.vouched:
            tries = await self._throttle.standing(user.realm, user.subject, asked.source, known=known)
        guesses = BudgetStanding(
            SOURCE_FAILED_CODES.quota("failed-codes-of-source", guesses_full_at, now),
            SOURCE_FAILED_CODES.wait(guesses_full_at, now),
            applies=bool(asked.source) and not known,
        )
        return Explanation(
            consequence=consequence,
            ruling=hooked,
            wanted=wanted,
            hook=self._word(ruling, hooked, answer),
            may_be_remembered=self._policy.may_skip(target, wanted),
            is_enrolled=is_enrolled,
            source_known=known,
            kinds=kinds,
            enrollment_way=(
                login.enrollment_way(user, client) if consequence is Consequence.ENROLLMENT_REQUIRED else None
            ),
            keeps_last_authenticator=self._deployment.keeps_last_authenticator or keeps_one(rules, user.id),
            authenticators=self._authenticators(account, login, guesses, known=known, now=now),
            budgets=(*tries, guesses, *_messages(user, known=known, now=now), await self._postage.standing(client.id)),
            wait=longest_wait(tries),
            now=now,
        )

    async def _parties(self, caller: Caller, asked: DecisionQuestion) -> tuple[Client, Account]:
        """Return the client and the user of a login, after checking that the caller may ask about both."""
        realm = asked.realm or self._deployment.default_realm
        if caller.client is not None:
            self._check_realm(caller.client, realm)
        client = await self._client(caller, asked.client_id)
        self._check_realm(client, realm)
        account = await self._records.read(queries.account_named, realm, asked.subject)
        if account is None:
            raise NotFound
        return client, account

    async def _client(self, caller: Caller, client_id: str) -> Client:
        if not client_id:
            if caller.client is None:
                raise MissingParameter(parameter="client_id")
            return caller.client
        client = await self._records.read(queries.client, client_id)
        if client is None:
            raise NotFound
        return client

    def _check_realm(self, client: Client, realm: str) -> None:
        if realm not in (client.realms or (self._deployment.default_realm,)):
            raise RealmUnknown

    def _login(self, user: User, client: Client, target: Target, *, vouched: bool, now: int) -> Login:
        return Login(
            id="",
            user_id=user.id,
            epoch=user.epoch,
            client_id=client.id,
            scope=target.scope,
            audience=target.audience,
            methods=client.vouch_methods if vouched else ("pwd",),
            first_factor=FirstFactor.VOUCHED if vouched else FirstFactor.PASSWORD,
            first_factor_at=now,
            issued_at=now,
            expires_at=now + self._deployment.mfa_token_life,
        )

    def _consequence(
        self, account: Account, client: Client, login: Login, ruling: Ruling, answer: Answer | None
    ) -> tuple[Consequence, tuple[Kind, ...]]:
        if account.user.blocked:
            return Consequence.BLOCKED, ()
        if isinstance(answer, Deny):
            return Consequence.DENIED, ()
        if not ruling.asks and login.demand is None:
            return Consequence.TOKENS, ()
        try:
            awaited = self._policy.awaited(account.user, client, login, account.authenticators)
        except UnmetAuthenticationRequirements:
            return Consequence.UNREACHABLE, ()
        return Consequence.ENROLLMENT_REQUIRED if awaited.enroll else Consequence.MFA_REQUIRED, awaited.kinds

    def _word(self, ruling: Ruling, hooked: Ruling, answer: Answer | None) -> HookWord:
        match answer:
            case None:
                return HookWord.NOT_ASKED if self._hooking.is_on else HookWord.ABSENT
            case SkipMfa():
                return HookWord.MAY_NOT_SKIP_MFA if ruling.asks and hooked.asks else HookWord.SKIPS_MFA
            case _:
                return _WORDS[type(answer)]

    def _authenticators(
        self, account: Account, login: Login, source: BudgetStanding, *, known: bool, now: int
    ) -> tuple[AuthenticatorStanding, ...]:
        usable = self._policy.usable(account.authenticators)
        if login.demand is not None and login.demand.steps_up:
            usable = login.demand.answered_by(usable)
        offered = {a.id for a in usable}
        standings = []
        for authenticator in account.authenticators:
            if authenticator.lapsed(now) or authenticator.state is State.REMOVED:
                continue
            kind = authenticator.kind
            signs = kind == WEBAUTHN or self._credentials.on_device(kind)
            budgets = () if signs else (*_guesses(authenticator.guard, known=known, now=now), source)
            disabled_at = 0 if signs or kind == RECOVERY_CODE else self._deployment.disable_after
            standings.append(AuthenticatorStanding(authenticator, authenticator.id in offered, disabled_at, budgets))
        return tuple(standings)


_WORDS = {
    AsRuled: HookWord.AS_RULED,
    RequireMfa: HookWord.REQUIRES_MFA,
    Deny: HookWord.DENIES,
    NoAnswer: HookWord.NO_ANSWER,
}


def _guesses(guard: Guard, *, known: bool, now: int) -> tuple[BudgetStanding, ...]:
    """Return the budgets for failed codes of an authenticator (ADR-9)."""
    strangers = FAILED_CODES.quota("failed-codes-of-strangers", guard.stranger_full_at, now)
    owners = FAILED_CODES.quota("failed-codes-of-known-sources", guard.known_full_at, now)
    daily = replace(guard, stranger_full_at=0).wait(known=False, now=now)
    failures = [at for at in guard.stranger_failures if now < at + DAY]
    regained_at = failures[0] + DAY if failures else now
    of_a_day = Quota(
        "failed-codes-of-strangers-in-a-day",
        STRANGER_FAILURES_PER_DAY,
        max(0, STRANGER_FAILURES_PER_DAY - len(failures)),
        -(-regained_at // SECOND),
    )
    return (
        BudgetStanding(strangers, FAILED_CODES.wait(guard.stranger_full_at, now), applies=not known),
        BudgetStanding(of_a_day, daily, applies=not known),
        BudgetStanding(owners, FAILED_CODES.wait(guard.known_full_at, now), applies=known),
    )


def _messages(user: User, *, known: bool, now: int) -> tuple[BudgetStanding, ...]:
    """Return a user's message budgets; none of them stops a login that needs no message."""
    counted = []
    for allowance in (PHONE, MAILS, PROMPTS):
        for of_known, whose in ((False, "strangers"), (True, "known-sources")):
            full_at, bucket = allowance.full_at(user, known=of_known), allowance.bucket
            quota = bucket.quota(f"{allowance.name}-of-{whose}", full_at, now)
            counted.append(BudgetStanding(quota, bucket.wait(full_at, now), applies=known == of_known))
    left = max(0, PROMPTS_IN_VAIN - user.prompts_since_login)
    in_vain = Quota("prompts-in-vain", PROMPTS_IN_VAIN, left, 0)
    return (*counted, BudgetStanding(in_vain, 0, applies=not known, regains=False))
