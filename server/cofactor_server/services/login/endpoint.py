"""The token endpoint: exchanges a grant for one of three outcomes."""

from collections.abc import Mapping, Sequence

from cofactor_server.domain.authenticators.proofs import PublicKeyCredential
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.logins.grants import (
    AnswerPending,
    Chained,
    Grant,
    Issue,
    MfaOobGrant,
    MfaOtpGrant,
    MfaRecoveryCodeGrant,
    MfaWebAuthnGrant,
    Outcome,
    PasswordGrant,
    RefreshTokenGrant,
    VouchedGrant,
)
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.requests import Introspection, UserInfo
from cofactor_server.errors import (
    AccessTokenInvalid,
    CofactorError,
    InvalidClient,
    MfaTokenForeign,
    UnauthorizedClient,
)
from cofactor_server.seams import Entropy, new_id
from cofactor_server.services.callers.origins import Origins
from cofactor_server.services.login.first_factors import FirstFactors
from cofactor_server.services.login.redemption import Redeemer, RedeemOob, RedeemOtp, RedeemRecoveryCode, Request
from cofactor_server.services.login.refresh_grant import RefreshGrants
from cofactor_server.services.login.remembered_browsers import Browsers
from cofactor_server.services.login.webauthn_grant import RedeemWebAuthn
from cofactor_server.services.proofs.oob_codes import OobCodes
from cofactor_server.services.tokens.introspection import TokenStates
from cofactor_server.services.tokens.logins import Logins
from cofactor_server.services.tokens.minting import Mint
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.idempotency import Repeat
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import accounts
from cofactor_server.store.transactions.group_commit import Decision
from cofactor_server.vault.signing import Signer


class Tokens:
    """Exchanges grants for tokens."""

    def __init__(  # noqa: PLR0913 - the composition root names each
        self,
        *,
        first_factors: FirstFactors,
        refresh_grants: RefreshGrants,
        redeemer: Redeemer,
        logins: Logins,
        oob_codes: OobCodes,
        decider: Decider,
        mint: Mint,
        states: TokenStates,
        browsers: Browsers,
        origins: Origins,
        records: Records,
        signer: Signer,
        entropy: Entropy,
    ) -> None:
        self._first_factors = first_factors
        self._refresh_grants = refresh_grants
        self._redeemer = redeemer
        self._logins = logins
        self._oob_codes = oob_codes
        self._decider = decider
        self._mint = mint
        self._states = states
        self._browsers = browsers
        self._origins = origins
        self._records = records
        self._signer = signer
        self._entropy = entropy

    async def issue(self, caller: Caller, grant: Grant, request_id: str = "") -> Outcome:
        """Exchange a grant.

        Args:
            caller: The caller, with an authenticated client.
            grant: The grant to exchange.
            request_id: The idempotency key, which makes a retry safe after a lost reply (ADR-16); empty for none.

        Raises:
            CofactorError: W8 lists the reasons; `errors.TABLE` has all of them.
        """
        client = _client(caller)
        grant_type = grant.grant_type
        if grant_type not in client.grant_types:
            raise UnauthorizedClient(grant_type=grant_type)
        match grant:
            case PasswordGrant():
                return await self._first_factors.password(caller, client, grant)
            case VouchedGrant():
                return await self._first_factors.vouched(caller, client, grant)
        with self._decider.under_way(caller):
            match grant:
                case RefreshTokenGrant():
                    return await self._refresh_grants.exchange(caller, client, grant, request_id)
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
        """Return the public signing keys as JSON Web Keys (RFC 7517)."""
        return self._signer.public_jwks()["keys"]

    async def revoke(self, caller: Caller, token: str) -> None:
        """Revoke a token of this client (RFC 7009); another client's token is ignored without an error."""
        client = _client(caller)
        browser = self._browsers.opened(token)
        if browser is None:
            await self._states.revoke(caller, client, token)
        elif browser.client_id == client.id:
            await self._records.change(accounts.forget_browser, browser)

    async def introspect(self, caller: Caller, token: str) -> Introspection:
        """Introspect a token on behalf of this client (RFC 7662)."""
        return await self._states.introspect(_client(caller), token)

    async def allows_origin(self, origin: str, client_id: str) -> bool:
        """Whether pages of an origin may read responses to a client, or to any client if `client_id` is empty."""
        return await self._origins.allows(origin, client_id)

    async def user_info(self, caller: Caller) -> UserInfo:
        """Return the claims about the user of the caller's access token (OpenID Connect Core section 5.3)."""
        if caller.access is None:
            raise AccessTokenInvalid
        return await self._states.user_info(caller.access)

    async def _minted(
        self, caller: Caller, client: Client, decision: Decision[Issue | Chained | CofactorError]
    ) -> Outcome:
        return await self._mint.outcome(await self._decider.decide(caller, decision), client)

    async def _oob(self, caller: Caller, client: Client, grant: MfaOobGrant, request_id: str) -> Outcome:
        repeat = Repeat.of(client.id, request_id, grant.grant_type, grant.mfa_token, grant.oob_code, grant.binding_code)
        request = self._request(caller, client, grant.mfa_token, repeat, remember=grant.remember)
        challenge_id = self._oob_codes.open(grant.oob_code)
        decision = RedeemOob(self._redeemer, request, challenge_id, grant.binding_code)
        decided: Issue | Chained | AnswerPending = await self._decider.decide(caller, decision)
        return decided if isinstance(decided, AnswerPending) else await self._mint.outcome(decided, client)

    async def _webauthn(self, caller: Caller, client: Client, grant: MfaWebAuthnGrant, request_id: str) -> Outcome:
        repeat = Repeat.of(
            client.id, request_id, grant.grant_type, grant.mfa_token, grant.oob_code, grant.credential_json
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


def _client(caller: Caller) -> Client:
    if caller.client is None:
        raise InvalidClient
    return caller.client
