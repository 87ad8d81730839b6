"""S23, S26, S113, S114: who has the database alone has no secret of anybody, and who has the logs neither."""

import base64
import logging
from pathlib import Path

import pytest
from cofactor_server.store import tables
from sqlalchemy import text

from tests.support.flows.api import Api, Tokens
from tests.support.flows.attacks import (
    DESTINATIONS,
    add_mailed,
    challenged,
    low_access_token,
    outcome,
    wrong,
)
from tests.support.flows.steps import ALICE, a, enrolled, logged_in_to_mfa, mfa_access_token, second_app, shop
from tests.support.world import PASSWORD, World


async def rich_life(api: Api, world: World) -> dict[str, str]:
    """Let two users do everything, and return every secret that passed."""
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="openid offline_access")
    bob = await enrolled(api, world, client, "bob@example.test", scope="offline_access")
    sms = await add_mailed(api, world, client, alice)
    email = await add_mailed(api, world, client, alice, "email")
    bearer = await mfa_access_token(api, world, client, alice)
    more = await second_app(api, world, client, bearer)
    pending = await api.enroll(bearer)
    login = await logged_in_to_mfa(api, client)
    false = wrong(world, alice.secret, more.secret)
    await outcome(api.otp(client, login.mfa_token, false))
    await outcome(api.recovery(client, login.mfa_token, "Z" * 24))
    sent = await challenged(api, client, login.mfa_token, sms)
    low = await low_access_token(api, world, client, ALICE, email)
    rotated = a(Tokens, await api.refresh(client, alice.tokens.refresh_token))
    await outcome(api.refresh(client, bob.tokens.refresh_token))
    await outcome(api.refresh(client, bob.tokens.refresh_token))
    recovering = await logged_in_to_mfa(api, client)
    recovered = a(Tokens, await api.recovery(client, recovering.mfa_token, alice.recovery_code))
    await api.revoke(client, low)
    codes = {f"code {number}": message.code for number, message in enumerate(world.outbox.sent)}
    return {
        "client secret": client[1] or "",
        "password": PASSWORD,
        "seed": alice.secret,
        "seed of the second app": more.secret,
        "seed that is pending": pending.secret,
        "first recovery code": alice.recovery_code,
        "recovery code": recovered.recovery_code,
        "other recovery code": bob.recovery_code,
        "mfa_token": login.mfa_token,
        "used mfa_token": recovering.mfa_token,
        "oob_code": sent.oob_code,
        "access token": alice.tokens.access_token,
        "id_token": alice.tokens.id_token,
        "MFA access token": bearer,
        "revoked token": low,
        "refresh token": rotated.refresh_token,
        "used refresh token": alice.tokens.refresh_token,
        "revoked refresh token": bob.tokens.refresh_token,
        "destination": DESTINATIONS["sms"],
        "typed code": false,
        **codes,
    }


def _files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("world.sqlite3*")))


async def dumped(world: World, engine: str, folder: Path) -> bytes:
    """Return all that the database holds, as somebody sees it who took it away."""
    if engine == "sqlite":
        return _files(folder)
    names = [table.name for table in tables.metadata.sorted_tables]

    def everything(connection: object) -> str:
        found = [
            str(row[0])
            for name in names
            for row in connection.execute(text(f'SELECT t::text FROM "{name}" t'))  # type: ignore[attr-defined]
        ]
        return "\n".join(found)

    return (await world.app.database.read(everything)).encode()


def written(secret: str) -> list[bytes]:
    """Return a secret as text, as octets in base32 and base64url, and as PostgreSQL writes octets."""
    forms = [secret.encode(), secret.encode().hex().encode()]
    if len(secret) == 32:
        octets = base64.b32decode(secret)
        forms += [octets, octets.hex().encode()]
    return forms


SHORT = 8
"""Digits: what is shorter stands in any dump by chance, inside times and random octets."""


@pytest.mark.requirement("S18", "S23", "S26", "S73", "S114", "S172")
async def test_a_dump_without_the_keyring_holds_no_secret(api: Api, world: World, engine: str, tmp_path: Path) -> None:
    secrets = await rich_life(api, world)
    dump = await dumped(world, engine, tmp_path)

    assert ALICE.encode() in dump
    found = [
        name
        for name, secret in secrets.items()
        if len(secret) > SHORT and any(form in dump for form in written(secret))
    ]
    assert found == []


@pytest.mark.requirement("S23", "S113")
async def test_no_secret_reaches_the_log(api: Api, world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = await rich_life(api, world)

    logged = "\n".join(
        record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "sqlalchemy"))
    )

    assert [name for name, secret in secrets.items() if secret and secret in logged] == []


async def test_no_value_prints_its_secrets(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client, scope="offline_access")
    (row, *_) = (await world.app.operators.users())[0][1]

    shown = repr((row, world.app.configuration, await world.app.operators.clients()))

    assert alice.secret not in shown
    assert repr(row.credential) not in shown
    assert (client[1] or "-") not in shown
