"""Verifies first factors: a password checked here, or a first factor that a trusted client vouches for."""

import asyncio

from cofactor_server.domain.authenticators.acr import Authentication, authentication
from cofactor_server.domain.authenticators.authenticator import enrolled
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.demands import Wanted
from cofactor_server.domain.logins.grants import Issue, Outcome, PasswordGrant, Target, VouchedGrant
from cofactor_server.domain.logins.login import FirstFactor, Login
from cofactor_server.domain.logins.policies import Ruling
from cofactor_server.domain.parties.browsers import Browser
from cofactor_server.domain.parties.clients import Capability, Client
from cofactor_server.domain.parties.users import User
from cofactor_server.errors import (
    InvalidClient,
    InvalidCredentials,
    RealmUnknown,
    TooManyRequests,
    UserBlocked,
    VouchRefused,
)
from cofactor_server.seams import Clock, Entropy, new_id
from cofactor_server.services.login import vouching
from cofactor_server.services.login.remembered_browsers import Browsers, Recognize
from cofactor_server.services.login.throttling import Throttle, Try, reached
from cofactor_server.services.policy.apis import Apis
from cofactor_server.services.policy.decision_hook import Asked, Hooking
from cofactor_server.services.policy.evaluation import Policy, demanding, wanted_of
from cofactor_server.services.policy.rules import Policies
from cofactor_server.services.tokens.logins import Logins
from cofactor_server.services.tokens.minting import Mint, login_issue
from cofactor_server.services.tokens.refresh_tokens import RefreshTokens
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import accounts, queries
from cofactor_server.store.repositories.queries import Account
from cofactor_server.vault.passwords import Passwords, PasswordsBusy


class FirstFactors:
    """Verifies a first factor, then issues tokens or requires MFA."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        deployment: Deployment,
        policy: Policy,
        policies: Policies,
        hooking: Hooking,
        browsers: Browsers,
        records: Records,
        decider: Decider,
        logins: Logins,
        refresh_tokens: RefreshTokens,
        mint: Mint,
        apis: Apis,
        passwords: Passwords,
        throttle: Throttle,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._deployment = deployment
        self._policy = policy
        self._policies = policies
        self._hooking = hooking
        self._browsers = browsers
        self._records = records
        self._decider = decider
        self._logins = logins
        self._refresh_tokens = refresh_tokens
        self._mint = mint
        self._apis = apis
        self._passwords = passwords
        self._throttle = throttle
        self._clock = clock
        self._entropy = entropy

    async def password(self, caller: Caller, client: Client, grant: PasswordGrant) -> Outcome:
        """Exchange a password.

        Raises:
            CofactorError: W8 lists the reasons.
        """
        target = await self._apis.granted(self._policy.target(client, grant.target))
        wanted = wanted_of(grant.target)
        realm = grant.realm or self._deployment.default_realm
        if realm not in (client.realms or (self._deployment.default_realm,)):
            raise RealmUnknown
        name, source = grant.username, caller.source
        user, known = await self._records.read(queries.login, realm, name, source, self._clock.now())
        remembered = await self._is_remembered(user, client, grant.remember_token)
        taken = await self._throttle.take(realm, name, source, known=known, remembered=remembered)
        stored = user.password_hash if user and user.password_hash else None
        right = await self._is_right(taken, stored, grant.password)
        if user is None or not right:
            raise InvalidCredentials(quota=taken.quota)
        await self._throttle.give_back(taken)
        # Hashing is slow and may be queued, so the account is read again: the rest is decided on its current state.
        account = await self._as_now(user.id, client, stored)
        now = self._clock.now()
        login = self._logins.begun(account.user, client, target, ("pwd",), FirstFactor.PASSWORD, now)
        outcome = await self._after_first_factor(caller, account, client, login, wanted, grant)
        return replace(outcome, quota=taken.uncounted)

    async def vouched(self, caller: Caller, client: Client, grant: VouchedGrant) -> Outcome:
        """Exchange a trusted client's statement about a first factor (ADR-6).

        Raises:
            CofactorError: The client may not make this statement, or the user is unknown or blocked.
        """
        target = await self._apis.granted(self._policy.target(client, grant.target))
        wanted = wanted_of(grant.target)
        now = self._clock.now()
        vouching.check(self._deployment, client, grant, now)
        user = await self._records.read(queries.user_named, grant.realm, grant.subject)
        if user is None:
            if Capability.PROVISION not in client.capabilities:
                raise VouchRefused(explanation="the user is unknown")
            user = await self._provisioned(grant, now)
        with self._decider.under_way(caller):
            record = vouching.RecordVouch(user.id, client, grant.label, grant.methods, now)
            vouched = await self._decider.decide(caller, record)
        shown_at = min(grant.authenticated_at, now)
        login = self._logins.begun(vouched.user, client, target, grant.methods, FirstFactor.VOUCHED, shown_at)
        account = Account(vouched.user, vouched.authenticators)
        return await self._after_first_factor(caller, account, client, login, wanted, grant)

    async def _is_right(self, taken: Try, stored: str | None, password: str) -> bool:
        """Whether a password is the stored one.

        No transaction is open here, and an unknown user costs the same hash (ADR-22).

        Raises:
            TooManyRequests: Too many passwords wait to be hashed.
            TooManyAttempts: It is not known to be right by the time at which a stranger is refused.
        """
        try:
            async with asyncio.timeout_at(taken.until):
                right = await self._passwords.verify(stored, password)
        except PasswordsBusy:
            await self._throttle.give_back(taken)
            if taken.refusal is None:
                raise TooManyRequests(retry_after=1) from None
            right = False
        except TimeoutError:
            right = False
        if taken.refusal is not None and taken.until is not None and not right:
            await reached(taken.until)
            raise taken.refusal
        return right

    async def _provisioned(self, grant: VouchedGrant, now: int) -> User:
        user = User(
            id=new_id(self._entropy, "usr_"),
            realm=grant.realm,
            subject=grant.subject,
            label=grant.label,
            epoch=1,
            blocked=False,
            created_at=now,
        )
        await self._records.change(accounts.add_user, user)
        # A concurrent request may have added the same user first: use the row that is stored now.
        standing = await self._records.read(queries.user_named, grant.realm, grant.subject)
        if standing is None:
            raise VouchRefused(explanation="the user is unknown")
        return standing

    async def _as_now(self, user_id: str, client: Client, password_hash: str | None) -> Account:
        """Read the account again after a slow step, and check that the client and the password are unchanged."""
        account = await self._records.read(queries.account, user_id)
        if await self._records.read(queries.client, client.id) != client:
            raise InvalidClient
        if account is None or account.user.password_hash != password_hash:
            raise InvalidCredentials
        if account.user.blocked:
            raise UserBlocked
        return account

    async def _after_first_factor(
        self,
        caller: Caller,
        account: Account,
        client: Client,
        login: Login,
        wanted: Wanted,
        grant: PasswordGrant | VouchedGrant,
    ) -> Outcome:
        ruling, spared = await self._ruling(account, client, login), False
        if self._hooking.is_on:
            account, ruling, spared = await self._hooked(caller, account, client, login, wanted, grant)
        user, authenticators, target = account.user, account.authenticators, Target(login.scope, login.audience)
        wanted = wanted.joined(ruling.wanted)
        # A password was verified just now; a vouched first factor may be some minutes old.
        stale = login.first_factor is FirstFactor.VOUCHED and wanted.outdates(login.first_factor_at, login.issued_at)
        login = demanding(login, wanted, stale=stale)
        asks = ruling.asks or login.demand is not None
        browser = self._browsers.of(user, client, grant.remember_token)
        by: tuple[str, ...] = ()
        if asks and browser is not None:
            if self._policy.may_skip(target, wanted):
                by = await self._recognized(caller, client, login, browser)
                asks, spared = not by, bool(by)
            else:
                remembered = await self._records.read(queries.remembers, browser)
                login = replace(login, remembered=remembered)
        if asks:
            return self._logins.awaiting(login, self._policy.awaited(user, client, login, authenticators))
        if login.audience == self._deployment.mfa_audience and not login.may_enroll(user, client):
            # A user who may not enroll within this login may not enroll with the resulting token either.
            login = replace(login, scope=" ".join(scope for scope in login.scope.split() if scope != "enroll"))
        shown = authentication(login.methods, None, time=login.first_factor_at, authenticators=by, spared=spared)
        return await self._mint.tokens(await self._issue(client, login, shown), client)

    async def _ruling(self, account: Account, client: Client, login: Login) -> Ruling:
        rules, target = await self._policies.current(), Target(login.scope, login.audience)
        return self._policy.ruling(rules, account.user, client, target, is_enrolled=enrolled(account.authenticators))

    async def _hooked(
        self,
        caller: Caller,
        account: Account,
        client: Client,
        login: Login,
        wanted: Wanted,
        grant: PasswordGrant | VouchedGrant,
    ) -> tuple[Account, Ruling, bool]:
        """Ask the hook; return the account and the ruling as of its answer, and whether it skips the second factor."""
        ruling = await self._ruling(account, client, login)
        known = await self._records.read(queries.knows, account.user.id, caller.source, login.issued_at)
        known = known or await self._is_remembered(account.user, client, grant.remember_token)
        asked = Asked(grant.grant_type, grant.target, wanted, caller.source, known)
        answer = await self._hooking.answer(asked, account, login, ruling)
        user = account.user
        account = await self._as_now(user.id, client, user.password_hash)
        if account.user.epoch != login.epoch:
            raise InvalidCredentials
        ruling = await self._ruling(account, client, login)
        hooked = self._hooking.ruled(client, login, wanted, ruling, answer)
        spared = ruling.asks and not hooked.asks
        await self._hooking.record(caller, login, answer, spared=spared)
        return account, hooked, spared

    async def _is_remembered(self, user: User | None, client: Client, remember_token: str) -> bool:
        """Whether a token names a remembered browser, which counts as a source that completed MFA (ADR-9)."""
        browser = self._browsers.of(user, client, remember_token)
        return browser is not None and await self._records.read(queries.remembers, browser)

    async def _recognized(self, caller: Caller, client: Client, login: Login, browser: Browser) -> tuple[str, ...]:
        with self._decider.under_way(caller):
            recognize = Recognize(browser, client, caller.source, login.issued_at)
            return await self._decider.decide(caller, recognize)

    async def _issue(self, client: Client, login: Login, shown: Authentication) -> Issue:
        family, refresh_token = self._refresh_tokens.start(client, login, shown)
        if family is not None:
            await self._records.change(accounts.add_family, family)
        return login_issue(login, shown, new_id(self._entropy, ""), login.issued_at, refresh_token=refresh_token)
