"""Verifies access tokens that this deployment signed (RFC 9068) and parses their claims strictly."""

from collections.abc import Collection

import msgspec

from cofactor_server.domain.authenticators.acr import Level
from cofactor_server.domain.callers import Access
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.logins.login import CLOCK_LEEWAY
from cofactor_server.domain.parties.apis import TokenProfile
from cofactor_server.errors import AccessTokenInvalid, BearerInvalid
from cofactor_server.seams import SECOND, Clock
from cofactor_server.vault.signing import SignatureInvalid, Signer

ACCESS_TOKEN_TYPE = "at+jwt"
ID_TOKEN_TYPE = "JWT"
TYPES = {TokenProfile.RFC9068: ACCESS_TOKEN_TYPE, TokenProfile.AUTH0: "JWT"}
"""The header's `typ` of each profile."""
CLIENT_CLAIMS = {TokenProfile.RFC9068: "client_id", TokenProfile.AUTH0: "azp"}
"""The claim that names the client in each profile."""


class AccessClaims(msgspec.Struct, frozen=True):
    """Claims of an access token; `epoch`, `recovery` and `authenticators` are private claims of this service."""

    iss: str
    sub: str
    aud: list[str]
    client_id: str
    jti: str
    iat: int
    exp: int
    auth_time: int
    acr: str
    amr: list[str]
    epoch: int
    scope: str = ""
    recovery: bool = False
    authenticators: list[str] = []
    profile: TokenProfile = TokenProfile.RFC9068
    """Set by the parser; it is not a claim of the token."""


class AccessTokens:
    """Verifies access tokens that this deployment signed."""

    def __init__(self, deployment: Deployment, signer: Signer, clock: Clock) -> None:
        self._deployment = deployment
        self._signer = signer
        self._clock = clock

    def claims(self, token: str) -> AccessClaims | None:
        """Return the claims of a token that this deployment signed and that is valid now; None otherwise.

        The caller must check that the token's user is still valid (ADR-7).

        Args:
            token: A JWT in either profile.
        """
        claims = self._read(token, TokenProfile.RFC9068) or self._read(token, TokenProfile.AUTH0)
        if claims is None:
            return None
        now = self._clock.now()
        timely = claims.iat * SECOND <= now + CLOCK_LEEWAY and now < claims.exp * SECOND
        return claims if timely and claims.iss == self._deployment.issuer else None

    def _read(self, token: str, profile: TokenProfile) -> AccessClaims | None:
        """Return the claims of a token in the form of a profile; None if it has another form.

        An id_token has the `typ` of Auth0's profile, but it can't pass as an access token: it names no client in `azp`,
        its audience is a string, and it has neither `jti` nor `epoch` (RFC 8725 section 3.12).
        """
        try:
            said = self._signer.verify(token, typ=TYPES[profile])
            return msgspec.convert(
                {**said, "client_id": said.get(CLIENT_CLAIMS[profile]), "profile": profile}, AccessClaims
            )
        except (SignatureInvalid, msgspec.ValidationError):
            return None

    def access(self, token: str) -> Access:
        """Verify an access token for the MFA audience and return what it grants.

        Args:
            token: A JWT in the profile of RFC 9068.

        Raises:
            BearerInvalid: This deployment did not sign the token, it has another audience, or it is not valid now.
        """
        access = self._for(token, self._deployment.mfa_audience, {TokenProfile.RFC9068})
        if access is None:
            raise BearerInvalid
        return access

    def identity(self, token: str) -> Access:
        """Verify an access token for the UserInfo endpoint and return what it grants.

        Args:
            token: A JWT in either profile.

        Raises:
            AccessTokenInvalid: This deployment did not sign the token, it has another audience, or it is not valid
                now.
        """
        access = self._for(token, self._deployment.userinfo_audience, set(TokenProfile))
        if access is None:
            raise AccessTokenInvalid
        return access

    def _for(self, token: str, audience: str, profiles: Collection[TokenProfile]) -> Access | None:
        claims = self.claims(token)
        if claims is None or claims.profile not in profiles or audience not in claims.aud:
            return None
        return Access(
            jti=claims.jti,
            user_id=claims.sub,
            client_id=claims.client_id,
            scopes=frozenset(claims.scope.split()),
            scope=claims.scope,
            audience=audience,
            level=Level.of(claims.acr),
            amr=tuple(claims.amr),
            recovery=claims.recovery,
            epoch=claims.epoch,
            issued_at=claims.iat * SECOND,
            expires_at=claims.exp * SECOND,
            authenticators=tuple(claims.authenticators),
        )
