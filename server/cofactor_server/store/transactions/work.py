"""One transaction's named reads and writes: read after the lock, written all at once."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection

from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.endings import Opened, opened
from cofactor_server.domain.authenticators.tickets import EnrollmentTicket
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState
from cofactor_server.domain.foundation.budgets import KNOWN_SOURCE_LIFE, KNOWN_SOURCE_NOTED, SOURCE_FAILED_CODES
from cofactor_server.domain.foundation.events import Event, Notice
from cofactor_server.domain.logins.refresh import RefreshFamily
from cofactor_server.domain.parties.browsers import Browser
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.parties.users import User
from cofactor_server.seams import Entropy, new_id, new_id_in_order
from cofactor_server.store.transactions import rows
from cofactor_server.store.transactions.driver import Driver, Prepared
from cofactor_server.store.transactions.needs import Needs, Pair, Wanted
from cofactor_server.store.transactions.rows import AddressesOf, StoredOutcome
from cofactor_server.store.transactions.statements import Statements

V = TypeVar("V")

_ABSENT: Any = object()
_GREW: Any = object()


class Work:
    """Reads and writes of one transaction; never handed out beyond it.

    `load` locks the users first and reads everything else in later statements (ADR-4). Reads answer
    from what was loaded, with the writes of decisions before in the same batch; `flush` writes.
    """

    def __init__(
        self,
        connection: Connection,
        statements: Statements,
        entropy: Entropy,
        addresses_of: AddressesOf | None = None,
    ) -> None:
        self._driver = Driver(connection)
        self._statements = statements
        self._entropy = entropy
        self._addresses_of = addresses_of
        self._users: dict[str, User] = {}
        self._clients: dict[str, Client] = {}
        self._authenticators: dict[str, dict[str, Authenticator]] = {}
        self._references: dict[tuple[str, ...], tuple[str, str | None]] = {}  # kind and unique reference, as stored
        self._before: dict[Pair, Authenticator | None] = {}  # what the decision under way has changed
        self._challenges: dict[Pair, Challenge] = {}
        self._families: dict[Pair, RefreshFamily] = {}
        self._spent: dict[Pair, int] = {}
        self._sources: dict[Pair, int] = {}
        self._browsers: dict[Pair, tuple[str, tuple[str, ...]]] = {}
        self._outcomes: dict[tuple[str, str, str], StoredOutcome] = {}
        self._source_full_at: dict[str, int] = {}
        self._stored: set[tuple[str, str, str]] = set()
        self._written: defaultdict[str, dict[tuple[str, ...], Any]] = defaultdict(dict)
        self._charges: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._notices: list[dict[str, Any]] = []
        self._journal: list[
            tuple[Any, Any, Any]
        ] = []  # a mapping, a key and what was there; or a list that grew by one
        self.changed: list[str] = []
        """Users of whose changes every process is told, once they are committed; see `store.transactions.signals`."""
        self.changed_near: list[str] = []
        """Users of whose changes this process is told, and others find out by looking."""

    # Reads

    def load(self, needs: Sequence[Needs], *, skip_locked: bool = False) -> frozenset[str]:
        """Lock the users concerned, then read what the decisions need.

        Args:
            needs: What each decision reads.
            skip_locked: Leave out users that another transaction holds, instead of waiting for it.

        Returns:
            The ids of users that were not there, or were left out.
        """
        statements = self._statements
        wanted = {n.user_id for n in needs}
        lock = statements.lock_free_users if skip_locked else statements.lock_users
        for row in self._rows(lock, users=wanted):
            self._users[row[0]] = rows.user(row)
        if client_ids := {n.client_id for n in needs if n.client_id}:
            for row in self._rows(statements.clients, clients=client_ids):
                self._clients[row[0]] = rows.client(row)
        # Without skipping, a user who is not locked does not exist, and what is left of one may still be read.
        self._load_owned([n for n in needs if n.user_id in self._users or not skip_locked])
        return frozenset(wanted - self._users.keys())

    def user(self, user_id: str) -> User | None:
        """Return the user, locked; None if there is none."""
        return self._users.get(user_id)

    def client(self, client_id: str) -> Client | None:
        """Return the client as it is now; None if it was deleted."""
        return self._clients.get(client_id)

    def authenticators(self, user_id: str) -> list[Authenticator]:
        """Return the user's authenticators in every state but removed."""
        mine = self._authenticators.get(user_id, {}).values()
        return [authenticator for authenticator in mine if authenticator.state is not State.REMOVED]

    def is_held_by_another(self, authenticator: Authenticator, unique: str) -> bool:
        """Whether another authenticator of the same kind, of any user, is known by `unique`.

        This one is read when it is asked for, which is when something is enrolled. Of two transactions that decide at
        once the constraint lets one through, and the other decides afresh.
        """
        if authenticator.unique_ref == unique:
            return False
        mine, statement = (authenticator.user_id, authenticator.id), self._statements.unique_holder
        values = {"kind": authenticator.kind, "unique": unique}
        stored = {(row[0], row[1]) for row in self._driver.rows(statement, values)}
        for user_id, theirs in self._authenticators.items():
            for id_, other in theirs.items():  # with the writes of decisions before in this batch
                holds = (other.kind, other.unique_ref) == (authenticator.kind, unique)
                (stored.add if holds else stored.discard)((user_id, id_))
        return bool(stored - {mine})

    def removed_by(self, user_id: str, token_id: str) -> frozenset[str]:
        """Return the ids of a user's authenticators that a login or token removed itself; read when asked for."""
        values = {"user_id": user_id, "token_id": token_id}
        stored = {row[0] for row in self._driver.rows(self._statements.removed_by, values)}
        mine = self._authenticators.get(user_id, {}).values()
        stored.update(a.id for a in mine if a.state is State.REMOVED and a.login_id == token_id)
        return frozenset(stored)

    def has_lost(self, user_id: str, since: int, token_id: str) -> bool:
        """Whether a confirmed authenticator of a user was removed since then, other than by a token itself."""
        values = {"user_id": user_id, "since": since, "token_id": token_id}
        mine = self._authenticators.get(user_id, {}).values()
        return bool(self._driver.rows(self._statements.lost_since, values)) or any(
            a.confirmed_at is not None and (a.removed_at or 0) >= since and a.login_id != token_id
            for a in mine
            if a.state is State.REMOVED
        )

    def opened(self, user_id: str, now: int) -> Opened:
        """Return what a user has open; read when asked for, which is when something ends."""
        user, values = self._users.get(user_id), {"user_id": user_id, "now": now}
        if user is None:
            return Opened()
        found = (rows.refresh_family(row) for row in self._driver.rows(self._statements.opened_families, values))
        families = {family.id: family for family in found}
        families |= {id_: family for (owner, id_), family in self._families.items() if owner == user_id}
        remembered = [rows.browser(row) for row in self._driver.rows(self._statements.opened_browsers, values)]
        # Those that are remembered in this batch are a reply away from their browser.
        return opened(user, families.values(), remembered, self.authenticators(user_id), now)

    def challenge(self, user_id: str, challenge_id: str) -> Challenge | None:
        """Return the challenge of this user; None if there is none."""
        return self._challenges.get((user_id, challenge_id))

    def pending_challenges(self, user_id: str) -> list[Challenge]:
        """Return the challenges of this user that nobody answered."""
        return [
            challenge
            for challenge in self._challenges.values()
            if challenge.user_id == user_id and challenge.state is ChallengeState.PENDING
        ]

    def family(self, user_id: str, family_id: str) -> RefreshFamily | None:
        """Return the refresh family of this user; None if there is none."""
        return self._families.get((user_id, family_id))

    def is_spent(self, user_id: str, token_id: str) -> bool:
        """Whether the token was used or revoked."""
        return (user_id, token_id) in self._spent

    def outcome(self, user_id: str, client_id: str, request_id: str, now: int) -> StoredOutcome | None:
        """Return what was decided for this request id lately; None if nothing."""
        stored = self._outcomes.get((user_id, client_id, request_id))
        return stored if stored is not None and now < stored.expires_at else None

    def browser(self, user_id: str, browser_id: str) -> tuple[str, tuple[str, ...]] | None:
        """Return the client at which a browser of this user is remembered, and the authenticators by which; or None."""
        return self._browsers.get((user_id, browser_id))

    def is_known(self, user_id: str, source: str, now: int) -> bool:
        """Whether the user completed MFA from `source` lately (ADR-9); never without a source."""
        seen_at = self._sources.get((user_id, source)) if source else None
        return seen_at is not None and now < seen_at + KNOWN_SOURCE_LIFE

    def source_wait(self, source: str, now: int) -> int:
        """Return microseconds until the source may guess again, over all users; 0 if now or without a source."""
        return SOURCE_FAILED_CODES.wait(self._source_full_at.get(source, 0), now) if source else 0

    # Writes

    def save_user(self, user: User) -> None:
        """Write a user that is locked."""
        self._append(self.changed, user.id)
        self._put(self._users, user.id, user)
        self._write("users", (user.id,), user)

    def save_authenticator(self, authenticator: Authenticator) -> None:
        """Write an authenticator, new or changed; a removed one is not read again."""
        mine = self._authenticators.setdefault(authenticator.user_id, {})
        before = mine.get(authenticator.id)
        if before is not None and before.state is not authenticator.state:
            self._append(self.changed, authenticator.user_id)
        self._before.setdefault((authenticator.user_id, authenticator.id), before)
        self._put(mine, authenticator.id, authenticator)
        self._write("authenticators", (authenticator.user_id, authenticator.id), authenticator)

    def save_challenge(self, challenge: Challenge) -> None:
        """Write a challenge, new or changed."""
        before = self._challenges.get((challenge.user_id, challenge.id))
        if before is None or before.state is not challenge.state:
            self._append(self.changed, challenge.user_id)
        self._put(self._challenges, (challenge.user_id, challenge.id), challenge)
        self._write("challenges", (challenge.user_id, challenge.id), challenge)

    def save_family(self, family: RefreshFamily) -> None:
        """Write a refresh family, new or changed."""
        self._put(self._families, (family.user_id, family.id), family)
        self._write("families", (family.user_id, family.id), family)

    def spend(self, user_id: str, token_id: str, expires_at: int) -> None:
        """Mark a token as used up; it was read and found unspent under the same lock."""
        self._append(self.changed_near, user_id)
        self._put(self._spent, (user_id, token_id), expires_at)
        row = {"user_id": user_id, "token_id": token_id, "expires_at": expires_at}
        self._write("spent", (user_id, token_id), row)

    def remember_browser(self, browser: Browser, by: tuple[str, ...]) -> None:
        """Remember a browser that was not remembered before, by the authenticators of these ids."""
        self._put(self._browsers, (browser.user_id, browser.id), (browser.client_id, by))
        row = {
            "user_id": browser.user_id,
            "id": browser.id,
            "client_id": browser.client_id,
            "created_at": browser.created_at,
            "expires_at": browser.expires_at,
            "authenticators": " ".join(by),
            "epoch": browser.epoch,
        }
        self._write("browsers", (browser.user_id, browser.id), row)

    def issue_ticket(self, ticket: EnrollmentTicket) -> None:
        """Add a ticket with a new id."""
        self._write("tickets", (ticket.user_id, ticket.id), rows.of_ticket(ticket))

    def keep_outcome(self, outcome: StoredOutcome) -> None:
        """Keep what was decided, for a caller that lost the reply."""
        key = (outcome.user_id, outcome.client_id, outcome.request_id)
        self._put(self._outcomes, key, outcome)
        self._write("outcomes", key, rows.of_outcome(outcome))

    def remember_source(self, user_id: str, source: str, now: int) -> None:
        """Note that the user completed MFA from `source`, unless that was noted within the hour."""
        noted_at = self._sources.get((user_id, source))
        if noted_at is not None and now < noted_at + KNOWN_SOURCE_NOTED:
            return
        self._put(self._sources, (user_id, source), now)
        row = {"user_id": user_id, "source": source, "seen_at": now}
        self._write("sources", (user_id, source), row)

    def charge_source(self, source: str, now: int) -> None:
        """Count a wrong guess against a source, over all users."""
        self._put(self._source_full_at, source, SOURCE_FAILED_CODES.charged(self._source_full_at.get(source, 0), now))
        self._append(self._charges, {"source": source, "now": now, "refill": SOURCE_FAILED_CODES.refill})

    def record(self, event: Event) -> None:
        """Record what happened."""
        # A user's events in order; on SQLite everybody's, so that a batch is on one page.
        self._append(self._events, rows.of_event(event, new_id_in_order(self._entropy, event.time)))

    def notify(self, notice: Notice) -> None:
        """Have the user told, at least once, at every address known before the change (ADR-21)."""
        row_id = new_id(self._entropy, "")
        mine = self._authenticators.get(notice.user_id, {}).values()
        before = (self._before.get((notice.user_id, a.id), a) for a in mine)
        known = [authenticator for authenticator in before if authenticator is not None]
        addresses = self._addresses_of(notice.user_id, row_id, known) if self._addresses_of is not None else b""
        self._append(self._notices, rows.of_notice(notice, row_id, addresses))

    def decide(self, one: Callable[["Work"], V]) -> V:
        """Return what one decision concludes; if it raises, its writes are undone, so that it fails alone."""
        self._journal.clear()
        self._before.clear()
        try:
            return one(self)
        except Exception:
            self._undo()
            raise

    def flush(self) -> None:
        """Write everything, one statement a table, in the order of their keys."""
        s = self._statements
        if written := self._sorted("users"):
            self._driver.many(s.update_users, [rows.of_user(user) for _, user in written])
        self._save_authenticators()
        self._save("challenges", rows.of_challenge, s.insert_challenges, s.update_challenges)
        self._save("families", rows.of_refresh_family, s.insert_families, s.update_families)
        for table, statement in (
            ("spent", s.insert_spent),
            ("browsers", s.insert_browsers),
            ("tickets", s.insert_tickets),
            ("outcomes", s.upsert_outcomes),
            ("sources", s.upsert_sources),
        ):
            if written := self._sorted(table):
                self._driver.many(statement, [row for _, row in written])
        if self._charges:
            self._driver.many(s.charge_sources, sorted(self._charges, key=lambda charge: str(charge["source"])))
        if self._events:
            self._driver.many(s.insert_events, self._events)
        if self._notices:
            self._driver.many(s.insert_notices, self._notices)
        self._driver.close()

    def _load_owned(self, needs: Sequence[Needs]) -> None:
        statements, wanted = self._statements, Wanted(needs)
        for row in self._of_users(statements.authenticators, wanted.authenticators):
            user_id, id_ = row[0], row[1]
            authenticator = rows.authenticator(row)
            self._authenticators.setdefault(user_id, {})[id_] = authenticator
            self._references[user_id, id_] = (authenticator.kind, authenticator.unique_ref)
        for user_id, token_id, expires_at in self._owned(statements.spent, wanted.tokens):
            self._spent[user_id, token_id] = expires_at
        challenges = [
            *self._owned(statements.challenges, wanted.challenges),
            *self._of_users(statements.pending_challenges, wanted.pending_challenges),
        ]
        for row in challenges:
            challenge = rows.challenge(row)
            self._challenges[challenge.user_id, challenge.id] = challenge
            self._stored.add(("challenges", challenge.user_id, challenge.id))
        for row in self._owned(statements.families, wanted.families):
            family = rows.refresh_family(row)
            self._families[family.user_id, family.id] = family
            self._stored.add(("families", family.user_id, family.id))
        for row in self._owned(statements.outcomes, wanted.outcomes):
            outcome = rows.outcome(row)
            self._outcomes[outcome.user_id, outcome.client_id, outcome.request_id] = outcome
        for user_id, id_, client_id, _, _, by, _ in self._owned(statements.browsers, wanted.browsers):
            self._browsers[user_id, id_] = client_id, rows.ids(by)
        for user_id, source, seen_at in self._owned(statements.sources, wanted.sources):
            self._sources[user_id, source] = seen_at
        if wanted.sources:
            sources = {source for _, source in wanted.sources}
            for source, full_at in self._rows(statements.source_budgets, rows=sources):
                self._source_full_at[source] = full_at

    def _of_users(self, statement: Prepared, users: set[str]) -> Iterable[Sequence[Any]]:
        return self._rows(statement, users=users) if users else ()

    def _rows(self, statement: Prepared, **ids: set[str]) -> Sequence[Sequence[Any]]:
        return self._driver.rows(statement, {name: self._statements.ids(values) for name, values in ids.items()})

    def _owned(self, statement: Prepared, pairs: set[Pair]) -> Iterable[Sequence[Any]]:
        return self._driver.rows(statement, self._statements.pairs(sorted(pairs))) if pairs else ()

    def _undo(self) -> None:
        for place, key, before in reversed(self._journal):
            if key is _GREW:
                place.pop()
            elif before is _ABSENT:
                place.pop(key, None)
            else:
                place[key] = before

    def _put(self, mapping: dict[Any, Any], key: Any, value: Any) -> None:
        self._journal.append((mapping, key, mapping.get(key, _ABSENT)))
        mapping[key] = value

    def _write(self, table: str, key: tuple[str, ...], value: Any) -> None:
        self._put(self._written[table], key, value)

    def _append(self, to_add: list[V], value: V) -> None:
        to_add.append(value)
        self._journal.append((to_add, _GREW, None))

    def _sorted(self, table: str) -> list[tuple[tuple[str, ...], Any]]:
        """Return what is to be written to a table, in the order of its key: every transaction locks in one order."""
        return sorted(self._written[table].items(), key=itemgetter(0))

    def _save_authenticators(self) -> None:
        new, moved, changed = [], [], []
        for key, value in self._sorted("authenticators"):
            reference = self._references.get(key)
            if reference is None:
                new.append(rows.of_authenticator(value))
            elif reference == (value.kind, value.unique_ref):
                changed.append(rows.of_authenticator(value))
            else:
                moved.append(rows.of_authenticator(value))
        s = self._statements
        for statement, written in (
            (s.insert_authenticators, new),
            (s.update_references, moved),
            (s.update_authenticators, changed),
        ):
            if written:
                self._driver.many(statement, written)

    def _save(self, table: str, of: Callable[[Any], dict[str, Any]], insert: Prepared, update: Prepared) -> None:
        written = self._sorted(table)
        if not written:
            return
        new = [of(value) for key, value in written if (table, *key) not in self._stored]
        if new:
            self._driver.many(insert, new)
        if len(new) < len(written):
            self._driver.many(update, [of(value) for key, value in written if (table, *key) in self._stored])
