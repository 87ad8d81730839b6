"""Between rows and values: what goes in comes out, on a real database."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cofactor_server.domain.authenticators.acr import Authentication, Level
from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.proofs import Purpose
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState
from cofactor_server.domain.foundation.budgets import Guard
from cofactor_server.domain.foundation.events import Event, EventName, Notice, NoticeName
from cofactor_server.domain.foundation.values import Value, replace
from cofactor_server.domain.logins.refresh import RefreshFamily
from cofactor_server.domain.parties.clients import Capability, Client, GrantType
from cofactor_server.domain.parties.users import Enrollment, MfaPolicy
from cofactor_server.store import tables as t
from cofactor_server.store.transactions import rows
from cofactor_server.store.transactions.rows import StoredOutcome
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select

from tests.unit.store.worlds import NOW, opened, user

USER = user(
    "u0",
    realm="réalm",
    label="Zoë 😀",
    epoch=2**40,
    blocked=True,
    mfa_policy=MfaPolicy.NEVER,
    enrollment=Enrollment.TICKET,
    password_hash="$argon2id$…",
    email="zoë@example.com",
    email_verified=True,
    phone_full_at=NOW + 7,
    email_full_at=NOW + 8,
    prompts_since_login=9,
    push_full_at=NOW + 9,
    known_phone_full_at=NOW + 10,
    known_email_full_at=NOW + 11,
    known_push_full_at=NOW + 12,
)
CLIENT = Client(
    id="c",
    name="Shop ☕",
    created_at=NOW,
    secret_sha256=bytes(range(32)),
    grant_types=frozenset(GrantType),
    capabilities=frozenset(Capability),
    audiences=("https://b/", "https://a/"),
    algorithm="ES256",
    realms=("z", "a"),
    vouch_methods=("pwd", "pin"),
    mfa_policy=MfaPolicy.ALWAYS,
    enrollment=Enrollment.VOUCHED,
    access_token_seconds=1,
    refresh_token_seconds=2,
    tls_san="dns:shop.example",
    jwks='{"keys":[]}',
    origins=("https://app.example",),
    remember_days=7,
)
AUTHENTICATOR = Authenticator(
    user_id="u0",
    id="totp|dev_1",
    kind="totp",
    state=State.ACTIVE,
    created_at=NOW,
    credential=b"\x00\xff sealed",
    login_id="login",
    name="Phone ☎",
    link_id="pair",
    unique_ref="ref",
    confirmed_at=NOW + 1,
    last_used_at=NOW + 2,
    removed_at=NOW + 3,
    acr=Level.MFA.acr,
    guard=Guard(4, NOW + 5, NOW + 6, (NOW, NOW + 1)),
    implicit=True,
)
CHALLENGE = Challenge(
    user_id="u0",
    id="ch",
    client_id="c",
    login_id="login",
    purpose=Purpose.ENROLL,
    authenticator_id="totp|dev_1",
    state=ChallengeState.DENIED,
    epoch=3,
    created_at=NOW,
    expires_at=NOW + 1,
    expected=b"\x00",
    answered_at=NOW + 2,
    answer=b"\x01",
    poll_interval=7,
    next_poll_at=NOW + 3,
    known=True,
)
FAMILY = RefreshFamily(
    user_id="u0",
    id="f",
    client_id="c",
    epoch=2,
    generation=9,
    secret=b"\x00s",
    mac_key_id="k1",
    token_sha256=bytes(32),
    scope="openid offline_access",
    audience="https://api/",
    authentication=Authentication(Level.MFA, ("pwd", "otp", "mfa"), NOW, recovery=True, two_kinds=True),
    created_at=NOW,
    expires_at=NOW + 1,
    revoked=True,
    rotated_at=NOW,
)
OUTCOME = StoredOutcome("u0", "c", "r", bytes(32), b"\x00issue", NOW)


@pytest.mark.parametrize(
    ("table", "value", "to_row", "from_row"),
    [
        (t.users, USER, rows.of_user, rows.user),
        (t.users, user("u1"), rows.of_user, rows.user),
        (t.clients, CLIENT, rows.of_client, rows.client),
        (t.clients, Client("p", "Public", NOW), rows.of_client, rows.client),
        (t.authenticators, AUTHENTICATOR, rows.of_authenticator, rows.authenticator),
        (t.authenticators, AUTHENTICATOR.removed(NOW), rows.of_authenticator, rows.authenticator),
        (t.challenges, CHALLENGE, rows.of_challenge, rows.challenge),
        (t.refresh_families, FAMILY, rows.of_refresh_family, rows.refresh_family),
        (t.outcomes, OUTCOME, rows.of_outcome, rows.outcome),
    ],
    ids=lambda value: f"{type(value).__name__}" if isinstance(value, Value) else None,
)
async def test_every_field_comes_back(
    table: Any, value: Any, to_row: Callable[[Any], dict[str, Any]], from_row: Callable[[Any], Any], database_url: str
) -> None:
    row = to_row(value)
    async with opened(database_url) as database:
        await database.transact(lambda connection: connection.execute(insert(table), row))
        stored = await database.read(lambda connection: connection.execute(select(table)).one())
    assert set(row) == set(table.c.keys())
    assert from_row(stored) == value


def test_the_samples_leave_no_field_at_its_default() -> None:
    for sample in (USER, CLIENT, AUTHENTICATOR, CHALLENGE, FAMILY):
        plain = {f.name: f.default for f in msgspec.structs.fields(sample)}
        assert [name for name, default in plain.items() if getattr(sample, name) == default] == []


async def test_events_and_notices_fill_their_tables(database_url: str) -> None:
    event = Event("u0", EventName.PROOF_REPLAYED, NOW, "c", "login", "totp|dev_1", "192.0.2.1", {"why": "späm"})
    notice = Notice("u0", NoticeName.SUSPICIOUS_FAILURES, NOW, "totp|dev_1", "192.0.2.1")
    async with opened(database_url) as database:
        await database.transact(lambda c: c.execute(insert(t.events), rows.of_event(event, "e1")))
        await database.transact(lambda c: c.execute(insert(t.notices), rows.of_notice(notice, "n1", b"sealed")))
        events = await database.read(lambda c: c.execute(select(t.events)).one())
        notices = await database.read(lambda c: c.execute(select(t.notices)).one())
    assert events.details == '{"why": "sp\\u00e4m"}'
    assert (events.name, events.source) == ("proof.replayed", "192.0.2.1")
    assert (notices.name, notices.sent_at) == ("suspicious_failures", None)


INSTANTS = st.integers(min_value=0, max_value=2**62)
GUARDS = st.builds(
    Guard,
    failures=st.integers(0, 2**31 - 1),
    stranger_full_at=INSTANTS,
    known_full_at=INSTANTS,
    stranger_failures=st.lists(INSTANTS, max_size=30).map(tuple),
)


@given(GUARDS)
def test_any_guard_comes_back(guard: Guard) -> None:
    row = tuple(rows.of_authenticator(replace(AUTHENTICATOR, guard=guard)).values())
    assert rows.authenticator(row).guard == guard


@given(
    st.builds(
        Authentication,
        level=st.sampled_from(Level),
        amr=st.lists(st.text()).map(tuple),
        time=INSTANTS,
        recovery=st.booleans(),
    )
)
def test_any_authentication_comes_back(authentication: Authentication) -> None:
    assert rows.authentication(rows.of_authentication(authentication)) == authentication


def test_no_row_value_prints_a_secret() -> None:
    printed = repr([USER, CLIENT, AUTHENTICATOR, CHALLENGE, FAMILY])
    assert "argon2id" not in printed
    assert "sealed" not in printed
