"""What our own access tokens say (RFC 9068), read strictly."""

import msgspec

from cofactor_server.domain.acr import Level
from cofactor_server.domain.callers import Access
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.logins import CLOCK_LEEWAY
from cofactor_server.errors import AccessTokenInvalid, BearerInvalid
from cofactor_server.seams import SECOND, Clock
from cofactor_server.vault.signing import SignatureInvalid, Signer

ACCESS_TOKEN_TYPE = "at+jwt"
ID_TOKEN_TYPE = "JWT"


class AccessClaims(msgspec.Struct, frozen=True):
    """Claims of an access token; `epoch` and `recovery` are ours."""

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


class AccessTokens:
    """Verifies access tokens that this deployment signed."""

    def __init__(self, deployment: Deployment, signer: Signer, clock: Clock) -> None:
        self._deployment = deployment
        self._signer = signer
        self._clock = clock

    def claims(self, token: str) -> AccessClaims | None:
        """Return what a token says that is signed by us and whose time is now; None otherwise.

        Whether its user still stands behind it (ADR-7) is for the caller to ask.
        """
        try:
            claims = msgspec.convert(self._signer.verify(token, typ=ACCESS_TOKEN_TYPE), AccessClaims)
        except (SignatureInvalid, msgspec.ValidationError):
            return None
        now = self._clock.now()
        timely = claims.iat * SECOND <= now + CLOCK_LEEWAY and now < claims.exp * SECOND
        return claims if timely and claims.iss == self._deployment.issuer else None

    def access(self, token: str) -> Access:
        """Return what an access token for the MFA audience allows.

        Raises:
            BearerInvalid: It is not ours, not for that audience, or not of now.
        """
        access = self._for(token, self._deployment.mfa_audience)
        if access is None:
            raise BearerInvalid
        return access

    def identity(self, token: str) -> Access:
        """Return what an access token for user info allows.

        Raises:
            AccessTokenInvalid: It is not ours, not for that audience, or not of now.
        """
        access = self._for(token, self._deployment.userinfo_audience)
        if access is None:
            raise AccessTokenInvalid
        return access

    def _for(self, token: str, audience: str) -> Access | None:
        claims = self.claims(token)
        if claims is None or audience not in claims.aud:
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
        )
