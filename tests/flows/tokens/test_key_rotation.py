"""A root key gives way to another: whatever was stored and handed out before is good until the old key is retired."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from cofactor_server.seams import SystemEntropy
from cofactor_server.store import resealing
from cofactor_server.store.tables import metadata
from cofactor_server.vault import root_keys, rotation
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey
from sqlalchemy import Connection, LargeBinary, update

from tests.attacks.limits.test_answered import typed
from tests.support.flows.api import GrpcApi, Tokens, grpc_edge
from tests.support.flows.attacks import add_mailed, challenged, open_world
from tests.support.flows.steps import a, enrolled, logged_in, logged_in_to_mfa, reason, shop
from tests.support.world import MovableClock, World, world_on

REQUEST = "5f0c2a52-6a1d-4b8e-9d53-0c5a2f6f7b11"
NOT_SEALED = {
    "settings.value",  # the canary is sealed again by itself
    "clients.secret_sha256",
    "refresh_families.token_sha256",
    "outcomes.request_sha256",
    "tickets.sha256",
}


@dataclass
class Rotating:
    """A deployment whose keyring is a file."""

    world: World
    api: GrpcApi
    file: Path

    def edit(self, change: object) -> None:
        root_keys.edit(self.file, change)  # type: ignore[arg-type]
        self.world.keyring.follow()

    def promote(self) -> None:
        self.edit(partial(rotation.promoted, entropy=SystemEntropy(), now=self.world.clock.now()))

    async def under_old_keys(self) -> int:
        totals = await self.world.app.rotation.totals()
        return totals.total() - totals[self.world.keyring.active_id]


@pytest.fixture
async def rotating(prepared_url: str, tmp_path: Path, root_keys: Sequence[RootKey]) -> AsyncIterator[Rotating]:
    clock, file = MovableClock(), tmp_path / "keyring.json"
    Keyring.write(file, root_keys)
    keyring = Keyring.load(file, clock)
    async with open_world(prepared_url, clock=clock, keyring=keyring) as world, grpc_edge(world) as api:
        yield Rotating(world, api, file)


@pytest.mark.requirement("S23", "S73", "S158")
async def test_a_rotation_seals_everything_again_and_nobody_notices(
    rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "ROWS", 2)
    api, world = rotating.api, rotating.world
    client = await shop(world)
    await world.user("person-0", email="person@mail.example.com", email_verified=True)
    people = [await enrolled(api, world, client, f"person-{n}", scope="offline_access", create=n > 0) for n in range(4)]
    alice = people[0]
    refreshed = a(Tokens, await api.refresh(client, alice.tokens.refresh_token, request_id=REQUEST))
    phone = await add_mailed(api, world, client, people[1])
    under_way, approved = [await logged_in_to_mfa(api, client, people[1].subject) for _ in range(2)]
    answered = await challenged(api, client, approved.mfa_token, phone)
    await typed(api, client, approved.mfa_token, answered.oob_code, world.outbox.sent[-1].code)
    sent = await challenged(api, client, under_way.mfa_token, phone)
    code = world.outbox.sent[-1].code
    counts = await world.app.rotation.counts()
    assert [name for name, by_key in counts.items() if not by_key] == []  # whoever seals a new column fills it here

    rotating.promote()
    told: list[tuple[int, int]] = []
    outcome = await world.app.rotation.reseal(lambda done, due: told.append((done, due)))

    total = sum(sum(by_key.values()) for by_key in counts.values())
    assert (outcome.done, outcome.broken, outcome.left) == (total, {}, 0)
    assert told == sorted(told)
    assert told[-1] == (total, total)
    again = a(Tokens, await api.refresh(client, alice.tokens.refresh_token, request_id=REQUEST))
    assert again.refresh_token == refreshed.refresh_token
    a(Tokens, await api.oob(client, under_way.mfa_token, sent.oob_code, code))
    a(Tokens, await api.oob(client, approved.mfa_token, answered.oob_code))
    await world.app.notices.send_due()
    assert "person@mail.example.com" in {message.to for message in world.outbox.sent}
    for person in people[1:]:
        await logged_in(api, world, client, person)
        a(Tokens, await api.refresh(client, person.tokens.refresh_token))

    world.clock.advance(3_600)
    rotating.edit(partial(rotation.retired, now=world.clock.now()))
    rotating.edit(lambda keys: rotation.without(keys, keys))
    assert len(world.keyring.keys) == 1
    for person in people[1:]:
        await logged_in(api, world, client, person)
    a(Tokens, await api.refresh(client, refreshed.refresh_token))
    async with world_on(world.database_url, clock=world.clock, keyring=world.keyring) as replica:
        assert await replica.app.rotation.totals() == await world.app.rotation.totals()


async def test_sealing_again_again_does_nothing(rotating: Rotating) -> None:
    await enrolled(rotating.api, rotating.world, await shop(rotating.world))
    rotating.promote()
    await rotating.world.app.rotation.reseal()
    outcome = await rotating.world.app.rotation.reseal()
    assert (outcome.done, outcome.left) == (0, 0)


async def test_a_value_that_no_key_opens_is_told_and_holds_up_nothing_else(
    rotating: Rotating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resealing, "ROWS", 1)
    world = rotating.world
    client = await shop(world)
    alice = await enrolled(rotating.api, world, client)
    await enrolled(rotating.api, world, client, "bob")

    def move(connection: Connection) -> None:
        table = metadata.tables["authenticators"]
        bob = connection.execute(table.select().where(table.c.kind == "totp").order_by(table.c.user_id)).all()
        for row, other in ((bob[0], bob[1]), (bob[1], bob[0])):
            connection.execute(update(table).where(table.c.id == row.id).values(credential=other.credential))
        connection.execute(update(table).where(table.c.id == bob[0].id).values(credential=b"short"))

    await world.app.database.transact(move)
    rotating.promote()
    outcome = await world.app.rotation.reseal()
    assert outcome.broken == {"authenticators.credential": 2}
    assert outcome.left == 2
    assert await rotating.under_old_keys() == 2
    assert alice.secret


async def test_tokens_of_a_retired_key_are_over(rotating: Rotating) -> None:
    client = await shop(rotating.world)
    alice = await enrolled(rotating.api, rotating.world, client)
    login = await logged_in_to_mfa(rotating.api, client)
    rotating.promote()
    rotating.edit(partial(rotation.retired, now=rotating.world.clock.now()))
    refused = await reason(rotating.api.otp(client, login.mfa_token, rotating.world.otp(alice.secret)))
    assert refused == "MFA_TOKEN_MALFORMED"
    await logged_in(rotating.api, rotating.world, client, alice)


def test_every_column_of_octets_is_sealed_or_a_hash() -> None:
    """One that is sealed says so in its comment, else a rotation would miss it."""
    octets = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.c
        if isinstance(column.type, LargeBinary)
    }
    assert octets == resealing.SEALED.keys() | NOT_SEALED
