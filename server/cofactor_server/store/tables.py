"""The tables. Ids are made by the application and instants are microseconds, so that every engine stores them alike."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.schema import SchemaItem

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


def _instant(name: str, *, nullable: bool = False, default: str | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable, server_default=default)


def _table(name: str, *items: SchemaItem, comment: str | None = None) -> Table:
    # SQLite keeps such a table in the order of its key: one page to find a row, and one to write it.
    return Table(name, metadata, *items, comment=comment, sqlite_with_rowid=False)


settings = _table(
    "settings",
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    comment="facts of the whole deployment: the keyring's canary, the issuer, the demo marker",
)

clients = _table(
    "clients",
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    _instant("created_at"),
    Column("secret_sha256", LargeBinary, nullable=False),
    Column("attributes", Text, nullable=False, comment="the rest of the client, JSON"),
)

apis = _table(
    "apis",
    Column("audience", Text, primary_key=True),
    Column("name", Text, nullable=False),
    _instant("created_at"),
    Column("scopes", Text, nullable=False, comment="what tokens may allow there, JSON"),
    Column("access_token_seconds", Integer, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("token_profile", Text, server_default="rfc9068", nullable=False),
    comment="resource servers that tokens are for",
)

policies = _table(
    "policies",
    Column("id", Text, primary_key=True),
    _instant("created_at"),
    Column("attributes", Text, nullable=False, comment="the rest of the rule, JSON"),
    comment="when a second factor is asked for, beside what user, client and deployment say",
)

switches = _table(
    "switches",
    Column("name", Text, primary_key=True),
    _flag("is_on"),
    _instant("changed_at"),
    comment="factors that operators switched off or on again; one without a row is on",
)

users = _table(
    "users",
    Column("id", Text, primary_key=True),
    Column("realm", Text, nullable=False),
    Column("subject", Text, nullable=False),
    _text("label"),
    Column("epoch", BigInteger, nullable=False),
    Column("blocked", Boolean, nullable=False),
    _instant("created_at"),
    Column("mfa_policy", Text),
    Column("enrollment", Text),
    _text("password_hash"),
    _text("email"),
    _flag("email_verified"),
    _instant("phone_full_at", default="0"),
    _instant("email_full_at", default="0"),
    Column("prompts_since_login", Integer, nullable=False, server_default="0"),
    _instant("push_full_at", default="0"),
    _instant("known_phone_full_at", default="0"),
    _instant("known_email_full_at", default="0"),
    _instant("known_push_full_at", default="0"),
    UniqueConstraint("realm", "subject"),
)

authenticators = _table(
    "authenticators",
    Column("user_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    _instant("created_at"),
    Column("credential", LargeBinary, nullable=False, comment="sealed"),
    _text("login_id"),
    _text("name"),
    _text("link_id"),
    Column("unique_ref", Text),
    _instant("confirmed_at", nullable=True),
    _instant("last_used_at", nullable=True),
    _instant("removed_at", nullable=True),
    _text("acr"),
    Column("failures", Integer, nullable=False),
    _instant("stranger_full_at"),
    _instant("known_full_at"),
    Column("stranger_failures", Text, nullable=False, comment="instants, separated by commas"),
    _flag("implicit"),
    PrimaryKeyConstraint("user_id", "id"),
    UniqueConstraint("kind", "unique_ref"),
    Index(None, "id"),
)

challenges = _table(
    "challenges",
    Column("user_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("login_id", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("authenticator_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    _instant("created_at"),
    _instant("expires_at"),
    Column("expected", LargeBinary, nullable=False, comment="sealed"),
    _instant("answered_at", nullable=True),
    Column("answer", LargeBinary, nullable=True, comment="sealed; what an approval showed, until it is redeemed"),
    Column("poll_interval", BigInteger, nullable=False, server_default="5000000"),
    Column("next_poll_at", BigInteger, nullable=False, server_default="0"),
    _flag("known"),
    PrimaryKeyConstraint("user_id", "id"),
    Index(None, "expires_at"),
)

spent = _table(
    "spent",
    Column("user_id", Text, nullable=False),
    Column("token_id", Text, nullable=False),
    _instant("expires_at"),
    PrimaryKeyConstraint("user_id", "token_id"),  # on SQLite the other way round (migration 0013)
    Index(None, "expires_at"),
    comment="tokens that were used or revoked before their time",
)

sources = _table(
    "sources",
    Column("user_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    _instant("seen_at"),
    PrimaryKeyConstraint("user_id", "source"),
    Index(None, "seen_at"),
    comment="where a user completed MFA from",
)

browsers = _table(
    "browsers",
    Column("user_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    _instant("created_at"),
    _instant("expires_at"),
    Column(
        "authenticators",
        Text,
        nullable=False,
        server_default="",
        comment="ids of those that it is remembered by, separated by spaces",
    ),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("user_id", "id"),
    Index(None, "expires_at"),
    comment="browsers that are remembered; without its row a token is worth nothing",
)

tickets = _table(
    "tickets",
    Column("user_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    _instant("created_at"),
    _instant("expires_at"),
    Column("kinds", Text, nullable=False, server_default="", comment="separated by commas; empty for any"),
    _flag("several"),
    PrimaryKeyConstraint("user_id", "id"),
    UniqueConstraint("sha256"),
    Index(None, "expires_at"),
    comment="enrollment tickets by their hashes; those that were used are among the spent",
)

source_budgets = _table(
    "source_budgets",
    Column("source", Text, primary_key=True),
    _instant("full_at"),
    Index(None, "full_at"),
)

budgets = _table(
    "budgets",
    Column("key", Text, primary_key=True),
    _instant("full_at"),
    Index(None, "full_at"),
    comment="what many share: a name's wrong passwords, a number's messages; names and numbers as MACs",
)

phone_enrollments = _table(
    "phone_enrollments",
    Column("user_id", Text, nullable=False),
    Column("authenticator_id", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    _instant("sent_at"),
    PrimaryKeyConstraint("user_id", "authenticator_id"),
    Index(None, "prefix", "sent_at"),
    Index(None, "sent_at"),
    comment="messages to numbers that nobody had verified, to stop those that nobody verifies",
)

refresh_families = _table(
    "refresh_families",
    Column("user_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("secret", LargeBinary, nullable=False, comment="sealed"),
    Column("mac_key_id", Text, nullable=False),
    Column("token_sha256", LargeBinary, nullable=False),
    Column("scope", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("authentication", Text, nullable=False, comment="level, amr, time, recovery: JSON"),
    _instant("created_at"),
    _instant("expires_at"),
    Column("revoked", Boolean, nullable=False),
    _instant("rotated_at", default="0"),
    PrimaryKeyConstraint("user_id", "id"),
    Index(None, "expires_at"),
)

outcomes = _table(
    "outcomes",
    Column("user_id", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("request_sha256", LargeBinary, nullable=False),
    Column("issue", LargeBinary, nullable=False, comment="sealed facts from which the tokens are minted again"),
    _instant("expires_at"),
    PrimaryKeyConstraint("user_id", "client_id", "request_id"),
    Index(None, "expires_at"),
)

events = _table(
    "events",
    Column("user_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    _instant("time"),
    Column("name", Text, nullable=False),
    _text("client_id"),
    _text("login_id"),
    _text("authenticator_id"),
    _text("source"),
    Column("details", Text, nullable=False),
    PrimaryKeyConstraint("user_id", "id"),  # on SQLite the other way round (migration 0013)
    Index(None, "time").ddl_if(dialect="postgresql"),  # for pruning; SQLite finds old events by the key
    comment="what happened; ids grow with time, so that a user's events lie in order",
)

notices = _table(
    "notices",
    Column("user_id", Text, nullable=False),
    Column("id", Text, nullable=False),
    _instant("time"),
    Column("name", Text, nullable=False),
    _text("authenticator_id"),
    _text("source"),
    _instant("sent_at", nullable=True),
    Column("addresses", LargeBinary, comment="sealed; those known before the change, until it is sent"),
    Column("told", Text, nullable=False, server_default="", comment="numbers of the addresses that have it"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _instant("due_at", nullable=True),
    PrimaryKeyConstraint("user_id", "id"),
    Index(None, "due_at"),
    comment="what users are to be told; written by the transaction that decided it",
)

signing_keys = _table(
    "signing_keys",
    Column("kid", Text, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("private_pem", LargeBinary, nullable=False, comment="sealed"),
    _instant("created_at"),
    _instant("active_from"),
    _instant("retire_at", nullable=True),
)
