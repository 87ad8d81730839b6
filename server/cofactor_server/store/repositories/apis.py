"""APIs: what tokens may be for."""

import json
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from cofactor_server.domain.parties.apis import Api, TokenProfile
from cofactor_server.store import tables as t
from cofactor_server.store.repositories import accounts

_API = select(t.apis).where(t.apis.c.audience == bindparam("audience"))


def api(connection: Connection, audience: str) -> Api | None:
    """Return the API of an audience; None if none is registered."""
    row = connection.execute(_API, {"audience": audience}).first()
    return _api(row) if row else None


def apis(connection: Connection) -> list[Api]:
    """Return every API by audience."""
    return [_api(row) for row in connection.execute(select(t.apis).order_by(t.apis.c.audience))]


def add(connection: Connection, value: Api) -> bool:
    """Register an API; return False, and change nothing, where its audience is registered."""
    if api(connection, value.audience) is not None:
        return False
    connection.execute(insert(t.apis).values(_row(value)))
    return True


def change(connection: Connection, value: Api) -> bool:
    """Replace an API by what it becomes; return whether there was one of its audience."""
    changed = update(t.apis).where(t.apis.c.audience == value.audience).values(_row(value))
    return bool(connection.execute(changed).rowcount)


def remove(connection: Connection, audience: str) -> tuple[bool, list[str]]:
    """Delete an API that no client asks tokens for; return whether there was one, and those clients' names."""
    users = [client.name for client in accounts.clients(connection) if audience in client.audiences]
    if users:
        return api(connection, audience) is not None, users
    return bool(connection.execute(delete(t.apis).where(t.apis.c.audience == audience)).rowcount), []


def _row(value: Api) -> dict[str, Any]:
    return {
        "audience": value.audience,
        "name": value.name,
        "created_at": value.created_at,
        "scopes": json.dumps(value.scopes),
        "access_token_seconds": value.access_token_seconds,
        "algorithm": value.algorithm,
        "token_profile": value.token_profile,
    }


def _api(row: Row[Any]) -> Api:
    return Api(
        audience=row.audience,
        name=row.name,
        created_at=row.created_at,
        scopes=tuple(json.loads(row.scopes)),
        access_token_seconds=row.access_token_seconds,
        algorithm=row.algorithm,
        token_profile=TokenProfile(row.token_profile),
    )
