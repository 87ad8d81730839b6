"""Streams a challenge's standing, now and at every change, to the login it was made for (ADR-20)."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cofactor_server.domain.authenticators.authenticator import PENDING_LIFE, State
from cofactor_server.domain.authenticators.proofs import Purpose
from cofactor_server.domain.callers import Caller
from cofactor_server.domain.challenges.challenge import ChallengeState, Standing
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.domain.logins.login import Login
from cofactor_server.errors import (
    CofactorError,
    InvalidClient,
    MfaTokenExpired,
    MfaTokenMalformed,
    MfaTokenStale,
    OobCodeMalformed,
    UserBlocked,
)
from cofactor_server.seams import Clock
from cofactor_server.services.challenges.watchers import Watchers
from cofactor_server.services.proofs.oob_codes import OobCodes
from cofactor_server.services.transactions.audit import Trail
from cofactor_server.services.transactions.decisions import Decider
from cofactor_server.services.transactions.queries import Records
from cofactor_server.store.repositories import watched_challenges as watched
from cofactor_server.store.repositories.watched_challenges import Stand
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.signals import Signals
from cofactor_server.store.transactions.statements import Statements
from cofactor_server.store.transactions.work import Work


@dataclass(frozen=True, slots=True)
class Watched:
    """A challenge, and the login that watches it."""

    user_id: str
    challenge_id: str
    login_id: str
    client_id: str
    epoch: int
    expires_at: int
    """When the login expires, in microseconds since the Unix epoch."""

    @classmethod
    def by(cls, login: Login, challenge_id: str) -> "Watched":
        """Return the key for a challenge that a login watches."""
        return cls(login.user_id, challenge_id, login.id, login.client_id, login.epoch, login.expires_at)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a watcher receives: the challenge's standing, or the refusal that ends the stream."""

    standing: Standing
    expires_at: int
    refusal: type[CofactorError] | None = None


class ChallengeView:
    """Reads watched challenges; see `View`."""

    def __init__(self, records: Records, statements: Statements, clock: Clock) -> None:
        self._records = records
        self._statements = statements
        self._clock = clock

    def user_of(self, key: Watched) -> str:
        """Return the id of the challenge's user."""
        return key.user_id

    def due(self, key: Watched, value: Seen) -> int | None:
        """Return when the challenge or login expires, whichever is first; None if the challenge is final."""
        if value.refusal is not None or value.standing.final:
            return None
        return min(value.expires_at, key.expires_at)

    async def look(self, keys: Sequence[Watched]) -> Mapping[Watched, Seen]:
        """Read the standing of challenges; see `View.look`."""
        names = {(key.user_id, key.challenge_id) for key in keys}
        found = await self._records.read(watched.standing, self._statements, names)
        now = self._clock.now()
        return {key: _seen(key, found.get((key.user_id, key.challenge_id)), now) for key in keys}

    async def suspects(self, keys: Sequence[Watched]) -> Iterable[Watched]:
        """Return the challenges that are answered, or whose preconditions no longer hold; see `View.suspects`."""
        by_name: dict[watched.Name, list[Watched]] = {}
        for key in keys:
            by_name.setdefault((key.user_id, key.challenge_id), []).append(key)
        doubtful = await self._records.read(watched.doubtful, self._statements, by_name.keys())
        return [key for name in doubtful for key in by_name[name]]


@dataclass(frozen=True, slots=True)
class NoteMisbound:
    """Records that a login watched a challenge that is not bound to it (ADR-2)."""

    trail: Trail
    now: int

    @property
    def needs(self) -> Needs:
        """The user alone."""
        return Needs(self.trail.user_id, authenticators=False)

    def decide(self, work: Work) -> None:
        """Record the event if the user still exists."""
        if work.user(self.trail.user_id) is not None:
            work.record(self.trail.event(EventName.CHALLENGE_MISBOUND, self.now))


class Watching:
    """Streams the standing of challenges. It redeems nothing."""

    def __init__(
        self,
        *,
        records: Records,
        statements: Statements,
        signals: Signals,
        decider: Decider,
        oob_codes: OobCodes,
        clock: Clock,
    ) -> None:
        self._watchers = Watchers(ChallengeView(records, statements, clock), signals, clock)
        self._decider = decider
        self._oob_codes = oob_codes
        self._clock = clock

    async def watch(self, caller: Caller, oob_code: str) -> AsyncGenerator[Seen, None]:
        """Yield a challenge's standing, now and at every change, and end when it is final.

        Args:
            caller: The holder of the mfa_token that the challenge was made for.
            oob_code: Names the challenge.

        Raises:
            OobCodeMalformed: The challenge does not belong to this login, or its authenticator may no longer answer it.
            MfaTokenExpired: The login has expired.
            MfaTokenStale: The login was completed by other means, or the user's epoch has changed.
            UserBlocked: The user was blocked.
            InvalidClient: The client was deleted.
            TooManyRequests: Five callers watch this challenge, or the process has its maximum of watchers.
            Unavailable: The database is away.
        """
        if caller.client is None:
            raise InvalidClient
        if caller.login is None:
            raise MfaTokenMalformed
        key = Watched.by(caller.login, self._oob_codes.open(oob_code))
        with self._watchers.watcher(key) as watcher:
            opened = False
            while True:
                seen = await watcher.next()
                if seen.refusal is not None:
                    if not opened and seen.refusal is OobCodeMalformed:
                        await self._note_misbound(caller, caller.login)
                    raise seen.refusal
                opened = True
                yield seen
                if seen.standing.final:
                    return

    async def close(self) -> None:
        """Stop reading challenges; no stream is open any more."""
        await self._watchers.close()

    async def _note_misbound(self, caller: Caller, login: Login) -> None:
        trail = Trail(login.user_id, login.client_id, login.id, caller.source)
        with self._decider.under_way(caller):
            await self._decider.decide(caller, NoteMisbound(trail, self._clock.now()))


def _seen(key: Watched, stand: Stand | None, now: int) -> Seen:
    """Return what a login may see of a challenge: the checks are those of redeeming, in the same order."""
    if stand is None:
        return Seen(Standing.EXPIRED, 0, OobCodeMalformed)
    challenge = stand.challenge
    standing = challenge.standing(now)
    return Seen(standing, challenge.expires_at, _refusal(key, stand, standing, now))


def _refusal(key: Watched, stand: Stand, standing: Standing, now: int) -> type[CofactorError] | None:
    challenge = stand.challenge
    if not stand.client_known:
        return InvalidClient
    if stand.epoch != key.epoch:
        return MfaTokenStale
    if stand.blocked:
        return UserBlocked
    if (challenge.client_id, challenge.login_id, challenge.epoch) != (key.client_id, key.login_id, key.epoch):
        return OobCodeMalformed
    if standing.final:
        return None  # a client may resume a dropped stream after the end, and gets the final standing again (S142)
    if stand.spent:
        return MfaTokenStale
    if now >= key.expires_at:
        return MfaTokenExpired
    return None if _may_answer(stand, now) else OobCodeMalformed


def _may_answer(stand: Stand, now: int) -> bool:
    """Whether the authenticator that answered, or is to answer, may still do so."""
    challenge = stand.challenge
    if challenge.purpose is Purpose.LOGIN or challenge.state is ChallengeState.APPROVED:
        return stand.authenticator is State.ACTIVE
    begun_here = stand.authenticator is State.PENDING and stand.authenticator_login_id == challenge.login_id
    return begun_here and now < stand.authenticator_created_at + PENDING_LIFE
