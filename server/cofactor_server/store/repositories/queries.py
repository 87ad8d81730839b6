"""Reads outside a deciding transaction: nothing is decided upon them that a transaction does not read again."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Text, and_, bindparam, cast, select

from cofactor_server.domain.authenticators.authenticator import Authenticator
from cofactor_server.domain.authenticators.endings import stands
from cofactor_server.domain.authenticators.kinds import PUSH
from cofactor_server.domain.challenges.challenge import Challenge
from cofactor_server.domain.foundation.budgets import KNOWN_SOURCE_LIFE
from cofactor_server.domain.logins.refresh import RefreshFamily
from cofactor_server.domain.parties.browsers import Browser
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.parties.users import User
from cofactor_server.store import tables as t
from cofactor_server.store.transactions import rows

_CLIENT = select(t.clients).where(t.clients.c.id == bindparam("id"))
_USER = select(t.users).where(t.users.c.id == bindparam("id"))
_USER_BY_NAME = select(t.users).where(t.users.c.realm == bindparam("realm"), t.users.c.subject == bindparam("subject"))
_ASKED = select(*(cast(bindparam(part), Text).label(part) for part in ("realm", "subject"))).subquery()
_LOGIN = select(t.users, t.sources.c.seen_at.label("source_seen_at")).select_from(
    _ASKED.outerjoin(t.users, and_(t.users.c.realm == _ASKED.c.realm, t.users.c.subject == _ASKED.c.subject)).outerjoin(
        t.sources, and_(t.sources.c.user_id == t.users.c.id, t.sources.c.source == bindparam("source"))
    )
)
_NOBODY = (*rows.of_user(User("", "", "", "", 0, False, 0)).values(), None)
_SEEN_AT = select(t.sources.c.seen_at).where(
    t.sources.c.user_id == bindparam("user_id"), t.sources.c.source == bindparam("source")
)
_SOURCE_FULL_AT = select(t.source_budgets.c.full_at).where(t.source_budgets.c.source == bindparam("source"))
_AUTHENTICATORS = select(t.authenticators).where(
    t.authenticators.c.user_id == bindparam("user_id"), t.authenticators.c.state != "removed"
)
_REMOVED_BY = select(t.authenticators.c.id).where(
    t.authenticators.c.user_id == bindparam("user_id"),
    t.authenticators.c.login_id == bindparam("token_id"),
    t.authenticators.c.state == "removed",
)
_BROWSER = select(t.browsers.c.client_id, t.browsers.c.authenticators).where(
    t.browsers.c.user_id == bindparam("user_id"), t.browsers.c.id == bindparam("id")
)
_SPENT = select(t.spent.c.token_id).where(
    t.spent.c.user_id == bindparam("user_id"), t.spent.c.token_id == bindparam("token_id")
)
_CHALLENGE = select(t.challenges).where(
    t.challenges.c.user_id == bindparam("user_id"), t.challenges.c.id == bindparam("id")
)
_HOLDER = select(t.authenticators).where(
    t.authenticators.c.kind == bindparam("kind"), t.authenticators.c.unique_ref == bindparam("unique_ref")
)
_PENDING = select(t.challenges).where(
    t.challenges.c.user_id == bindparam("user_id"),
    t.challenges.c.authenticator_id == bindparam("authenticator_id"),
    t.challenges.c.state == "pending",
)
_FAMILY = select(t.refresh_families).where(
    t.refresh_families.c.user_id == bindparam("user_id"), t.refresh_families.c.id == bindparam("id")
)


@dataclass(frozen=True, slots=True)
class Account:
    """A user and what the user has to prove possession."""

    user: User
    authenticators: tuple[Authenticator, ...]
    spent: bool = False
    """Whether the token that was asked about is used up."""


def client(connection: Connection, client_id: str) -> Client | None:
    """Return a client; None if there is none."""
    row = connection.execute(_CLIENT, {"id": client_id}).first()
    return rows.client(row) if row else None


def user_named(connection: Connection, realm: str, subject: str) -> User | None:
    """Return the user of a name in a realm; None if there is none."""
    row = connection.execute(_USER_BY_NAME, {"realm": realm, "subject": subject}).first()
    return rows.user(row) if row else None


def login(connection: Connection, realm: str, subject: str, source: str, now: int) -> tuple[User | None, bool]:
    """Return the user of a name in a realm, and whether that user completed MFA from `source` lately.

    It is one statement, which has a row for nobody too, and a user is made of that: so it takes as long where there is
    no such user.
    """
    row = connection.execute(_LOGIN, {"realm": realm, "subject": subject, "source": source}).one()
    unknown = row.id is None
    *columns, seen_at = _NOBODY if unknown else row
    user = rows.user(columns)
    known = bool(source) and seen_at is not None and now < seen_at + KNOWN_SOURCE_LIFE
    return (None, False) if unknown else (user, known)


def knows(connection: Connection, user_id: str, source: str, now: int) -> bool:
    """Whether a user completed MFA from `source` lately."""
    seen_at = connection.execute(_SEEN_AT, {"user_id": user_id, "source": source}).scalar()
    return bool(source) and seen_at is not None and now < seen_at + KNOWN_SOURCE_LIFE


def source(connection: Connection, user_id: str, address: str, now: int) -> tuple[bool, int]:
    """Return whether a user completed MFA from an address lately, and where the budget of guesses from there stands."""
    full_at = connection.execute(_SOURCE_FULL_AT, {"source": address}).scalar() or 0
    return knows(connection, user_id, address, now), full_at


def account_named(connection: Connection, realm: str, subject: str) -> Account | None:
    """Return the account of the user of a name in a realm; None if there is none."""
    user = user_named(connection, realm, subject)
    return account(connection, user.id) if user is not None else None


def remembers(connection: Connection, browser: Browser) -> bool:
    """Whether the row of a remembered browser stands, and all that it is remembered by."""
    row = connection.execute(_BROWSER, {"user_id": browser.user_id, "id": browser.id}).first()
    if row is None or row.client_id != browser.client_id or not row.authenticators:
        return False
    mine = connection.execute(_AUTHENTICATORS, {"user_id": browser.user_id})
    return stands(rows.ids(row.authenticators), map(rows.authenticator, mine))


def removed_by(connection: Connection, user_id: str, token_id: str) -> frozenset[str]:
    """Return the ids of a user's authenticators that a login or token removed itself."""
    return frozenset(connection.execute(_REMOVED_BY, {"user_id": user_id, "token_id": token_id}).scalars())


def account(connection: Connection, user_id: str, token_id: str = "") -> Account | None:
    """Return the account of a user, and whether `token_id` is spent; None if there is no such user."""
    row = connection.execute(_USER, {"id": user_id}).first()
    if row is None:
        return None
    spent = (
        bool(token_id) and connection.execute(_SPENT, {"user_id": user_id, "token_id": token_id}).first() is not None
    )
    found = connection.execute(_AUTHENTICATORS, {"user_id": user_id})
    return Account(rows.user(row), tuple(rows.authenticator(row) for row in found), spent)


def challenge(connection: Connection, user_id: str, challenge_id: str) -> Challenge | None:
    """Return a challenge of a user; None if there is none."""
    row = connection.execute(_CHALLENGE, {"user_id": user_id, "id": challenge_id}).first()
    return rows.challenge(row) if row else None


def pairing(connection: Connection, unique_ref: str) -> tuple[Authenticator, Challenge] | None:
    """Return the enrollment that waits for a device with a pairing secret, and its challenge; None if none does."""
    row = connection.execute(_HOLDER, {"kind": PUSH, "unique_ref": unique_ref}).first()
    if row is None:
        return None
    asked = connection.execute(_PENDING, {"user_id": row.user_id, "authenticator_id": row.id}).first()
    return (rows.authenticator(row), rows.challenge(asked)) if asked else None


def family(connection: Connection, user_id: str, family_id: str) -> RefreshFamily | None:
    """Return a refresh family; None if there is none."""
    row = connection.execute(_FAMILY, {"user_id": user_id, "id": family_id}).first()
    return rows.refresh_family(row) if row else None


def holders(connection: Connection, authenticator_ids: Sequence[str]) -> list[Authenticator]:
    """Return the authenticators that have these ids, whosever they are."""
    query = select(t.authenticators).where(
        t.authenticators.c.id.in_(authenticator_ids), t.authenticators.c.state != "removed"
    )
    return [rows.authenticator(row) for row in connection.execute(query)]
