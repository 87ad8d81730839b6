"""Issues and rotates refresh tokens, and revokes their families (S110, ADR-15)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cofactor_server.domain.authenticators.acr import Authentication
from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.endings import lacks_factor, stands
from cofactor_server.domain.foundation.encoding import base64url
from cofactor_server.domain.foundation.events import Event, EventName
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.demands import Wanted
from cofactor_server.domain.logins.grants import Chained, Issue
from cofactor_server.domain.logins.login import Login
from cofactor_server.domain.logins.refresh import RefreshFamily
from cofactor_server.domain.parties.clients import Client, GrantType
from cofactor_server.domain.parties.users import User
from cofactor_server.errors import (
    AudienceNotAllowed,
    CofactorError,
    InvalidScope,
    RefreshTokenInvalid,
    RefreshTokenOrphaned,
    UserBlocked,
)
from cofactor_server.seams import SECOND, Clock, Entropy, new_id
from cofactor_server.services.transactions.idempotency import Repeat, Repeats
from cofactor_server.services.transactions.validity import client_refusal
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.digests import same, sha256
from cofactor_server.vault.keyring import Keyring, SealBroken

PURPOSE = "refresh_token"
PARTS = 4
Rule: TypeAlias = Callable[[User, Sequence[Authenticator]], tuple[bool, Wanted]]
"""Returns whether policy requires a second factor of a user, and its level, age and number of kinds."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A refresh token as a client presents it: parsed, but not verified."""

    user_id: str
    family_id: str
    generation: int
    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Presented | None":
        """Return the parts of a refresh token; None if the text has another form."""
        parts = text.split(".")
        if len(parts) != PARTS or not parts[2].isascii() or not parts[2].isdigit() or len(parts[2]) > 10:
            return None
        return cls(parts[0], parts[1], int(parts[2]), text)


class RefreshTokens:
    """Issues and verifies refresh tokens.

    A token holds the ids of its user and family, its generation, and a MAC over the family's secret. Tokens of every
    generation can be verified: replay of an old token revokes the family, and presenting a forged one does not.
    """

    def __init__(
        self, keyring: Keyring, columns: Columns, clock: Clock, entropy: Entropy, reuse_leeway: int = 0
    ) -> None:
        self._keyring = keyring
        self._columns = columns
        self.clock = clock
        self._entropy = entropy
        self._reuse_leeway = reuse_leeway

    def start(self, client: Client, login: Login, shown: Authentication) -> tuple[RefreshFamily | None, str]:
        """Return a new family and its first token; None and an empty text if the login gets no refresh token.

        A login gets one if it has the scope `offline_access` and its client has the refresh_token grant.

        Args:
            client: The client of the login.
            login: The completed login.
            shown: The authentication that the user completed.
        """
        if "offline_access" not in login.scope.split() or GrantType.REFRESH_TOKEN not in client.grant_types:
            return None, ""
        now = self.clock.now()
        family_id = new_id(self._entropy, "")
        secret = self._entropy.octets(32)
        family = RefreshFamily(
            user_id=login.user_id,
            id=family_id,
            client_id=client.id,
            epoch=login.epoch,
            generation=0,
            secret=self._columns.seal("refresh_families", "secret", login.user_id, family_id, secret),
            mac_key_id=self._keyring.active_id,
            token_sha256=b"",
            scope=login.scope,
            audience=login.audience,
            authentication=shown,
            created_at=now,
            expires_at=now + client.refresh_token_seconds * SECOND,
        )
        return self.next(family)

    def next(self, family: RefreshFamily) -> tuple[RefreshFamily, str]:
        """Return the family at its next generation, and the token of that generation."""
        generation = family.generation + 1
        try:
            token = self._token(family, generation)
        except SealBroken:  # the MAC key was retired: the active key replaces it
            family = replace(family, mac_key_id=self._keyring.active_id)
            token = self._token(family, generation)
        return replace(family, generation=generation, token_sha256=sha256(token), rotated_at=0), token

    def again(self, family: RefreshFamily, presented: Presented) -> str:
        """Return the newest token again if the token before it is presented within the leeway; empty otherwise.

        The client may have lost the reply, or refreshed from two tabs at once. The token is the same successor, so that
        the chain has no second branch, and replay of the old token after the leeway still revokes the family (ADR-15).
        After a second factor there is no leeway: the successor then grants more than the presented token.

        Args:
            family: The token's family.
            presented: The token.
        """
        within = self.clock.now() < family.rotated_at + self._reuse_leeway
        if not within or presented.generation != family.generation - 1:
            return ""
        try:
            token = self._token(family, family.generation)
        except SealBroken:
            return ""
        return token if same(sha256(token), family.token_sha256) else ""

    def is_genuine(self, family: RefreshFamily, presented: Presented) -> bool:
        """Whether this deployment issued the presented token, of any generation."""
        try:
            return same(self._token(family, presented.generation).encode(), presented.text.encode())
        except SealBroken:
            # The MAC key is gone: only the newest generation can still be verified, by its digest.
            return same(family.token_sha256, sha256(presented.text))

    def _token(self, family: RefreshFamily, generation: int) -> str:
        secret = self._columns.open("refresh_families", "secret", family.user_id, family.id, family.secret)
        message = b"\0".join((family.id.encode(), str(generation).encode(), secret))
        _, mac = self._keyring.mac(PURPOSE, message, family.mac_key_id)
        return f"{family.user_id}.{family.id}.{generation}.{base64url(mac)}"


@dataclass(frozen=True, slots=True)
class WantsMfa:
    """The outcome if a second factor is required first; the refresh token is not consumed (ADR-8 and ADR-15)."""

    family: RefreshFamily
    epoch: int
    scope: str
    """The scopes of the tokens, within those that the family was granted."""
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Refresh:
    """Decides a refresh grant: rotates the token, or revokes the family if an old token is replayed.

    `rule` returns what policy and client require, for the user as read under the lock.
    """

    tokens: RefreshTokens
    repeats: Repeats
    client: Client
    presented: Presented
    scope: str
    audience: str
    wants_mfa_audience: bool
    rule: Rule
    jti: str
    source: str
    left: str
    """The scopes of the family that its API still has."""
    repeat: Repeat | None = None

    @property
    def needs(self) -> Needs:
        """The family, the user's authenticators, and whether the request was decided before."""
        return Needs(
            self.presented.user_id,
            client_id=self.client.id,
            family_id=self.presented.family_id,
            request_id=self.repeat.request_id if self.repeat else "",
        )

    def decide(self, work: Work) -> Issue | Chained | WantsMfa | CofactorError:
        """Rotate the token, or return why not."""
        now = self.tokens.clock.now()
        presented = self.presented
        if refusal := client_refusal(work, self.client):
            return refusal
        family = work.family(presented.user_id, presented.family_id)
        if family is None or family.client_id != self.client.id or not self.tokens.is_genuine(family, presented):
            return RefreshTokenInvalid()
        user = work.user(presented.user_id)
        if user is None:
            return RefreshTokenOrphaned()
        mine = work.authenticators(user.id)
        if refusal := ended(user, mine, family, now):
            return refusal
        if repeated := self.repeats.find(work, user.id, self.repeat, now):
            return repeated
        again = self.tokens.again(family, presented)
        if presented.generation != family.generation and not again:
            return self._reused(work, family, now)
        return self._wants(user, mine, family, now) or self._granted(work, user, family, now, again)

    def _reused(self, work: Work, family: RefreshFamily, now: int) -> CofactorError:
        """Revoke the family: an attacker may hold its newest token (S110)."""
        work.save_family(replace(family, revoked=True))
        work.record(Event(family.user_id, EventName.REFRESH_REUSED, now, self.client.id, source=self.source))
        return RefreshTokenInvalid()

    def _wants(
        self, user: User, mine: Sequence[Authenticator], family: RefreshFamily, now: int
    ) -> WantsMfa | CofactorError | None:
        """Return the factor that is required first, or a refusal; None if the request can be granted."""
        asks, wanted = self.rule(user, mine)
        if self.wants_mfa_audience:
            return WantsMfa(family, user.epoch, self.scope, wanted)
        if self.audience not in ("", family.audience):
            return AudienceNotAllowed()
        if not set(self.scope.split()) <= set(self.left.split()):
            return InvalidScope()
        shown = family.authentication
        if lacks_factor(shown, asks=asks) or wanted.misses(shown, now):
            return WantsMfa(family, user.epoch, self.scope or self.left, wanted)
        return None

    def _granted(self, work: Work, user: User, family: RefreshFamily, now: int, token: str) -> Issue:
        if not token:
            rotated, token = self.tokens.next(family)
            work.save_family(replace(rotated, rotated_at=now))
        issue = Issue(
            jti=self.jti,
            user_id=user.id,
            epoch=user.epoch,
            client_id=self.client.id,
            scope=self.scope or self.left,
            audience=family.audience,
            authentication=family.authentication,
            issued_at=now,
            refresh_token=token,
        )
        self.repeats.keep(work, self.repeat, issue, now)
        return issue


def ended(user: User, mine: Iterable[Authenticator], family: RefreshFamily, now: int) -> CofactorError | None:
    """Return why the tokens of a family are no longer valid; None if they are valid.

    Args:
        user: The family's user.
        mine: The user's authenticators; a family ends when an authenticator that it came from is removed or disabled.
        family: The family.
        now: Microseconds since the Unix epoch.
    """
    if user.epoch != family.epoch or family.revoked or now >= family.expires_at:
        return RefreshTokenInvalid()
    if not stands(family.authentication.authenticators, mine):
        return RefreshTokenInvalid()
    return UserBlocked() if user.blocked else None


@dataclass(frozen=True, slots=True)
class RevokeFamily:
    """Revokes the family of a refresh token of this client (RFC 7009)."""

    tokens: RefreshTokens
    client: Client
    presented: Presented

    @property
    def needs(self) -> Needs:
        """The user and the family."""
        return Needs(self.presented.user_id, authenticators=False, family_id=self.presented.family_id)

    def decide(self, work: Work) -> None:
        """Revoke the family if the token is genuine and the client's own."""
        family = work.family(self.presented.user_id, self.presented.family_id)
        if family is None or family.client_id != self.client.id or not self.tokens.is_genuine(family, self.presented):
            return
        if not family.revoked:
            work.save_family(replace(family, revoked=True))
            work.record(Event(family.user_id, EventName.TOKEN_REVOKED, self.tokens.clock.now(), self.client.id))
