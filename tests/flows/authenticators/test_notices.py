"""Notices of changes: at least once, at every address known before the change, over any number of replicas."""

import asyncio
from typing import Any

import pytest
from cofactor_server.domain.authenticators.proofs import Message
from cofactor_server.domain.foundation.events import NoticeName
from cofactor_server.errors import DestinationRefused, Unavailable
from cofactor_server.services.messages.notices import AT_ONCE, FIRST_WAIT, GIVE_UP, LEASE, Notices
from cofactor_server.services.messages.sending import NoSender
from cofactor_server.services.operators.users_and_clients import NewUser

from tests.support.flows.api import GrpcApi, Tokens
from tests.support.flows.attacks import add_mailed, change, rows
from tests.support.flows.steps import ALICE, Enrolled, a, enrolled, mfa_access_token, shop
from tests.support.world import PASSWORD, World, world_on

PROFILE = "alice@profile.example.com"
NUMBER, MAIL = "+442071838750", "alice@mail.example.com"
SECOND = 1_000_000


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": frozenset({"totp", "recovery-code", "sms", "voice", "email"})}


@pytest.fixture
async def alice(world: World, grpc_api: GrpcApi) -> tuple[tuple[str, str | None], Enrolled]:
    """A user with an app and a verified profile address, and her client; what was to be told so far is told."""
    await world.app.operators.create_user(
        NewUser("default", ALICE, PASSWORD, ALICE, email=PROFILE, email_verified=True)
    )
    client = await shop(world)
    user = await enrolled(grpc_api, world, client, create=False)
    await world.app.notices.send_due()
    assert told(world) == [("email", PROFILE, NoticeName.AUTHENTICATOR_ADDED)]
    world.outbox.sent.clear()
    return client, user


def told(world: World) -> list[tuple[str, str, NoticeName]]:
    """Return channel, address and name of each notice that was sent, in the order of addresses."""
    return sorted((m.channel, m.to, m.notice) for m in world.outbox.sent if m.notice is not None)


async def unsent(world: World) -> list[Any]:
    return [row for row in await rows(world, "notices") if row.sent_at is None]


@pytest.mark.requirement("S35")
async def test_a_change_is_told_at_every_address_known_before_it(
    world: World, grpc_api: GrpcApi, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    await add_mailed(grpc_api, world, *alice)
    await world.app.notices.send_due()
    assert told(world) == [("email", PROFILE, NoticeName.AUTHENTICATOR_ADDED)]


@pytest.mark.requirement("S15", "S35")
async def test_a_number_that_was_removed_hears_of_its_removal_once_by_text(
    world: World, grpc_api: GrpcApi, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    client, user = alice
    authenticator_id = await add_mailed(grpc_api, world, client, user)
    await world.app.notices.send_due()
    world.outbox.sent.clear()
    bearer = await mfa_access_token(grpc_api, world, client, user)
    await grpc_api.remove(bearer, authenticator_id)
    await world.app.notices.send_due()
    assert told(world) == [
        ("email", PROFILE, NoticeName.AUTHENTICATOR_REMOVED),
        ("sms", NUMBER, NoticeName.AUTHENTICATOR_REMOVED),
    ]


async def test_a_reset_is_told_at_the_addresses_it_removed(
    world: World, grpc_api: GrpcApi, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    await add_mailed(grpc_api, world, *alice)
    await world.app.notices.send_due()
    world.outbox.sent.clear()
    await world.app.operators.reset_mfa("default", ALICE)
    await world.app.notices.send_due()
    assert told(world) == [("email", PROFILE, NoticeName.MFA_RESET), ("sms", NUMBER, NoticeName.MFA_RESET)]


async def test_another_profile_address_is_told_at_the_old_one(
    world: World, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    await world.app.operators.set_email("default", ALICE, "mallory@example.com", verified=True)
    await world.app.notices.send_due()
    assert {(channel, to) for channel, to, _ in told(world)} == {("email", PROFILE)}


async def test_a_notice_says_what_when_and_from_where_and_no_name_that_a_thief_chose(
    world: World, grpc_api: GrpcApi, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    client, user = alice
    bearer = await mfa_access_token(grpc_api, world, client, user)
    begun = await grpc_api.enroll(bearer, name="Call 555-1234 to undo")
    a(Tokens, await grpc_api.otp(client, bearer, world.otp(begun.secret)))
    await world.app.notices.send_due()
    (message,) = world.outbox.sent
    assert message.facts.keys() == {"kind", "time", "source"}
    assert message.facts["kind"] == "totp"
    assert message.facts["time"].endswith(" UTC")
    assert "555-1234" not in str(message.facts)


async def test_a_user_with_no_address_is_marked_as_told(world: World, grpc_api: GrpcApi) -> None:
    await enrolled(grpc_api, world, await shop(world))
    await world.app.notices.send_due()
    assert (told(world), await unsent(world)) == ([], [])


async def test_addresses_are_sealed_and_forgotten_once_they_are_told(
    world: World, grpc_api: GrpcApi, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    await add_mailed(grpc_api, world, *alice)
    (row,) = await unsent(world)
    assert row.addresses
    assert PROFILE.encode() not in row.addresses
    await world.app.notices.send_due()
    assert {bytes(row.addresses) for row in await rows(world, "notices")} == {b""}


@pytest.mark.requirement("S188")
async def test_a_crash_between_sending_and_marking_sends_again_after_the_lease(
    world: World, grpc_api: GrpcApi, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    await add_mailed(grpc_api, world, *alice)

    notices = world.app.notices
    dying = Notices(Breaking(notices._records), notices._recipients, world.outbox, world.clock)  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await dying.send_due()
    assert len(told(world)) == 1

    await world.app.notices.send_due()
    assert len(told(world)) == 1

    world.clock.advance(LEASE / SECOND)
    await world.app.notices.send_due()
    assert told(world) == [("email", PROFILE, NoticeName.AUTHENTICATOR_ADDED)] * 2
    assert await unsent(world) == []


class Breaking:
    """A database that goes away after the lease."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self._changes = 0

    async def change(self, *arguments: Any) -> Any:
        self._changes += 1
        if self._changes > 1:
            raise Unavailable
        return await self._records.change(*arguments)


async def test_of_many_workers_one_sends(
    world: World, given: dict[str, Any], alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    count = 2 * AT_ONCE + 1
    for _ in range(count):
        world.clock.advance(1)
        await world.app.operators.reset_mfa("default", ALICE)
    async with world_on(world.database_url, clock=world.clock, keyring=world.keyring, **given) as replica:
        await asyncio.gather(*(node.app.notices.send_due() for node in (world, replica) * 4))
        sent = [*told(world), *told(replica)]
    assert sent == [("email", PROFILE, NoticeName.MFA_RESET)] * count
    assert await unsent(world) == []


async def test_where_nothing_arrives_is_done_with(
    world: World, alice: tuple[tuple[str, str | None], Enrolled], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_message: Message) -> None:
        raise DestinationRefused

    monkeypatch.setattr(world.outbox, "send", refuse)
    await world.app.operators.reset_mfa("default", ALICE)
    await world.app.notices.send_due()
    assert await unsent(world) == []


async def test_without_anything_to_send_over_notices_stay_for_the_operator(
    world: World, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    await world.app.operators.reset_mfa("default", ALICE)
    notices = world.app.notices
    await Notices(notices._records, notices._recipients, NoSender(), world.clock).send_due()
    (row,) = await unsent(world)
    assert row.attempts == 0


async def test_a_notice_of_a_later_version_waits_for_a_replica_that_knows_it(
    world: World, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    await world.app.operators.reset_mfa("default", ALICE)
    (row,) = await unsent(world)
    await change(world, "notices", {"name": "from_the_future"}, id=row.id)
    await world.app.notices.send_due()
    (row,) = await unsent(world)
    assert (told(world), row.due_at > world.clock.now()) == ([], True)


async def test_an_address_that_has_it_is_not_told_again_while_another_is_down(
    world: World, grpc_api: GrpcApi, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    client, user = alice
    await add_mailed(grpc_api, world, client, user)
    await world.app.notices.send_due()
    world.outbox.sent.clear()
    world.outbox.down.add("sms")
    await world.app.operators.reset_mfa("default", ALICE)
    await world.app.notices.send_due()
    await world.app.notices.send_due()
    assert told(world) == [("email", PROFILE, NoticeName.MFA_RESET)]

    world.outbox.down.clear()
    world.clock.advance(FIRST_WAIT / SECOND)
    await world.app.notices.send_due()
    assert told(world) == [("email", PROFILE, NoticeName.MFA_RESET), ("sms", NUMBER, NoticeName.MFA_RESET)]
    assert await unsent(world) == []


async def test_after_three_days_an_address_is_given_up(
    world: World, alice: tuple[tuple[str, str | None], Enrolled]
) -> None:
    world.outbox.down.add("email")
    await world.app.operators.reset_mfa("default", ALICE)
    for _ in range(90):
        await world.app.notices.send_due()
        world.clock.advance(3_600)
    (row,) = await unsent(world)
    assert row.due_at is None
    assert 60 <= row.attempts <= GIVE_UP // (3_600 * SECOND) + 10
