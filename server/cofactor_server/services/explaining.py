"""Decisions explained: what a login would be asked for, by whose word, and where every counter stands.

It reads what logins read, through the same code where that decides anything, and writes nothing.
"""

from cofactor_server.domain.authenticators import State, enrolled
from cofactor_server.domain.budgets import (
    FAILED_CODES,
    PROMPTS_IN_VAIN,
    SOURCE_FAILED_CODES,
    STRANGER_FAILURES_PER_DAY,
    Guard,
)
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.clients import Client, GrantType
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.explanations import (
    AuthenticatorStanding,
    BudgetStanding,
    Consequence,
    DecisionQuestion,
    Explanation,
    HookWord,
    longest_wait,
)
from cofactor_server.domain.factor_kinds import RECOVERY_CODE, WEBAUTHN
from cofactor_server.domain.grants import Target
from cofactor_server.domain.hooks import Answer, AsRuled, Deny, NoAnswer, RequireMfa, SkipMfa
from cofactor_server.domain.logins import FirstFactor, Login
from cofactor_server.domain.policies import Ruling
from cofactor_server.domain.proofs import Kind
from cofactor_server.domain.users import User
from cofactor_server.domain.values import replace
from cofactor_server.errors import (
    MissingParameter,
    NotFound,
    Quota,
    RealmUnknown,
    UnmetAuthenticationRequirements,
)
from cofactor_server.seams import DAY, SECOND, Clock
from cofactor_server.services.apis import Apis
from cofactor_server.services.credentials import Credentials
from cofactor_server.services.hooking import Asked, Hooking
from cofactor_server.services.policies import Policies
from cofactor_server.services.policy import Policy, demanding, wanted_of
from cofactor_server.services.postage import Postage
from cofactor_server.services.records import Records
from cofactor_server.services.sending import MAILS, PHONE, PROMPTS
from cofactor_server.services.throttling import Throttle
from cofactor_server.store import queries
from cofactor_server.store.queries import Account


class Explaining:
    """Tells what would follow a right first factor."""

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
        """Explain a login that nobody attempts.

        Args:
            caller: A client that may manage users, or nobody: then the operator asks, who may name any realm.
            asked: The login.

        Raises:
            NotFound: There is no such user or client.
            RealmUnknown: The caller, or the client, has nothing to do with the realm.
            CofactorError: What the login would be refused for before any policy.
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
            authenticators=self._authenticators(account, login, guesses, known=known, now=now),
            budgets=(*tries, guesses, *_messages(user, known=known, now=now), await self._postage.standing(client.id)),
            wait=longest_wait(tries),
            now=now,
        )

    async def _parties(self, caller: Caller, asked: DecisionQuestion) -> tuple[Client, Account]:
        """Return the client and the user of a login, both within the caller's reach."""
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
    """Return the guess budgets of an authenticator (security.md 9)."""
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
    """Return the budgets of messages to a user; none of them stands before a login that needs no message."""
    counted = []
    for allowance in (PHONE, MAILS, PROMPTS):
        for of_known, whose in ((False, "strangers"), (True, "known-sources")):
            full_at, bucket = allowance.full_at(user, known=of_known), allowance.bucket
            quota = bucket.quota(f"{allowance.name}-of-{whose}", full_at, now)
            counted.append(BudgetStanding(quota, bucket.wait(full_at, now), applies=known == of_known))
    left = max(0, PROMPTS_IN_VAIN - user.prompts_since_login)
    in_vain = Quota("prompts-in-vain", PROMPTS_IN_VAIN, left, 0)
    return (*counted, BudgetStanding(in_vain, 0, applies=not known, regains=False))
