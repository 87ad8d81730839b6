"""Between rows and the values of the domain: the only place that knows both shapes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Row

from cofactor_server.domain.authenticators.acr import Authentication, Level
from cofactor_server.domain.authenticators.authenticator import Authenticator, State
from cofactor_server.domain.authenticators.proofs import Purpose
from cofactor_server.domain.authenticators.tickets import EnrollmentTicket
from cofactor_server.domain.challenges.challenge import Challenge, ChallengeState
from cofactor_server.domain.foundation.budgets import Guard
from cofactor_server.domain.foundation.events import Event, Notice
from cofactor_server.domain.foundation.values import asdict
from cofactor_server.domain.logins.refresh import RefreshFamily
from cofactor_server.domain.parties.clients import Capability, Client, GrantType
from cofactor_server.domain.parties.users import Enrollment, MfaPolicy, User
from cofactor_server.store import tables as t

CHALLENGE_COLUMNS = len(t.challenges.c)
_STATES = {state.value: state for state in State}
_CLEAN = Guard()


AddressesOf: TypeAlias = Callable[[str, str, Sequence[Authenticator]], bytes]
"""Seals where a notice goes, of a user's id, the notice's id, and the authenticators there were before the change."""


@dataclass(frozen=True, slots=True)
class StoredOutcome:
    """A decided request that may be repeated; `issue` is sealed."""

    user_id: str
    client_id: str
    request_id: str
    request_sha256: bytes
    issue: bytes
    expires_at: int


# Rows are taken apart by position, in the order of their table's columns; the driver's have no names.


def user(row: Sequence[Any]) -> User:
    """Return the user a row of `users` holds."""
    user_id, realm, subject, label, epoch, blocked, created_at, mfa_policy, enrollment, password_hash, *rest = row
    email, email_verified, phone_full_at, email_full_at, prompts_since_login, push_full_at, *known = rest
    return User(
        user_id,
        realm,
        subject,
        label,
        epoch,
        bool(blocked),
        created_at,
        MfaPolicy(mfa_policy) if mfa_policy else None,
        Enrollment(enrollment) if enrollment else None,
        password_hash,
        email,
        bool(email_verified),
        phone_full_at,
        email_full_at,
        prompts_since_login,
        push_full_at,
        *known,
    )


def of_user(value: User) -> dict[str, Any]:
    """Return the row of `users` for a user."""
    return {
        "id": value.id,
        "realm": value.realm,
        "subject": value.subject,
        "label": value.label,
        "epoch": value.epoch,
        "blocked": value.blocked,
        "created_at": value.created_at,
        "mfa_policy": value.mfa_policy,
        "enrollment": value.enrollment,
        "password_hash": value.password_hash,
        "email": value.email,
        "email_verified": value.email_verified,
        "phone_full_at": value.phone_full_at,
        "email_full_at": value.email_full_at,
        "prompts_since_login": value.prompts_since_login,
        "push_full_at": value.push_full_at,
        "known_phone_full_at": value.known_phone_full_at,
        "known_email_full_at": value.known_email_full_at,
        "known_push_full_at": value.known_push_full_at,
    }


def client(row: Sequence[Any]) -> Client:
    """Return the client a row of `clients` holds."""
    client_id, name, created_at, secret_sha256, text = row
    attributes = json.loads(text)
    policy = attributes["mfa_policy"]
    return Client(
        id=client_id,
        name=name,
        created_at=created_at,
        secret_sha256=bytes(secret_sha256),
        grant_types=frozenset(GrantType(g) for g in attributes["grant_types"]),
        capabilities=frozenset(Capability(c) for c in attributes["capabilities"]),
        audiences=tuple(attributes["audiences"]),
        algorithm=attributes["algorithm"],
        realms=tuple(attributes["realms"]),
        vouch_methods=tuple(attributes["vouch_methods"]),
        mfa_policy=MfaPolicy(policy) if policy else None,
        enrollment=Enrollment(attributes["enrollment"]),
        access_token_seconds=attributes["access_token_seconds"],
        refresh_token_seconds=attributes["refresh_token_seconds"],
        tls_san=attributes.get("tls_san", ""),  # clients of before have none
        remember_days=attributes.get("remember_days", 30),
        origins=tuple(attributes.get("origins", ())),
        jwks=attributes.get("jwks", ""),
    )


def of_client(value: Client) -> dict[str, Any]:
    """Return the row of `clients` for a client."""
    attributes = {
        "grant_types": sorted(value.grant_types),
        "capabilities": sorted(value.capabilities),
        "audiences": value.audiences,
        "algorithm": value.algorithm,
        "realms": value.realms,
        "vouch_methods": value.vouch_methods,
        "mfa_policy": value.mfa_policy,
        "enrollment": value.enrollment,
        "access_token_seconds": value.access_token_seconds,
        "refresh_token_seconds": value.refresh_token_seconds,
        "tls_san": value.tls_san,
        "remember_days": value.remember_days,
        "jwks": value.jwks,
        "origins": value.origins,
    }
    return {
        "id": value.id,
        "name": value.name,
        "created_at": value.created_at,
        "secret_sha256": value.secret_sha256,
        "attributes": json.dumps(attributes),
    }


def authenticator(row: Sequence[Any]) -> Authenticator:
    """Return the authenticator a row of `authenticators` holds; its credential stays sealed."""
    (
        user_id,
        authenticator_id,
        kind,
        state,
        *rest,
        failures,
        stranger_full_at,
        known_full_at,
        lately_failed,
        implicit,
    ) = row
    guard = _CLEAN
    if failures or stranger_full_at or known_full_at or lately_failed:
        lately = tuple(map(int, lately_failed.split(","))) if lately_failed else ()
        guard = Guard(failures, stranger_full_at, known_full_at, lately)
    return Authenticator(user_id, authenticator_id, kind, _STATES[state], *rest, guard, bool(implicit))  # type: ignore[call-arg]


def of_authenticator(value: Authenticator) -> dict[str, Any]:
    """Return the row of `authenticators` for an authenticator."""
    return {
        "user_id": value.user_id,
        "id": value.id,
        "kind": value.kind,
        "state": value.state,
        "created_at": value.created_at,
        "credential": value.credential,
        "login_id": value.login_id,
        "name": value.name,
        "link_id": value.link_id,
        "unique_ref": value.unique_ref,
        "confirmed_at": value.confirmed_at,
        "last_used_at": value.last_used_at,
        "removed_at": value.removed_at,
        "acr": value.acr,
        "failures": value.guard.failures,
        "stranger_full_at": value.guard.stranger_full_at,
        "known_full_at": value.guard.known_full_at,
        "stranger_failures": ",".join(map(str, value.guard.stranger_failures)),
        "implicit": value.implicit,
    }


def challenge(row: Sequence[Any]) -> Challenge:
    """Return the challenge that a row of `challenges` holds, or begins with; what it expects stays sealed."""
    user_id, challenge_id, client_id, login_id, purpose, authenticator_id, state, epoch, *rest = row[:CHALLENGE_COLUMNS]
    created_at, expires_at, expected, answered_at, answer, poll_interval, next_poll_at, known = rest
    return Challenge(
        user_id,
        challenge_id,
        client_id,
        login_id,
        Purpose(purpose),
        authenticator_id,
        ChallengeState(state),
        epoch,
        created_at,
        expires_at,
        expected,
        answered_at,
        bytes(answer or b""),
        poll_interval,
        next_poll_at,
        bool(known),
    )


def of_challenge(value: Challenge) -> dict[str, Any]:
    """Return the row of `challenges` for a challenge."""
    return {
        "user_id": value.user_id,
        "id": value.id,
        "client_id": value.client_id,
        "login_id": value.login_id,
        "purpose": value.purpose,
        "authenticator_id": value.authenticator_id,
        "state": value.state,
        "epoch": value.epoch,
        "created_at": value.created_at,
        "expires_at": value.expires_at,
        "expected": value.expected,
        "answered_at": value.answered_at,
        "answer": value.answer or None,
        "poll_interval": value.poll_interval,
        "next_poll_at": value.next_poll_at,
        "known": value.known,
    }


def ids(text: str) -> tuple[str, ...]:
    """Return the ids that a column holds, separated by spaces."""
    return tuple(text.split())


def browser(row: Sequence[Any]) -> tuple[int, tuple[str, ...]]:
    """Return at which epoch a row of `browsers` was made, and which authenticators it is remembered by."""
    _user_id, _id, _client_id, _created_at, _expires_at, by, epoch = row
    return epoch, ids(by)


def authentication(text: str) -> Authentication:
    """Return the authentication that a column holds as JSON."""
    value = json.loads(text)
    # Of families of before nobody can tell.
    two_kinds, spared = value.get("two_kinds", False), value.get("spared", False)
    by = tuple(value.get("authenticators", ()))
    return Authentication(
        Level(value["level"]), tuple(value["amr"]), value["time"], value["recovery"], two_kinds, by, spared
    )


def of_authentication(value: Authentication) -> str:
    """Return an authentication as JSON."""
    return json.dumps(asdict(value))


def refresh_family(row: Sequence[Any]) -> RefreshFamily:
    """Return the family a row of `refresh_families` holds; its secret stays sealed."""
    user_id, family_id, client_id, epoch, generation, secret, mac_key_id, token_sha256, scope, audience, *rest = row
    shown, created_at, expires_at, revoked, rotated_at = rest
    return RefreshFamily(
        user_id,
        family_id,
        client_id,
        epoch,
        generation,
        secret,
        mac_key_id,
        bytes(token_sha256),
        scope,
        audience,
        authentication(shown),
        created_at,
        expires_at,
        bool(revoked),
        rotated_at,
    )


def of_refresh_family(value: RefreshFamily) -> dict[str, Any]:
    """Return the row of `refresh_families` for a family."""
    return {
        "user_id": value.user_id,
        "id": value.id,
        "client_id": value.client_id,
        "epoch": value.epoch,
        "generation": value.generation,
        "secret": value.secret,
        "mac_key_id": value.mac_key_id,
        "token_sha256": value.token_sha256,
        "scope": value.scope,
        "audience": value.audience,
        "authentication": of_authentication(value.authentication),
        "created_at": value.created_at,
        "expires_at": value.expires_at,
        "revoked": value.revoked,
        "rotated_at": value.rotated_at,
    }


def outcome(row: Sequence[Any]) -> StoredOutcome:
    """Return the outcome a row of `outcomes` holds."""
    user_id, client_id, request_id, request_sha256, issue, expires_at = row
    return StoredOutcome(user_id, client_id, request_id, bytes(request_sha256), bytes(issue), expires_at)


def of_outcome(value: StoredOutcome) -> dict[str, Any]:
    """Return the row of `outcomes` for a decided request."""
    return {
        "user_id": value.user_id,
        "client_id": value.client_id,
        "request_id": value.request_id,
        "request_sha256": value.request_sha256,
        "issue": value.issue,
        "expires_at": value.expires_at,
    }


def ticket(row: Row[Any]) -> EnrollmentTicket:
    """Return the ticket a row of `tickets` holds."""
    return EnrollmentTicket(
        user_id=row.user_id,
        id=row.id,
        sha256=bytes(row.sha256),
        epoch=row.epoch,
        created_at=row.created_at,
        expires_at=row.expires_at,
        kinds=frozenset(row.kinds.split(",") if row.kinds else ()),
        several=bool(row.several),
    )


def of_ticket(value: EnrollmentTicket) -> dict[str, Any]:
    """Return the row of `tickets` for a ticket."""
    return {
        "user_id": value.user_id,
        "id": value.id,
        "sha256": value.sha256,
        "epoch": value.epoch,
        "created_at": value.created_at,
        "expires_at": value.expires_at,
        "kinds": ",".join(sorted(value.kinds)),
        "several": value.several,
    }


def of_event(value: Event, row_id: str) -> dict[str, Any]:
    """Return the row of `events` for an event."""
    return {
        "user_id": value.user_id,
        "id": row_id,
        "time": value.time,
        "name": value.name,
        "client_id": value.client_id,
        "login_id": value.login_id,
        "authenticator_id": value.authenticator_id,
        "source": value.source,
        "details": _json(value.details),
    }


def of_notice(value: Notice, row_id: str, addresses: bytes) -> dict[str, Any]:
    """Return the row of `notices` for a notice that is to be sent to `addresses`, which are sealed."""
    return {
        "user_id": value.user_id,
        "id": row_id,
        "time": value.time,
        "name": value.name,
        "authenticator_id": value.authenticator_id,
        "source": value.source,
        "sent_at": None,
        "addresses": addresses,
        "told": "",
        "attempts": 0,
        "due_at": value.time,
    }


def _json(value: Mapping[str, str]) -> str:
    return json.dumps(dict(value)) if value else "{}"
