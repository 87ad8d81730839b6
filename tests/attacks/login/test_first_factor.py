"""Security decision 22: passwords are guessed slowly, and who guesses learns nothing about whom there is."""

import asyncio
import json
from collections import Counter
from typing import Any

import grpc.aio
import httpx2
import pytest
from cofactor.v1 import tokens_pb2
from cofactor_server.domain.parties.clients import Capability
from cofactor_server.vault import passwords

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, RestApi, grpc_edge, rest_edge
from tests.support.flows.attacks import change, open_world, outcome, refusal, rows
from tests.support.flows.steps import ALICE, enrolled, logged_in_to_mfa, shop
from tests.support.world import ISSUER, PASSWORD, World

OURS, THEIRS = "203.0.113.7", "198.51.100.9"
NOBODY, BLOCKED = "nobody@example.test", "blocked@example.test"
WRONG, TOO_MANY = "INVALID_CREDENTIALS", "TOO_MANY_ATTEMPTS"
SIX_MINUTES = 360
FORWARDING = {"capabilities": frozenset({Capability.FORWARD_SOURCE})}


async def guess(api: Api, client: ClientCredentials, name: str, times: int) -> list[str]:
    """Present wrong passwords for a name, and return the reasons."""
    return [await outcome(api.password(client, name, "wrong")) for _ in range(times)]


async def people(world: World) -> None:
    """Have Alice, who may log in, and somebody who is blocked."""
    await world.user()
    await world.user(BLOCKED)
    await world.app.operators.set_blocked("default", BLOCKED, blocked=True)


@pytest.mark.requirement("S202")
@pytest.mark.parametrize("name", [ALICE, NOBODY, BLOCKED])
async def test_the_eleventh_wrong_password_is_not_looked_at_whoever_it_is_for(
    name: str, api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await shop(world)
    await people(world)
    assert await guess(api, client, name, 10) == [WRONG] * 10
    hashed: list[str] = []
    monkeypatch.setattr(passwords.Passwords, "verify", lambda _, stored, __: hashed.append(stored))

    refused = await refusal(api.password(client, name, PASSWORD))

    assert (refused.reason, hashed) == (TOO_MANY, [])
    assert refused.retry_after == pytest.approx(SIX_MINUTES, abs=1)


async def test_one_more_password_may_be_tried_every_six_minutes(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    await guess(api, client, ALICE, 10)
    world.clock.advance(SIX_MINUTES)

    assert await guess(api, client, ALICE, 2) == [WRONG, TOO_MANY]


async def test_right_passwords_cost_nothing_and_refill_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    await guess(api, client, ALICE, 9)
    for _ in range(12):
        await logged_in_to_mfa(api, client)

    assert await guess(api, client, ALICE, 2) == [WRONG, TOO_MANY]


async def test_spelling_a_name_in_another_way_buys_no_tries(api: Api, world: World) -> None:
    client = await shop(world)
    spelled = [ALICE, ALICE.upper(), f" {ALICE}", "\uff41lice@example.test"]  # the last begins with a full-width letter

    said = [(await guess(api, client, spelled[number % 4], 1))[0] for number in range(11)]

    assert said == [WRONG] * 10 + [TOO_MANY]


@pytest.mark.requirement("S186")
async def test_who_knows_the_name_alone_does_not_lock_the_owner_out(api: Api, world: World) -> None:
    client = await shop(world, **FORWARDING)
    api.source = OURS
    await enrolled(api, world, client)
    api.source = THEIRS
    assert (await guess(api, client, ALICE, 11))[-1] == TOO_MANY

    api.source = OURS

    assert (await logged_in_to_mfa(api, client)).mfa_token


@pytest.mark.requirement("S186")
async def test_a_source_that_was_there_with_the_password_alone_is_a_strangers(api: Api, world: World) -> None:
    client = await shop(world, **FORWARDING)
    await world.user()
    api.source = OURS
    await logged_in_to_mfa(api, client)
    api.source = THEIRS
    await guess(api, client, ALICE, 10)

    api.source = OURS

    assert await guess(api, client, ALICE, 1) == [TOO_MANY]


async def test_a_source_that_guesses_at_many_names_is_slowed_and_others_are_not(api: Api, world: World) -> None:
    client = await shop(world, **FORWARDING)
    await world.user()
    api.source = THEIRS
    said = Counter(
        [await outcome(api.password(client, f"user{number}@example.test", "wrong")) for number in range(101)]
    )

    assert said == {WRONG: 100, TOO_MANY: 1}
    api.source = OURS
    assert (await logged_in_to_mfa(api, client)).mfa_token


async def test_a_refusal_for_the_source_counts_nothing_for_the_name(api: Api, world: World) -> None:
    client = await shop(world, **FORWARDING)
    await world.user()
    api.source = THEIRS
    await guess(api, client, NOBODY, 1)
    far = world.clock.now() + SIX_MINUTES * 1_000_000 * 100
    await change(world, "budgets", {"full_at": far}, key=f"login-source:{THEIRS}")
    assert await guess(api, client, ALICE, 20) == [TOO_MANY] * 20

    api.source = OURS

    assert await guess(api, client, ALICE, 10) == [WRONG] * 10


async def test_a_public_client_does_not_choose_its_source(world: World) -> None:
    client = await shop(world, public=True)
    said: Counter[str] = Counter()
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(world.app.http(), client=(THEIRS, 40_000)), base_url=ISSUER
    ) as http:
        for number in range(101):
            api = RestApi(http)
            api.source = f"192.0.2.{number}"
            said[await outcome(api.password(client, f"user{number}@example.test", "wrong"))] += 1

    assert said == {WRONG: 100, TOO_MANY: 1}
    assert {row.key for row in await rows(world, "budgets") if row.key.startswith("login-source:")} == {
        f"login-source:{THEIRS}"
    }


@pytest.mark.requirement("S57", "S77")
async def test_clients_edges_and_replicas_share_one_budget_of_a_name(world: World) -> None:
    shared: dict[str, Any] = {"clock": world.clock, "keyring": world.keyring}
    async with (
        open_world(world.database_url, **shared) as replica,
        grpc_edge(world) as grpc,
        rest_edge(replica) as elsewhere,
    ):
        clients = [await shop(world), await shop(world, name="Other"), await shop(world, name="App", public=True)]
        await world.user()
        edges: list[Api] = [grpc, elsewhere]
        said = [(await guess(edges[n % 2], clients[n % 3], ALICE, 1))[0] for n in range(12)]

    assert said == [WRONG] * 10 + [TOO_MANY] * 2


@pytest.mark.requirement("S57", "S181")
async def test_a_hundred_guesses_at_once_at_two_replicas_are_ten(world: World) -> None:
    shared: dict[str, Any] = {"clock": world.clock, "keyring": world.keyring}
    async with (
        open_world(world.database_url, **shared) as replica,
        grpc_edge(world) as one,
        grpc_edge(replica) as other,
    ):
        client = await shop(world)
        await world.user()
        calls = [outcome(edge.password(client, ALICE, f"guess {n}")) for n in range(50) for edge in (one, other)]
        said = Counter(await asyncio.gather(*calls))

    assert 0 < said[WRONG] <= 10
    assert set(said) <= {WRONG, TOO_MANY, "UNAVAILABLE", "TOO_MANY_REQUESTS"}


async def test_names_are_not_kept_in_the_clear(api: Api, world: World) -> None:
    client = await shop(world)
    await guess(api, client, ALICE, 1)

    (row,) = await rows(world, "budgets")

    assert ALICE not in row.key


@pytest.mark.requirement("S82", "S173")
@pytest.mark.parametrize("name", [NOBODY, BLOCKED])
async def test_over_grpc_every_refusal_before_the_first_factor_is_the_same_to_the_octet(
    name: str, grpc_api: GrpcApi, world: World
) -> None:
    client = await shop(world)
    await people(world)

    async def answers(username: str) -> list[tuple[Any, ...]]:
        request = tokens_pb2.IssueTokenRequest(password=tokens_pb2.PasswordGrant(username=username, password="wrong"))
        found = []
        for _ in range(12):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await grpc_api.tokens.IssueToken(request, metadata=grpc_api.by_client(client), timeout=10)
            refused = caught.value
            told = [(str(key), value) for key, value in (*refused.initial_metadata(), *refused.trailing_metadata())]
            found.append((refused.code(), refused.details(), sorted(told)))
        return found

    theirs, alices = await answers(name), await answers(ALICE)

    assert theirs == alices
    assert {code for code, _, _ in alices[:10]} == {grpc.StatusCode.UNAUTHENTICATED}
    assert {code for code, _, _ in alices[10:]} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert all(any(key == "grpc-status-details-bin" for key, _ in told) for _, _, told in alices)


@pytest.mark.requirement("S82", "S173")
@pytest.mark.parametrize("name", [NOBODY, BLOCKED])
async def test_before_the_first_factor_every_refusal_is_the_same_to_the_octet(
    name: str, rest_api: RestApi, world: World
) -> None:
    client_id, secret = await shop(world)
    await people(world)

    async def answers(username: str) -> list[tuple[Any, ...]]:
        body = {"grant_type": "password", "client_id": client_id, "client_secret": secret, "password": "wrong"}
        found = []
        for _ in range(12):
            response = await rest_api.http.post("/oauth/token", json={**body, "username": username})
            found.append((response.status_code, response.content, sorted(response.headers.items())))
        return found

    theirs, alices = await answers(name), await answers(ALICE)

    assert theirs == alices
    assert [json.loads(content)["error"] for _, content, _ in alices[9:]] == [
        "invalid_grant",
        *["too_many_attempts"] * 2,
    ]
