"""Starts logins after a first factor, seals them into mfa_tokens and opens these again."""

import msgspec

from cofactor_server.domain.logins.grants import MfaRequired, Target
from cofactor_server.domain.logins.login import FirstFactor, Login
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.parties.users import User
from cofactor_server.errors import BearerInvalid, MfaTokenExpired, MfaTokenMalformed
from cofactor_server.seams import Clock, Entropy, new_id_in_order
from cofactor_server.services.policy.evaluation import Requirement
from cofactor_server.services.tokens.claims import AccessTokens
from cofactor_server.vault.keyring import SealBroken
from cofactor_server.vault.tokens import TokenSealer

PURPOSE = "mfa_token"
JWS_DOTS = 2
"""A JWS has three parts (RFC 7515 section 3.1); an mfa_token has no dot."""


class Logins:
    """Starts logins, seals them into mfa_tokens and opens these again.

    Args:
        sealer: Seals and opens mfa_tokens.
        access_tokens: Verifies access tokens for the MFA audience, which an MFA grant accepts as an mfa_token.
        life: Lifetime of an mfa_token, in microseconds.
        clock: Gives the time at which a login starts or expires.
        entropy: Generates login ids.
    """

    def __init__(
        self, sealer: TokenSealer, access_tokens: AccessTokens, life: int, clock: Clock, entropy: Entropy
    ) -> None:
        self._sealer = sealer
        self._access_tokens = access_tokens
        self._life = life
        self._clock = clock
        self._entropy = entropy
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Login).decode

    def begun(
        self,
        user: User,
        client: Client,
        target: Target,
        methods: tuple[str, ...],
        first_factor: FirstFactor,
        first_factor_at: int,
    ) -> Login:
        """Return a login that starts now.

        Args:
            user: The user who logs in, as stored now.
            client: The client of the login.
            target: The audience and scopes of the tokens.
            methods: The first factor's authentication methods (RFC 8176).
            first_factor: The kind of first factor.
            first_factor_at: When the first factor was verified, in microseconds since the Unix epoch.
        """
        now = self._clock.now()
        return Login(
            id=new_id_in_order(self._entropy, now),
            user_id=user.id,
            epoch=user.epoch,
            client_id=client.id,
            scope=target.scope,
            audience=target.audience,
            methods=methods,
            first_factor=first_factor,
            first_factor_at=first_factor_at,
            issued_at=now,
            expires_at=now + self._life,
        )

    def awaiting(self, login: Login, requirement: Requirement) -> MfaRequired:
        """Return the response to a client whose login requires a second factor.

        Args:
            login: The login.
            requirement: The second factors to choose from.
        """
        return MfaRequired(
            self.seal(login),
            login.expires_at,
            requirement.enroll,
            requirement.kinds,
            requirement.way,
            requirement.contact,
        )

    def seal(self, login: Login) -> str:
        """Return the mfa_token for a login."""
        return self._sealer.seal(PURPOSE, self._encode(login))

    def open(self, mfa_token: str) -> Login:
        """Return the login that is sealed in an mfa_token.

        Args:
            mfa_token: The token.

        Raises:
            MfaTokenMalformed: The token can't be opened, or is of another kind.
            MfaTokenExpired: The token has expired.
        """
        try:
            login = self._decode(self._sealer.open(PURPOSE, mfa_token))
        except (SealBroken, msgspec.DecodeError):
            raise MfaTokenMalformed from None
        if login.expired(self._clock.now()):
            raise MfaTokenExpired
        return login

    def redeemed(self, token: str) -> Login:
        """Return the login for the mfa_token of an MFA grant.

        An access token for the MFA audience with the scope `enroll` is accepted too, to confirm an authenticator that
        it enrolled (ADR-8).

        Args:
            token: An mfa_token, or such an access token.

        Raises:
            MfaTokenMalformed: The token can't be opened, or is of another kind.
            MfaTokenExpired: The token has expired.
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
            opened_by=access.authenticators,
        )
