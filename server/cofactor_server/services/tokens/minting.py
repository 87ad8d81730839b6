"""Signs access tokens (RFC 9068) and id_tokens (OpenID Connect Core section 2) for decided logins."""

from cofactor_server.domain.authenticators.acr import Authentication
from cofactor_server.domain.deployment import MFA_ACCESS_TOKEN_SECONDS, Deployment
from cofactor_server.domain.foundation.encoding import base64url
from cofactor_server.domain.logins.grants import Chained, Issue, MfaRequired, Tokens
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.parties.apis import TokenProfile
from cofactor_server.domain.parties.clients import Client
from cofactor_server.seams import SECOND
from cofactor_server.services.policy.apis import Apis
from cofactor_server.services.tokens.claims import CLIENT_CLAIMS, ID_TOKEN_TYPE, TYPES
from cofactor_server.services.tokens.logins import Logins
from cofactor_server.vault.digests import sha256
from cofactor_server.vault.signing import Signer
from cofactor_server.vault.signing_keys import Algorithm


def login_issue(
    login: Login,
    shown: Authentication,
    jti: str,
    issued_at: int,
    *,
    refresh_token: str = "",
    recovery_code: str = "",
) -> Issue:
    """Return the facts of the tokens for a completed login; scope and audience are always the login's own.

    Args:
        login: The login.
        shown: The authentication that the user completed.
        jti: The id of the access token.
        issued_at: Microseconds since the Unix epoch.
        refresh_token: The refresh token to issue; empty for none.
        recovery_code: The new recovery code if the user spent one; empty otherwise.
    """
    return Issue(
        jti=jti,
        user_id=login.user_id,
        epoch=login.epoch,
        client_id=login.client_id,
        scope=login.scope,
        audience=login.audience,
        authentication=shown,
        issued_at=issued_at,
        refresh_token=refresh_token,
        recovery_code=recovery_code,
    )


class Mint:
    """Makes tokens from decided facts; the same facts always produce the same claims."""

    def __init__(self, deployment: Deployment, logins: Logins, signer: Signer, apis: Apis) -> None:
        self._apis = apis
        self._deployment = deployment
        self._logins = logins
        self._signer = signer

    async def outcome(self, decided: Issue | Chained, client: Client) -> Tokens | MfaRequired:
        """Return the tokens for a completed login, or the mfa_token of a login that needs another factor.

        Args:
            decided: The decided outcome.
            client: The client of the login.
        """
        if isinstance(decided, Chained):
            login, kinds = decided.login, decided.kinds
            return MfaRequired(
                self._logins.seal(login), login.expires_at, False, kinds, recovery_code=decided.recovery_code
            )
        return await self.tokens(decided, client)

    async def tokens(self, issue: Issue, client: Client) -> Tokens:
        """Return the signed tokens for a completed login.

        Args:
            issue: The decided facts.
            client: The client of the login.
        """
        deployment = self._deployment
        authentication = issue.authentication
        for_mfa = issue.audience == deployment.mfa_audience
        api = None if for_mfa or not issue.audience else await self._apis.find(issue.audience)
        profile = api.token_profile if api else TokenProfile.RFC9068
        seconds = MFA_ACCESS_TOKEN_SECONDS if for_mfa else (api or client).access_token_seconds
        scopes = issue.scope.split()
        audience = [issue.audience] if issue.audience else []
        if "openid" in scopes or not audience:
            audience.append(deployment.userinfo_audience)
        issued_at = issue.issued_at // SECOND
        about: dict[str, object] = {
            "iss": deployment.issuer,
            "sub": issue.user_id,
            "iat": issued_at,
            "auth_time": authentication.time // SECOND,
            "acr": authentication.level.acr,
            "amr": authentication.amr,
        }
        claims = {
            **about,
            "aud": audience,
            "exp": issued_at + seconds,
            "jti": issue.jti,
            CLIENT_CLAIMS[profile]: issue.client_id,
            "epoch": issue.epoch,
        }
        if issue.scope:
            claims["scope"] = issue.scope
        if authentication.authenticators:
            claims["authenticators"] = authentication.authenticators
        if for_mfa and authentication.recovery:
            claims["recovery"] = True
        # REST resource servers take the algorithms that they accept from the discovery document's list for id_tokens.
        algorithm = Algorithm.ES256 if for_mfa else Algorithm((api or client).algorithm)
        access_token = await self._signer.sign(algorithm, TYPES[profile], claims)
        id_token = ""
        if "openid" in scopes:
            id_claims = {
                **about,
                "aud": issue.client_id,
                "exp": issued_at + seconds,
                "at_hash": base64url(sha256(access_token)[:16]),  # OpenID Connect Core section 3.1.3.6
            }
            id_token = await self._signer.sign(Algorithm.RS256, ID_TOKEN_TYPE, id_claims)
        return Tokens(
            access_token=access_token,
            expires_in=seconds,
            scope=issue.scope,
            id_token=id_token,
            refresh_token=issue.refresh_token,
            recovery_code=issue.recovery_code,
            remember_token=issue.remember_token,
            remember_expires_at=issue.remember_expires_at,
            quota=issue.quota,
        )
