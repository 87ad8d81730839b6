"""The mfa_token: a login, sealed."""

import msgspec

from cofactor_server.domain.logins import FirstFactor, Login
from cofactor_server.errors import BearerInvalid, MfaTokenExpired, MfaTokenMalformed
from cofactor_server.seams import Clock
from cofactor_server.services.claims import AccessTokens
from cofactor_server.vault.keyring import SealBroken
from cofactor_server.vault.tokens import TokenSealer

PURPOSE = "mfa_token"
JWS_DOTS = 2
"""A JWS has three parts (RFC 7515 section 3.1); no token of another kind of ours has a dot."""


class Logins:
    """Seals logins into mfa_tokens and opens them again."""

    def __init__(self, sealer: TokenSealer, access_tokens: AccessTokens, clock: Clock) -> None:
        self._sealer = sealer
        self._access_tokens = access_tokens
        self._clock = clock
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Login).decode

    def seal(self, login: Login) -> str:
        """Return the mfa_token for a login."""
        return self._sealer.seal(PURPOSE, self._encode(login))

    def open(self, mfa_token: str) -> Login:
        """Return the login that an mfa_token stands for.

        Raises:
            MfaTokenMalformed: It can't be opened, or is a token of another kind.
            MfaTokenExpired: Its time is over.
        """
        try:
            login = self._decode(self._sealer.open(PURPOSE, mfa_token))
        except (SealBroken, msgspec.DecodeError):
            raise MfaTokenMalformed from None
        if login.expired(self._clock.now()):
            raise MfaTokenExpired
        return login

    def redeemed(self, token: str) -> Login:
        """Return the login for what an MFA grant was given as its mfa_token.

        An access token for the MFA audience with the scope `enroll` will do, for confirming what it enrolled
        (security.md 8).

        Raises:
            MfaTokenMalformed: It can't be opened, or is a token of another kind.
            MfaTokenExpired: Its time is over.
        """
        if token.count(".") != JWS_DOTS:
            return self.open(token)
        try:
            access = self._access_tokens.access(token)
        except BearerInvalid:
            raise MfaTokenMalformed from None
        if "enroll" not in access.scopes:
            raise MfaTokenMalformed
        return Login(
            id=access.jti,
            user_id=access.user_id,
            epoch=access.epoch,
            client_id=access.client_id,
            scope=access.scope,
            audience=access.audience,
            methods=tuple(method for method in access.amr if method != "mfa"),
            first_factor=FirstFactor.PASSWORD,
            first_factor_at=access.issued_at,
            issued_at=access.issued_at,
            expires_at=access.expires_at,
            by_access_token=True,
        )
