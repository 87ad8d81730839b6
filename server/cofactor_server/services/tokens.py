"""The Token endpoint: a grant in, one of three outcomes out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cofactor_server.domain.acr import FIRST_FACTOR_METHODS, Authentication, authentication
from cofactor_server.domain.authenticators import enrolled
from cofactor_server.domain.browsers import Browser
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.clients import Capability, Client, GrantType
from cofactor_server.domain.demands import Demand, Wanted
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.grants import (
    AnswerPending,
    Chained,
    Grant,
    Issue,
    MfaOobGrant,
    MfaOtpGrant,
    MfaRecoveryCodeGrant,
    MfaRequired,
    MfaWebAuthnGrant,
    Outcome,
    PasswordGrant,
    RefreshTokenGrant,
    Target,
    VouchedGrant,
)
from cofactor_server.domain.logins import FirstFactor, Login
from cofactor_server.domain.policies import Ruling
from cofactor_server.domain.proofs import PublicKeyCredential
from cofactor_server.domain.refresh import RefreshFamily
from cofactor_server.domain.requests import Introspection, UserInfo
from cofactor_server.domain.users import User
from cofactor_server.errors import (
    AccessTokenInvalid,
    CofactorError,
    InvalidClient,
    InvalidCredentials,
    MfaTokenForeign,
    RealmUnknown,
    RefreshTokenInvalid,
    TooManyRequests,
    UnauthorizedClient,
    UserBlocked,
    VouchRefused,
)
from cofactor_server.seams import Clock, Entropy, new_id
from cofactor_server.services import vouching
from cofactor_server.services.apis import Apis
from cofactor_server.services.asserting import RedeemWebAuthn
from cofactor_server.services.deciding import Decider
from cofactor_server.services.hooking import Asked, Hooking
from cofactor_server.services.inspecting import TokenStates
from cofactor_server.services.logins import Logins
from cofactor_server.services.minting import Mint, login_issue
from cofactor_server.services.oob_codes import OobCodes
from cofactor_server.services.origins import Origins
from cofactor_server.services.policies import Policies
from cofactor_server.services.policy import Policy, Requirement, demanding, wanted_of
from cofactor_server.services.records import Records
from cofactor_server.services.redeeming import Redeemer, RedeemOob, RedeemOtp, RedeemRecoveryCode, Request
from cofactor_server.services.refreshing import Presented, Refresh, WantsMfa
from cofactor_server.services.remembering import Browsers, Recognize
from cofactor_server.services.repeating import Repeat
from cofactor_server.services.throttling import Throttle
from cofactor_server.store import accounts, queries
from cofactor_server.store.group_commit import Decision
from cofactor_server.store.queries import Account
from cofactor_server.vault.passwords import Passwords, PasswordsBusy
from cofactor_server.vault.signing import Signer

_GRANT_TYPES: Mapping[type[Grant], GrantType] = {
    RefreshTokenGrant: GrantType.REFRESH_TOKEN,
    MfaOtpGrant: GrantType.MFA_OTP,
    MfaOobGrant: GrantType.MFA_OOB,
    MfaRecoveryCodeGrant: GrantType.MFA_RECOVERY_CODE,
    MfaWebAuthnGrant: GrantType.MFA_WEBAUTHN,
    VouchedGrant: GrantType.VOUCHED,
}


class Tokens:
    """Exchanges grants for tokens."""

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
        oob_codes: OobCodes,
        redeemer: Redeemer,
        states: TokenStates,
        mint: Mint,
        apis: Apis,
        origins: Origins,
        signer: Signer,
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
        self._oob_codes = oob_codes
        self._redeemer = redeemer
        self._states = states
        self._mint = mint
        self._apis = apis
        self._origins = origins
        self._signer = signer
        self._passwords = passwords
        self._throttle = throttle
        self._clock = clock
        self._entropy = entropy

    async def issue(self, caller: Caller, grant: Grant, request_id: str = "") -> Outcome:
        """Exchange a grant.

        Args:
            caller: Who asks; the client is authenticated.
            grant: What is exchanged.
            request_id: Makes repeating safe after a lost reply (security.md 16); empty for none.

        Raises:
            CofactorError: The reason is in contract section 8; `errors.TABLE` has them all.
        """
        client = _client(caller)
        grant_type = _grant_type(grant)
        if grant_type not in client.grant_types:
            raise UnauthorizedClient(grant_type=grant_type)
        match grant:
            case PasswordGrant():
                return await self._password(caller, client, grant)
            case VouchedGrant():
                return await self._vouched(caller, client, grant)
        with self._decider.under_way(caller):
            match grant:
                case RefreshTokenGrant():
                    return await self._refresh(caller, client, grant, request_id)
                case MfaOtpGrant(mfa_token, otp, authenticator_id, remember):
                    repeat = Repeat.of(client.id, request_id, grant_type, mfa_token, otp, authenticator_id)
                    request = self._request(caller, client, mfa_token, repeat, remember=remember)
                    decision = RedeemOtp(self._redeemer, request, otp, authenticator_id)
                    return await self._minted(caller, client, decision)
                case MfaRecoveryCodeGrant(mfa_token, recovery_code):
                    repeat = Repeat.of(client.id, request_id, grant_type, mfa_token, recovery_code)
                    request = self._request(caller, client, mfa_token, repeat)
                    redeem = RedeemRecoveryCode(self._redeemer, request, recovery_code)
                    return await self._minted(caller, client, redeem)
                case MfaOobGrant():
                    return await self._oob(caller, client, grant, request_id)
                case MfaWebAuthnGrant():
                    return await self._webauthn(caller, client, grant, request_id)

    def json_web_keys(self) -> Sequence[Mapping[str, str]]:
        """Return the public keys, RFC 7517."""
        return self._signer.public_jwks()["keys"]

    async def revoke(self, caller: Caller, token: str) -> None:
        """Revoke a token of this client (RFC 7009); others are left alone, without telling."""
        client = _client(caller)
        browser = self._browsers.opened(token)
        if browser is None:
            await self._states.revoke(caller, client, token)
        elif browser.client_id == client.id:
            await self._records.change(accounts.forget_browser, browser)

    async def introspect(self, caller: Caller, token: str) -> Introspection:
        """Return what a token says to this client (RFC 7662)."""
        return await self._states.introspect(_client(caller), token)

    async def allows_origin(self, origin: str, client_id: str) -> bool:
        """Whether pages of an origin may read what is answered to a client, or to any where none is named."""
        return await self._origins.allows(origin, client_id)

    async def user_info(self, caller: Caller) -> UserInfo:
        """Return who the user of the caller's access token is (OpenID Connect Core section 5.3)."""
        if caller.access is None:
            raise AccessTokenInvalid
        return await self._states.user_info(caller.access)

    # First factors

    async def _password(self, caller: Caller, client: Client, grant: PasswordGrant) -> Outcome:
        target = await self._apis.granted(self._policy.target(client, grant.target))
        wanted = wanted_of(grant.target)
        realm = grant.realm or self._deployment.default_realm
        if realm not in (client.realms or (self._deployment.default_realm,)):
            raise RealmUnknown
        name, source = grant.username, caller.source
        user, known = await self._records.read(queries.login, realm, name, source, self._clock.now())
        known = known or await self._is_remembered(user, client, grant.remember_token)
        taken = await self._throttle.take(realm, name, source, known=known)
        stored = user.password_hash if user and user.password_hash else None
        try:
            # No transaction is open here, and an unknown user costs the same hash (security.md 22).
            right = await self._passwords.verify(stored, grant.password)
        except PasswordsBusy:
            await self._throttle.give_back(taken)
            raise TooManyRequests(retry_after=1) from None
        if user is None or not right:
            raise InvalidCredentials(quota=taken.quota)
        await self._throttle.give_back(taken)
        # Hashing takes its time, and waits for its turn: what follows is decided on how the user is now.
        account = await self._as_now(user.id, client, stored)
        now = self._clock.now()
        login = self._login(account.user, client, target, ("pwd",), FirstFactor.PASSWORD, now)
        outcome = await self._after_first_factor(caller, account, client, login, wanted, grant)
        return replace(outcome, quota=taken.uncounted)

    async def _vouched(self, caller: Caller, client: Client, grant: VouchedGrant) -> Outcome:
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
        login = self._login(vouched.user, client, target, grant.methods, FirstFactor.VOUCHED, shown_at)
        account = Account(vouched.user, vouched.authenticators)
        return await self._after_first_factor(caller, account, client, login, wanted, grant)

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
        # Somebody else may have added the same user first: whoever is there now is the user.
        standing = await self._records.read(queries.user_named, grant.realm, grant.subject)
        if standing is None:
            raise VouchRefused(explanation="the user is unknown")
        return standing

    async def _as_now(self, user_id: str, client: Client, password_hash: str | None) -> Account:
        """Return an account as it is after something took its time, for a client and a password that still hold."""
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
        ruling = await self._ruling(account, client, login)
        if self._hooking.is_on:
            account, ruling = await self._hooked(caller, account, client, login, wanted, grant)
        user, authenticators, target = account.user, account.authenticators, Target(login.scope, login.audience)
        wanted = wanted.joined(ruling.wanted)
        # A password is as fresh as it gets; a vouch may be of some minutes ago.
        stale = login.first_factor is FirstFactor.VOUCHED and wanted.outdates(login.first_factor_at, login.issued_at)
        login = demanding(login, wanted, stale=stale)
        asks = ruling.asks or login.demand is not None
        browser = self._browsers.of(user, client, grant.remember_token)
        if asks and browser is not None:
            if self._policy.may_skip(target, wanted):
                asks = not await self._recognized(caller, client, login, browser)
            else:
                remembered = await self._records.read(queries.remembers, browser)
                login = replace(login, remembered=remembered)
        if asks:
            return self._mfa_required(login, self._policy.awaited(user, client, login, authenticators))
        if login.audience == self._deployment.mfa_audience and not login.may_enroll(user, client):
            # Who may not enroll within this login may not enroll with the token that comes of it either.
            login = replace(login, scope=" ".join(scope for scope in login.scope.split() if scope != "enroll"))
        shown = authentication(login.methods, None, time=login.first_factor_at)
        return await self._mint.tokens(await self._first_factor_issue(client, login, shown), client)

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
    ) -> tuple[Account, Ruling]:
        """Ask the hook, and return the account and the ruling as they are when it has answered."""
        ruling = await self._ruling(account, client, login)
        known = await self._records.read(queries.knows, account.user.id, caller.source, login.issued_at)
        known = known or await self._is_remembered(account.user, client, grant.remember_token)
        asked = Asked(_grant_type(grant), grant.target, wanted, caller.source, known)
        answer = await self._hooking.answer(asked, account, login, ruling)
        user = account.user
        account = await self._as_now(user.id, client, user.password_hash)
        if account.user.epoch != login.epoch:
            raise InvalidCredentials
        ruling = await self._ruling(account, client, login)
        hooked = self._hooking.ruled(client, login, wanted, ruling, answer)
        await self._hooking.record(caller, login, answer, spared=ruling.asks and not hooked.asks)
        return account, hooked

    async def _is_remembered(self, user: User | None, client: Client, remember_token: str) -> bool:
        """Whether a token is of a browser that is remembered, which is a source that completed MFA (security.md 9)."""
        browser = self._browsers.of(user, client, remember_token)
        return browser is not None and await self._records.read(queries.remembers, browser)

    async def _recognized(self, caller: Caller, client: Client, login: Login, browser: Browser) -> bool:
        with self._decider.under_way(caller):
            recognize = Recognize(browser, client, caller.source, login.issued_at)
            return await self._decider.decide(caller, recognize)

    async def _first_factor_issue(self, client: Client, login: Login, shown: Authentication) -> Issue:
        family, refresh_token = self._redeemer.refresh_tokens.start(client, login, shown)
        if family is not None:
            await self._records.change(accounts.add_family, family)
        return login_issue(login, shown, new_id(self._entropy, ""), login.issued_at, refresh_token=refresh_token)

    def _login(
        self,
        user: User,
        client: Client,
        target: Target,
        methods: tuple[str, ...],
        first_factor: FirstFactor,
        first_factor_at: int,
    ) -> Login:
        now = self._clock.now()
        return Login(
            id=new_id(self._entropy, ""),
            user_id=user.id,
            epoch=user.epoch,
            client_id=client.id,
            scope=target.scope,
            audience=target.audience,
            methods=methods,
            first_factor=first_factor,
            first_factor_at=first_factor_at,
            issued_at=now,
            expires_at=now + self._deployment.mfa_token_life,
        )

    def _mfa_required(self, login: Login, requirement: Requirement) -> MfaRequired:
        return MfaRequired(self._logins.seal(login), login.expires_at, requirement.enroll, requirement.kinds)

    # Refresh tokens and second factors

    async def _refresh(self, caller: Caller, client: Client, grant: RefreshTokenGrant, request_id: str) -> Outcome:
        presented = Presented.parse(grant.refresh_token)
        if presented is None:
            raise RefreshTokenInvalid
        # It names a user: a forged one must not take one of the places that this user's calls have in the queue.
        family = await self._records.read(queries.family, presented.user_id, presented.family_id)
        if family is None or not self._redeemer.refresh_tokens.is_genuine(family, presented):
            raise RefreshTokenInvalid
        target, wanted = grant.target, wanted_of(grant.target)
        wanted = wanted.joined(await self._ruled(client, family, target))
        refresh = Refresh(
            tokens=self._redeemer.refresh_tokens,
            repeats=self._redeemer.repeats,
            client=client,
            presented=presented,
            scope=target.scope,
            audience=target.audience,
            wants_mfa_audience=self._deployment.is_mfa_audience(target.audience),
            wanted=wanted,
            jti=new_id(self._entropy, ""),
            source=caller.source,
            repeat=Repeat.of(
                client.id,
                request_id,
                GrantType.REFRESH_TOKEN,
                grant.refresh_token,
                target.scope,
                target.audience,
                " ".join(target.acr_values),
                "" if target.max_age is None else str(target.max_age),
            ),
        )
        decided: Issue | Chained | WantsMfa = await self._decider.decide(caller, refresh)
        if isinstance(decided, WantsMfa):
            return await self._mfa_for(client, decided, target, wanted)
        return await self._settled(client, decided)

    async def _ruled(self, client: Client, family: RefreshFamily, target: Target) -> Wanted:
        """Return how strong, fresh and manifold rules want a refresh; whether to ask was said at the login (S203)."""
        rules = await self._policies.current()
        if not any(rule.wanted.by for rule in rules):
            return Wanted()
        account = await self._records.read(queries.account, family.user_id)
        if account is None:
            return Wanted()
        granted = Target(target.scope or family.scope, target.audience or family.audience)
        is_enrolled = enrolled(account.authenticators)
        return self._policy.ruling(rules, account.user, client, granted, is_enrolled=is_enrolled).wanted

    async def _mfa_for(self, client: Client, refused: WantsMfa, target: Target, wanted: Wanted) -> MfaRequired:
        family = refused.family
        account = await self._records.read(queries.account, family.user_id)
        if account is None or account.user.epoch != refused.epoch:
            raise RefreshTokenInvalid
        granted = Target(refused.scope, family.audience)
        if self._deployment.is_mfa_audience(target.audience):
            granted = await self._apis.granted(self._policy.target(client, target))
        methods = _first_factor(family.authentication.amr)
        login = self._login(account.user, client, granted, methods, FirstFactor.REFRESH, family.authentication.time)
        # The grant is bound to this generation of the family, whatever was asked for (security.md 15).
        demand = Demand(wanted.level, wanted.two_kinds, (), family.id, family.generation, wanted.by)
        login = replace(login, demand=demand)
        requirement = self._policy.awaited(account.user, client, login, account.authenticators)
        return self._mfa_required(login, requirement)

    async def _minted(
        self, caller: Caller, client: Client, decision: Decision[Issue | Chained | CofactorError]
    ) -> Outcome:
        return await self._settled(client, await self._decider.decide(caller, decision))

    async def _settled(self, client: Client, decided: Issue | Chained) -> Outcome:
        if isinstance(decided, Chained):
            login, kinds = decided.login, decided.kinds
            return MfaRequired(self._logins.seal(login), login.expires_at, False, kinds, decided.recovery_code)
        return await self._mint.tokens(decided, client)

    async def _oob(self, caller: Caller, client: Client, grant: MfaOobGrant, request_id: str) -> Outcome:
        repeat = Repeat.of(
            client.id, request_id, GrantType.MFA_OOB, grant.mfa_token, grant.oob_code, grant.binding_code
        )
        request = self._request(caller, client, grant.mfa_token, repeat, remember=grant.remember)
        challenge_id = self._oob_codes.open(grant.oob_code)
        decision = RedeemOob(self._redeemer, request, challenge_id, grant.binding_code)
        decided: Issue | Chained | AnswerPending = await self._decider.decide(caller, decision)
        return decided if isinstance(decided, AnswerPending) else await self._settled(client, decided)

    async def _webauthn(self, caller: Caller, client: Client, grant: MfaWebAuthnGrant, request_id: str) -> Outcome:
        repeat = Repeat.of(
            client.id, request_id, GrantType.MFA_WEBAUTHN, grant.mfa_token, grant.oob_code, grant.credential_json
        )
        request = self._request(caller, client, grant.mfa_token, repeat, remember=grant.remember)
        challenge_id = self._oob_codes.open(grant.oob_code)
        credential = PublicKeyCredential(grant.credential_id, grant.credential_json)
        return await self._minted(caller, client, RedeemWebAuthn(self._redeemer, request, challenge_id, credential))

    def _request(
        self, caller: Caller, client: Client, mfa_token: str, repeat: Repeat | None, *, remember: bool = False
    ) -> Request:
        login = self._logins.redeemed(mfa_token)
        if login.client_id != client.id:
            raise MfaTokenForeign
        return Request(login, client, caller.source, new_id(self._entropy, ""), repeat, remember)


def _first_factor(amr: Sequence[str]) -> tuple[str, ...]:
    """Return the first factor of what a family was begun with; of a security key's `user` nothing is left."""
    key = "hwk" in amr or "swk" in amr
    return tuple(method for method in amr if method in FIRST_FACTOR_METHODS and not (key and method == "user"))


def _client(caller: Caller) -> Client:
    if caller.client is None:
        raise InvalidClient
    return caller.client


def _grant_type(grant: Grant) -> GrantType:
    if isinstance(grant, PasswordGrant):
        return GrantType.PASSWORD_REALM if grant.by_realm else GrantType.PASSWORD
    return _GRANT_TYPES[type(grant)]
