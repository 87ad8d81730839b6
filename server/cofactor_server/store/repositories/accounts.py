"""Lone changes of users and clients: what operators do, and the first vouch for a user."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.endings import Opened, opened
from cofactor_server.domain.foundation.budgets import Guard
from cofactor_server.domain.foundation.events import Event, EventName, Notice, NoticeName
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.logins.refresh import RefreshFamily
from cofactor_server.domain.parties.browsers import Browser
from cofactor_server.domain.parties.clients import Client
from cofactor_server.domain.parties.users import Enrollment, User
from cofactor_server.store import tables as t
from cofactor_server.store.transactions import rows
from cofactor_server.store.transactions.rows import AddressesOf
from cofactor_server.store.transactions.statements import inserting

_OWNED = (
    t.authenticators,
    t.challenges,
    t.spent,
    t.sources,
    t.browsers,
    t.tickets,
    t.outcomes,
    t.notices,
    t.phone_enrollments,
)
"""Tables whose rows go with their user. Refresh families stay until they expire, so that their tokens are told what
happened (W3.4); events stay as the operator's record."""


def add_user(connection: Connection, user: User, address: Authenticator | None = None) -> bool:
    """Add a user with a verified profile address; return False, and add nothing, where (realm, subject) exists."""
    statement = (
        inserting(connection.dialect.name)(t.users)
        .values(rows.of_user(user))
        .on_conflict_do_nothing(index_elements=["realm", "subject"])
    )
    if connection.execute(statement.returning(t.users.c.id)).first() is None:
        return False
    if address is not None:
        connection.execute(insert(t.authenticators).values(rows.of_authenticator(address)))
    return True


def users(connection: Connection, realm: str = "") -> list[tuple[User, list[Authenticator]]]:
    """Return every user of a realm, or of all, by realm and subject, with their authenticators."""
    query = select(t.users).order_by(t.users.c.realm, t.users.c.subject)
    found = connection.execute(query.where(t.users.c.realm == realm) if realm else query).all()
    owned: dict[str, list[Authenticator]] = {}
    for row in connection.execute(select(t.authenticators).where(t.authenticators.c.state != State.REMOVED)):
        owned.setdefault(row.user_id, []).append(rows.authenticator(row))
    return [(rows.user(row), owned.get(row.id, [])) for row in found]


def lock_user_named(connection: Connection, realm: str, subject: str) -> User | None:
    """Return a user, locked for the rest of the transaction; None if there is none."""
    query = select(t.users).where(t.users.c.realm == realm, t.users.c.subject == subject)
    row = connection.execute(query.with_for_update(key_share=True)).first()
    return rows.user(row) if row else None


def lock_user(connection: Connection, user_id: str) -> User | None:
    """Return a user, locked for the rest of the transaction; None if there is none."""
    row = connection.execute(select(t.users).where(t.users.c.id == user_id).with_for_update(key_share=True)).first()
    return rows.user(row) if row else None


def delete_user(connection: Connection, realm: str, subject: str, now: int) -> User | None:
    """Delete a user and what is theirs; return whom, None if there is none."""
    user = lock_user_named(connection, realm, subject)
    if user is None:
        return None
    for table in _OWNED:
        connection.execute(delete(table).where(table.c.user_id == user.id))
    connection.execute(delete(t.users).where(t.users.c.id == user.id))
    record(connection, Event(user.id, EventName.USER_DELETED, now))
    return user


def change_user(connection: Connection, realm: str, subject: str, change: Callable[[User], User]) -> User | None:
    """Write what `change` makes of a locked user, and return it; None if there is none."""
    user = lock_user_named(connection, realm, subject)
    if user is None:
        return None
    changed = change(user)
    save_user(connection, changed)
    return changed


def change_address(
    connection: Connection,
    realm: str,
    subject: str,
    change: Callable[[User], User],
    address_of: Callable[[User], Authenticator | None],
    addresses_of: AddressesOf,
    now: int,
) -> User | None:
    """Write a user's profile address, and the authenticator that it is; return the user, None if there is none.

    Args:
        connection: Of the transaction.
        realm: The user's.
        subject: The user's name.
        change: Gives the locked user the address.
        address_of: Makes the authenticator; None where the address is not verified.
        addresses_of: Says where notices go.
        now: The time of the change.
    """
    user = change_user(connection, realm, subject, change)
    if user is None:
        return None
    before = authenticators(connection, user.id)
    for old in before:
        if old.implicit:
            save_authenticator(connection, old.removed(now))
            tell(connection, Notice(user.id, NoticeName.AUTHENTICATOR_REMOVED, now, old.id), before, addresses_of)
    address = address_of(user)
    if address is not None:
        connection.execute(insert(t.authenticators).values(rows.of_authenticator(address)))
        tell(connection, Notice(user.id, NoticeName.AUTHENTICATOR_ADDED, now, address.id), before, addresses_of)
    return user


def reset_mfa(
    connection: Connection, realm: str, subject: str, enroll_at_login: bool, addresses_of: AddressesOf, now: int
) -> int | None:
    """Remove a user's authenticators and end the tokens of now; return how many there were, None without a user."""
    user = lock_user_named(connection, realm, subject)
    if user is None:
        return None
    return _reset(connection, user, Enrollment.AT_LOGIN if enroll_at_login else Enrollment.TICKET, addresses_of, now)


def reset_mfa_of(
    connection: Connection, user_id: str, addresses_of: AddressesOf, now: int, operator: str
) -> int | None:
    """Do the same for a user by id, on the word of an operator; the user enrolls by ticket from then on."""
    user = lock_user(connection, user_id)
    if user is None:
        return None
    return _reset(connection, user, Enrollment.TICKET, addresses_of, now, {"operator": operator})


def _reset(
    connection: Connection,
    user: User,
    enrollment: Enrollment,
    addresses_of: AddressesOf,
    now: int,
    details: Mapping[str, str] | None = None,
) -> int:
    ended = opened_of(connection, user, now)
    save_user(connection, replace(user, epoch=user.epoch + 1, enrollment=enrollment))
    before = authenticators(connection, user.id)
    removed = remove_authenticators(connection, user.id, now)
    # Where the user came from before is no longer trusted more than where anybody comes from.
    for table in (t.sources, t.browsers):
        connection.execute(delete(table).where(table.c.user_id == user.id))
    record(connection, Event(user.id, EventName.MFA_RESET, now, details={**(details or {}), **ended.details}))
    tell(connection, Notice(user.id, NoticeName.MFA_RESET, now), before, addresses_of)
    return removed


def sign_out(connection: Connection, realm: str, subject: str, now: int) -> Opened | None:
    """End every token of a user that was issued so far; return what was open, None without a user."""
    user = lock_user_named(connection, realm, subject)
    if user is None:
        return None
    ended = opened_of(connection, user, now)
    save_user(connection, replace(user, epoch=user.epoch + 1))
    _forget(connection, user)
    record(connection, Event(user.id, EventName.SIGNED_OUT, now, details=ended.details))
    return ended


def opened_of(connection: Connection, user: User, now: int) -> Opened:
    """Return what a locked user has open."""
    families = connection.execute(select(t.refresh_families).where(t.refresh_families.c.user_id == user.id))
    remembered = select(t.browsers).where(t.browsers.c.user_id == user.id, t.browsers.c.expires_at > now)
    browsers = [rows.browser(row) for row in connection.execute(remembered)]
    return opened(user, map(rows.refresh_family, families), browsers, authenticators(connection, user.id), now)


def forget_browsers(connection: Connection, realm: str, subject: str) -> int | None:
    """Forget every browser of a user; return how many there were, None without a user."""
    user = lock_user_named(connection, realm, subject)
    return _forget(connection, user) if user is not None else None


def forget_browsers_of(connection: Connection, user_id: str) -> int | None:
    """Do the same for a user by id."""
    user = lock_user(connection, user_id)
    return _forget(connection, user) if user is not None else None


def _forget(connection: Connection, user: User) -> int:
    return connection.execute(delete(t.browsers).where(t.browsers.c.user_id == user.id)).rowcount


def forget_browser(connection: Connection, browser: Browser) -> None:
    """Forget one browser; one that is forgotten already stays so."""
    gone = t.browsers.c.user_id == browser.user_id, t.browsers.c.id == browser.id
    connection.execute(delete(t.browsers).where(*gone))


def save_user(connection: Connection, user: User) -> None:
    """Write a locked user."""
    connection.execute(update(t.users).where(t.users.c.id == user.id).values(rows.of_user(user)))


def remove_authenticators(connection: Connection, user_id: str, now: int) -> int:
    """Remove every authenticator of a locked user, keeping the record; return how many there were.

    A profile address stays, being the operator's word and not the user's, and may fail anew.
    """
    found = authenticators(connection, user_id)
    for authenticator in found:
        anew = replace(authenticator, state=State.ACTIVE, guard=Guard())
        save_authenticator(connection, anew if authenticator.implicit else authenticator.removed(now))
    return sum(not authenticator.implicit for authenticator in found)


def add_client(connection: Connection, client: Client) -> None:
    """Add a client with a new id."""
    connection.execute(insert(t.clients).values(rows.of_client(client)))


def clients(connection: Connection) -> list[Client]:
    """Return every client by name."""
    return [
        rows.client(row) for row in connection.execute(select(t.clients).order_by(t.clients.c.name, t.clients.c.id))
    ]


def delete_client(connection: Connection, client_id: str) -> bool:
    """Delete a client; return whether there was one."""
    return bool(connection.execute(delete(t.clients).where(t.clients.c.id == client_id)).rowcount)


def spend(connection: Connection, owner_id: str, token_id: str, expires_at: int) -> bool:
    """Mark a token as used by whoever it belongs to, who needs no row; return whether it was not used before."""
    statement = inserting(connection.dialect.name)(t.spent).values(
        user_id=owner_id, token_id=token_id, expires_at=expires_at
    )
    return connection.execute(statement.on_conflict_do_nothing().returning(t.spent.c.token_id)).first() is not None


def add_family(connection: Connection, family: RefreshFamily) -> None:
    """Add a new refresh family; its user may be deleted meanwhile, which its first use finds out."""
    connection.execute(insert(t.refresh_families).values(rows.of_refresh_family(family)))


def authenticators(connection: Connection, user_id: str) -> list[Authenticator]:
    """Return a user's authenticators in every state but removed."""
    query = select(t.authenticators).where(
        t.authenticators.c.user_id == user_id, t.authenticators.c.state != State.REMOVED
    )
    return [rows.authenticator(row) for row in connection.execute(query)]


def save_authenticator(connection: Connection, authenticator: Authenticator) -> None:
    """Write an authenticator of a locked user."""
    connection.execute(
        update(t.authenticators)
        .where(t.authenticators.c.user_id == authenticator.user_id, t.authenticators.c.id == authenticator.id)
        .values(rows.of_authenticator(authenticator))
    )


def tell(connection: Connection, notice: Notice, before: Sequence[Authenticator], addresses_of: AddressesOf) -> None:
    """Have a user told, at least once, over every address that `before` holds."""
    row_id = _row_id(f"{notice.name}-{notice.authenticator_id}", notice.time)
    addresses = addresses_of(notice.user_id, row_id, before)
    connection.execute(insert(t.notices).values(rows.of_notice(notice, row_id, addresses)))


def record(connection: Connection, event: Event) -> None:
    """Record what happened to a locked user."""
    row_id = _row_id(f"{event.name}-{event.authenticator_id}", event.time)
    connection.execute(insert(t.events).values(rows.of_event(event, row_id)))


def _row_id(name: str, now: int) -> str:
    # An operator's change is one row of its user at its microsecond, under the user's lock; ids grow with time.
    return f"{now:014x}-{name}"
