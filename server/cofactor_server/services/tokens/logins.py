"""Logins: a first factor accepted, a second awaited, and the mfa_token that a login is sealed into."""

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
"""A JWS has three parts (RFC 7515 section 3.1); no token of another kind of ours has a dot."""


class Logins:
    """Begins logins, seals them into mfa_tokens and opens them again.

    Args:
        sealer: Makes the tokens.
        access_tokens: Verifies those for the MFA audience, which stand for a login too.
        life: Of an mfa_token, in microseconds.
        clock: Tells when a login begins, and is over.
        entropy: Draws their ids.
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
        """Return a login that begins now.

        Args:
            user: Who logs in, as the user is now.
            client: At which application.
            target: What the tokens will be for.
            methods: What the first factor showed (RFC 8176).
            first_factor: What that was.
            first_factor_at: When it was shown, in microseconds since the Unix epoch.
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
        """Return what the client of a login is told that awaits a second factor."""
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
        (ADR-8).

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
            opened_by=access.authenticators,
        )
