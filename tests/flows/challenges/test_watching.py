"""A challenge that is watched: its state now and at every change, for its login alone (ADR-20)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc.aio
import pytest
from cofactor.v1 import challenges_pb2 as challenges
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.rpc.server import build_server, drain, listen
from cofactor_server.services.challenges import watchers
from cofactor_server.store import tables
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey
from grpc_health.v1 import health
from sqlalchemy import delete

from tests.support.flows.api import ClientCredentials, GrpcApi, Tokens, Traffic, grpc_edge, refusal_of
from tests.support.flows.attacks import GARBAGE, MALLORY, enrolled_pair, names, rows
from tests.support.flows.pushed import Phone, add_phone, phone_of, prompted, pushed_world
from tests.support.flows.steps import ALICE, Enrolled, a, enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import MovableClock, World

SOON = 5.0
"""Seconds: more than a poll takes, and the longest that anything here is waited for."""


@pytest.fixture
async def world(prepared_url: str, root_keys: Sequence[RootKey]) -> AsyncIterator[World]:
    """A deployment whose users may have devices."""
    clock = MovableClock()
    async with pushed_world(prepared_url, clock=clock, keyring=Keyring(root_keys, clock)) as opened:
        yield opened


@pytest.fixture
async def api(world: World, traffic: Traffic) -> AsyncIterator[GrpcApi]:
    """The world over gRPC: only that edge streams."""
    async with grpc_edge(world, traffic) as found:
        yield found


@pytest.fixture
async def client(world: World) -> ClientCredentials:
    """A client with every grant."""
    return await shop(world)


@pytest.fixture
async def user(api: GrpcApi, world: World, client: ClientCredentials) -> Enrolled:
    """Alice, with an authenticator app."""
    return await enrolled(api, world, client)


@pytest.fixture
async def phone(api: GrpcApi, world: World, client: ClientCredentials, user: Enrolled) -> Phone:
    """Alice's device."""
    return await add_phone(api, world, client, user)


class Watch:
    """A stream of states."""

    def __init__(self, api: GrpcApi, client: ClientCredentials, mfa_token: str, oob_code: str) -> None:
        request = challenges.WatchChallengeRequest(oob_code=oob_code)
        metadata = (*api.by_client(client), ("authorization", f"Bearer {mfa_token}"))
        self.call: Any = api.challenges.WatchChallenge(request, metadata=metadata)

    async def state(self) -> str:
        """Return the next state; what refuses it, where it is refused; nothing at the end."""
        try:
            async with asyncio.timeout(SOON):
                message = await self.call.read()
        except grpc.aio.AioRpcError as error:
            return refusal_of(error).reason
        if message is grpc.aio.EOF:
            return ""
        return challenges.ChallengeState.Name(message.state).removeprefix("CHALLENGE_STATE_")


async def test_a_watcher_hears_every_state_until_the_last(
    api: GrpcApi, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    watch = Watch(api, client, mfa_token, oob_code)

    heard = [await watch.state()]
    await phone.answer()
    heard.append(await watch.state())
    a(Tokens, await api.oob(client, mfa_token, oob_code))
    heard += [await watch.state(), await watch.state()]

    assert heard == ["PENDING", "APPROVED", "REDEEMED", ""]
    assert await watch.call.code() is grpc.StatusCode.OK


async def test_a_watcher_hears_of_a_denial(api: GrpcApi, client: ClientCredentials, phone: Phone) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    watch = Watch(api, client, mfa_token, oob_code)

    heard = [await watch.state()]
    await phone.answer("deny")
    heard += [await watch.state(), await watch.state()]

    assert heard == ["PENDING", "DENIED", ""]


@pytest.mark.requirement("S142")
@pytest.mark.parametrize(("decision", "state"), [("approve", "REDEEMED"), ("deny", "DENIED")])
async def test_a_dropped_stream_is_resumed_without_losing_the_result(
    decision: str, state: str, api: GrpcApi, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    dropped = Watch(api, client, mfa_token, oob_code)
    assert await dropped.state() == "PENDING"
    dropped.call.cancel()
    await phone.answer(decision)
    if decision == "approve":
        assert await Watch(api, client, mfa_token, oob_code).state() == "APPROVED"
        a(Tokens, await api.oob(client, mfa_token, oob_code))

    resumed = Watch(api, client, mfa_token, oob_code)

    assert [await resumed.state(), await resumed.state()] == [state, ""]


@pytest.mark.requirement("S139")
async def test_a_watcher_hears_when_the_time_is_over(
    api: GrpcApi, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    watch = Watch(api, client, mfa_token, oob_code)
    assert await watch.state() == "PENDING"

    world.clock.advance(301)

    assert [await watch.state(), await watch.state()] == ["EXPIRED", ""]


async def test_a_watcher_hears_that_another_challenge_took_the_place(
    api: GrpcApi, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    watch = Watch(api, client, mfa_token, oob_code)
    assert await watch.state() == "PENDING"

    await api.challenge(client, mfa_token, types=["oob"], authenticator_id=phone.authenticator_id)

    assert [await watch.state(), await watch.state()] == ["EXPIRED", ""]


async def test_an_enrollment_is_watched_like_a_login(api: GrpcApi, world: World, client: ClientCredentials) -> None:
    await world.user()
    login = await logged_in_to_mfa(api, client)
    begun = await api.enroll(login.mfa_token, "push")
    watch = Watch(api, client, login.mfa_token, begun.oob_code)

    heard = [await watch.state()]
    await (await phone_of(world, begun)).answer()
    heard.append(await watch.state())
    a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code))
    heard.append(await watch.state())

    assert heard == ["PENDING", "APPROVED", "REDEEMED"]


# The end of a login's authority


async def end_by_other_means(world: World, api: GrpcApi, client: ClientCredentials, user: Enrolled, watch: str) -> None:
    await api.otp(client, watch, world.otp(user.secret))


async def block(world: World, *_: object) -> None:
    await world.app.operators.set_blocked("default", ALICE, blocked=True)


async def reset(world: World, *_: object) -> None:
    await world.app.operators.reset_mfa("default", ALICE)


async def delete_user(world: World, *_: object) -> None:
    await world.app.operators.delete_user("default", ALICE)


async def delete_client(world: World, _: GrpcApi, client: ClientCredentials, *__: object) -> None:
    await world.app.operators.delete_client(client[0])


async def outlive(world: World, *_: object) -> None:
    world.clock.advance(299)


async def remove(world: World, api: GrpcApi, client: ClientCredentials, user: Enrolled, _: str) -> None:
    bearer = await mfa_access_token(api, world, client, user)
    push = next(row for row in await api.list(bearer) if row.type == "push-notification")
    await api.remove(bearer, push.id)


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        (end_by_other_means, "MFA_TOKEN_STALE"),
        (block, "MFA_TOKEN_STALE"),
        (reset, "MFA_TOKEN_STALE"),
        (delete_user, "OOB_CODE_MALFORMED"),
        (delete_client, "INVALID_CLIENT"),
        (outlive, "MFA_TOKEN_EXPIRED"),
        (remove, "OOB_CODE_MALFORMED"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_stream_ends_with_what_it_relies_on(
    ends: Any, reason: str, api: GrpcApi, world: World, client: ClientCredentials, user: Enrolled, phone: Phone
) -> None:
    login = await logged_in_to_mfa(api, client)
    world.clock.advance(310)  # so that the login ends before the challenge
    sent = await api.challenge(client, login.mfa_token, types=["oob"], authenticator_id=phone.authenticator_id)
    watch = Watch(api, client, login.mfa_token, sent.oob_code)
    assert await watch.state() == "PENDING"

    await ends(world, api, client, user, login.mfa_token)

    assert await watch.state() == reason


# Attacks


@pytest.mark.requirement("S95")
async def test_nobody_watches_for_another_login(api: GrpcApi, world: World, client: ClientCredentials) -> None:
    alice, mallory = await enrolled_pair(api, world, client)
    ours, theirs = await add_phone(api, world, client, alice), await add_phone(api, world, client, mallory)
    mfa_token, oob_code = await prompted(api, client, ours)
    same_user = await logged_in_to_mfa(api, client)
    strangers_token, strangers_code = await prompted(api, client, theirs, MALLORY)
    other = await shop(world, name="Other")
    by_other_client = await logged_in_to_mfa(api, other)

    heard = [
        await Watch(api, client, same_user.mfa_token, oob_code).state(),
        await Watch(api, client, strangers_token, oob_code).state(),
        await Watch(api, client, mfa_token, strangers_code).state(),
        await Watch(api, other, by_other_client.mfa_token, oob_code).state(),
        await Watch(api, client, mfa_token, GARBAGE).state(),
    ]

    assert heard == ["OOB_CODE_MALFORMED"] * 5
    assert (await names(world, "events")).count(EventName.CHALLENGE_MISBOUND) == 3
    assert await Watch(api, other, mfa_token, oob_code).state() == "MFA_TOKEN_FOREIGN"
    assert await Watch(api, (client[0], "wrong"), mfa_token, oob_code).state() == "INVALID_CLIENT"


async def test_an_access_token_watches_nothing(
    api: GrpcApi, world: World, client: ClientCredentials, user: Enrolled
) -> None:
    bearer = await mfa_access_token(api, world, client, user)
    begun = await api.enroll(bearer, "push")

    assert await Watch(api, client, bearer, begun.oob_code).state() == "MFA_TOKEN_MALFORMED"


async def test_a_challenge_of_a_removed_authenticator_is_not_watched(
    api: GrpcApi, world: World, client: ClientCredentials, user: Enrolled, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    await remove(world, api, client, user, mfa_token)

    assert await Watch(api, client, mfa_token, oob_code).state() == "OOB_CODE_MALFORMED"


async def test_five_watch_a_challenge_and_a_sixth_does_not(
    api: GrpcApi, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    five = [Watch(api, client, mfa_token, oob_code) for _ in range(5)]
    assert [await watch.state() for watch in five] == ["PENDING"] * 5

    sixth = Watch(api, client, mfa_token, oob_code)
    refused = await sixth.state()
    five[0].call.cancel()
    async with asyncio.timeout(SOON):  # until the server has seen it go
        while await (again := Watch(api, client, mfa_token, oob_code)).state() != "PENDING":
            pass
    await phone.answer("deny")

    assert (refused, await sixth.call.code()) == ("TOO_MANY_REQUESTS", grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert [await watch.state() for watch in (*five[1:], again)] == ["DENIED"] * 5


async def test_watching_leaves_no_trace_in_the_database(
    api: GrpcApi, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    before = [await rows(world, table) for table in ("challenges", "spent", "events", "authenticators")]

    assert await Watch(api, client, mfa_token, oob_code).state() == "PENDING"

    assert before == [await rows(world, table) for table in ("challenges", "spent", "events", "authenticators")]


async def test_a_challenge_that_is_gone_ends_its_watchers(
    api: GrpcApi, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    watch = Watch(api, client, mfa_token, oob_code)
    assert await watch.state() == "PENDING"

    await world.app.database.transact(lambda connection: connection.execute(delete(tables.challenges)))

    assert await watch.state() == "OOB_CODE_MALFORMED"


# Replicas


@pytest.fixture
async def postgres(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A PostgreSQL that several replicas share."""
    async with request.getfixturevalue("postgres_lender").lent() as url:
        yield url


@pytest.mark.parametrize("signalled", [True, False], ids=["by signals", "by the poll alone"])
async def test_a_watcher_at_one_replica_hears_what_another_decided(
    signalled: bool,
    postgres: str,
    root_keys: Sequence[RootKey],
    traffic: Traffic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = MovableClock()
    given = {"clock": clock, "keyring": Keyring(root_keys, clock), "listen_url": postgres if signalled else ""}
    # Far longer than anything is waited for here: what is heard is heard of the other way.
    monkeypatch.setattr(watchers, "POLL_SIGNALLED", 100.0)
    monkeypatch.setattr(watchers, "POLL_ALONE", 100.0 if signalled else watchers.POLL_ALONE)
    async with (
        pushed_world(postgres, **given) as one,
        pushed_world(postgres, **given) as two,
        grpc_edge(one, traffic) as here,
        grpc_edge(two, traffic) as there,
    ):
        client = await shop(one)
        phone = await add_phone(here, one, client, await enrolled(here, one, client))
        mfa_token, oob_code = await prompted(here, client, phone)
        watch = Watch(there, client, mfa_token, oob_code)

        heard = [await watch.state()]
        await phone.answer()
        heard.append(await watch.state())
        a(Tokens, await here.oob(client, mfa_token, oob_code))
        heard += [await watch.state(), await watch.state()]

    assert heard == ["PENDING", "APPROVED", "REDEEMED", ""]


# The end of the process


async def test_a_stopping_server_ends_its_streams_at_once(
    world: World, traffic: Traffic, client: ClientCredentials
) -> None:
    interceptor, servicer = world.app.interceptor(), health.aio.HealthServicer()
    server = build_server(world.app.services, interceptor, health_servicer=servicer)
    port = listen(server, "127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        api = GrpcApi(channel)
        phone = await add_phone(api, world, client, await enrolled(api, world, client))
        watch = Watch(api, client, *await prompted(api, client, phone))
        assert await watch.state() == "PENDING"

        async with asyncio.timeout(SOON):
            await drain(server, interceptor, servicer, grace=60)

        assert await watch.state() == "UNAVAILABLE"


async def test_a_stream_over_the_channel_within_the_process_is_like_any(
    world: World, client: ClientCredentials
) -> None:
    async with world.app.local_channel() as channel:
        api = GrpcApi(channel)
        phone = await add_phone(api, world, client, await enrolled(api, world, client))
        watch = Watch(api, client, *await prompted(api, client, phone))
        heard = [await watch.state()]
        await phone.answer("deny")
        heard += [await watch.state(), await watch.state()]
    assert heard == ["PENDING", "DENIED", ""]
