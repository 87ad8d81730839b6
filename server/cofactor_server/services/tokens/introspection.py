"""Revokes (RFC 7009) and introspects (RFC 7662) tokens that this deployment issued."""

from dataclasses import dataclass

from cofactor_server.domain.callers import Access, Caller
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.events import Event, EventName
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.requests import Introspection, UserInfo
from cofactor_server.errors import AccessTokenInvalid
from cofactor_server.seams import SECOND, Clock
from cofactor_server.services.tokens.claims import AccessClaims, AccessTokens
from cofactor_server.services.tokens.refresh_tokens import Presented, RefreshTokens, RevokeFamily, ended
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.origins import is_opened
from cofactor_server.services.transactions.queries import Records
from cofactor_server.services.transactions.validity import user_refusal
from cofactor_server.store.repositories import queries
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work
from cofactor_server.vault.digests import same, sha256

INACTIVE = Introspection(active=False)


@dataclass(frozen=True, slots=True)
class RevokeAccessToken:
    """Marks an access token as spent, so that introspection and the MFA API refuse it."""

    claims: AccessClaims
    now: int

    @property
    def needs(self) -> Needs:
        """The user, and whether the token is spent."""
        return Needs(self.claims.sub, authenticators=False, token_id=self.claims.jti)

    def decide(self, work: Work) -> None:
        """Mark the token as spent, unless it is already."""
        claims = self.claims
        if work.user(claims.sub) is None or work.is_spent(claims.sub, claims.jti):
            return
        work.spend(claims.sub, claims.jti, claims.exp * SECOND)
        work.record(Event(claims.sub, EventName.TOKEN_REVOKED, self.now, claims.client_id, claims.jti))


class TokenStates:
    """Revokes and introspects tokens, and answers UserInfo requests."""

    def __init__(
        self,
        deployment: Deployment,
        access_tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        records: Records,
        decider: Decider,
        clock: Clock,
    ) -> None:
        self._deployment = deployment
        self._access_tokens = access_tokens
        self._refresh_tokens = refresh_tokens
        self._records = records
        self._decider = decider
        self._clock = clock

    async def revoke(self, caller: Caller, client: Client, token: str) -> None:
        """Revoke a token of this client; ignore any other token silently.

        Args:
            caller: The caller.
            client: The authenticated client.
            token: A refresh token, which is revoked with its family, or an access token.
        """
        if (claims := self._access_tokens.claims(token)) is not None:
            if claims.client_id == client.id:
                with self._decider.under_way(caller):
                    await self._decider.decide(caller, RevokeAccessToken(claims, self._clock.now()))
        elif (presented := Presented.parse(token)) is not None:
            with self._decider.under_way(caller):
                # A forged token must not take a place in the decision queue of the user that it names.
                family = await self._records.read(queries.family, presented.user_id, presented.family_id)
                if family is not None and self._refresh_tokens.is_genuine(family, presented):
                    await self._decider.decide(caller, RevokeFamily(self._refresh_tokens, client, presented))

    async def introspect(self, client: Client, token: str) -> Introspection:
        """Return what this client may learn of a token; see `TokenService.IntrospectToken`.

        Args:
            client: The authenticated client.
            token: A refresh token or an access token.
        """
        if (claims := self._access_tokens.claims(token)) is not None:
            return await self._access(client, claims)
        if (presented := Presented.parse(token)) is not None:
            return await self._refresh(client, presented)
        return INACTIVE

    async def user_info(self, access: Access) -> UserInfo:
        """Return the user's claims, as far as the scopes of the access token allow.

        Args:
            access: The verified access token.

        Raises:
            AccessTokenInvalid: The token was revoked, or its user, authenticators or client are no longer valid.
        """
        account = await self._records.read(queries.account, access.user_id, access.jti)
        if account is None or account.spent or user_refusal(account.user, access.epoch):
            raise AccessTokenInvalid
        if not await is_opened(self._records, account, access.jti, access.authenticators):
            raise AccessTokenInvalid
        if await self._records.read(queries.client, access.client_id) is None:
            raise AccessTokenInvalid
        user, profile = account.user, "profile" in access.scopes
        email = user.email if "email" in access.scopes else ""
        return UserInfo(
            sub=user.id,
            name=user.label if profile else "",
            preferred_username=user.subject if profile else "",
            email=email,
            email_verified=bool(email) and user.email_verified,
        )

    async def _access(self, client: Client, claims: AccessClaims) -> Introspection:
        if claims.client_id != client.id and not set(claims.aud) & set(client.audiences):
            return INACTIVE
        account = await self._records.read(queries.account, claims.sub, claims.jti)
        if account is None or account.spent or user_refusal(account.user, claims.epoch):
            return INACTIVE
        if not await is_opened(self._records, account, claims.jti, claims.authenticators):
            return INACTIVE
        return Introspection(
            active=True,
            iss=claims.iss,
            sub=claims.sub,
            aud=tuple(claims.aud),
            client_id=claims.client_id,
            scope=claims.scope,
            jti=claims.jti,
            token_type="access_token",
            iat=claims.iat,
            exp=claims.exp,
            auth_time=claims.auth_time,
            acr=claims.acr,
            amr=tuple(claims.amr),
        )

    async def _refresh(self, client: Client, presented: Presented) -> Introspection:
        family = await self._records.read(queries.family, presented.user_id, presented.family_id)
        if family is None or family.client_id != client.id or family.generation != presented.generation:
            return INACTIVE
        if not same(family.token_sha256, sha256(presented.text)):
            return INACTIVE
        account = await self._records.read(queries.account, presented.user_id)
        if account is None or ended(account.user, account.authenticators, family, self._clock.now()):
            return INACTIVE
        shown = family.authentication
        return Introspection(
            active=True,
            iss=self._deployment.issuer,
            sub=family.user_id,
            aud=(family.audience,) if family.audience else (),
            client_id=family.client_id,
            scope=family.scope,
            jti=family.id,
            token_type="refresh_token",
            iat=family.created_at // SECOND,
            exp=family.expires_at // SECOND,
            auth_time=shown.time // SECOND,
            acr=shown.level.acr,
            amr=shown.amr,
        )
