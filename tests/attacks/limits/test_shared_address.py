"""Security decisions 9 and 22: who shares an address with a stranger gets in, and the stranger learns of nobody."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
import pytest
from cofactor.v1 import tokens_pb2
from cofactor_server.domain.foundation.budgets import SOURCE_FAILED_CODES
from cofactor_server.domain.parties.clients import Capability
from cofactor_server.seams import SECOND
from cofactor_server.vault import passwords

from tests.support.flows.api import Api, ClientCredentials, GrpcApi, MfaRequired, RestApi, Tokens
from tests.support.flows.attacks import MALLORY, change, fail, outcome, reason, rows, wrong
from tests.support.flows.steps import ALICE, a, enrolled, logged_in, logged_in_to_mfa, shop
from tests.support.world import PASSWORD, World

OFFICE, ELSEWHERE = "203.0.113.7", "198.51.100.9"
NOBODY, BLOCKED, NEW = "nobody@example.test", "blocked@example.test", "new@example.test"
WRONG, TOO_MANY, TOO_MANY_CODES = "INVALID_CREDENTIALS", "TOO_MANY_ATTEMPTS", "TOO_MANY_FAILED_CODES"
SIX_MINUTES = 360
PAUSE = 0.3
"""Seconds after which a throttled login is refused here."""
FORWARDING = {"capabilities": frozenset({Capability.FORWARD_SOURCE})}


async def guess(api: Api, client: ClientCredentials, names: list[str]) -> list[str]:
    """Present a wrong password for each name, and return the reasons."""
    return [await outcome(api.password(client, name, "wrong")) for name in names]


async def spray(api: Api, client: ClientCredentials) -> None:
    """Guess at a hundred invented names, until the source's budget is empty."""
    said = await guess(api, client, [f"user{number}@example.test" for number in range(100)])
    assert said == [WRONG] * 100


async def emptied(world: World, source: str) -> None:
    """Leave nothing of a source's budget of wrong passwords for an hour, as if it were sprayed from all the time."""
    later = world.clock.now() + 101 * SIX_MINUTES * SECOND // 10 + 3_600 * SECOND
    await change(world, "budgets", {"full_at": later}, key=f"login-source:{source}")


@pytest.mark.requirement("S186", "S195")
async def test_who_sprays_passwords_from_a_shared_address_does_not_lock_out_who_is_known_there(
    api: Api, world: World
) -> None:
    client = await shop(world, **FORWARDING)
    api.source = OFFICE
    alice = await enrolled(api, world, client)
    await spray(api, client)
    assert await guess(api, client, [NOBODY]) == [TOO_MANY]

    assert (await logged_in(api, world, client, alice)).access_token


@pytest.mark.requirement("S186")
async def test_who_is_not_known_behind_a_sprayed_address_is_stopped_with_the_right_password_too(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await shop(world, **FORWARDING)
    await world.user(NEW)
    api.source = OFFICE
    await guess(api, client, [NOBODY])
    await emptied(world, OFFICE)
    hashed: list[str | None] = []
    monkeypatch.setattr(passwords.Passwords, "verify", lambda _, stored, __: hashed.append(stored))

    assert await outcome(api.password(client, NEW, PASSWORD)) == TOO_MANY
    assert hashed == []


@pytest.mark.requirement("S186", "S202")
async def test_a_known_name_has_ten_more_tries_behind_a_sprayed_address_and_no_eleventh(api: Api, world: World) -> None:
    client = await shop(world, **FORWARDING)
    api.source = OFFICE
    await enrolled(api, world, client)
    await guess(api, client, [NOBODY])
    await emptied(world, OFFICE)

    assert await guess(api, client, [ALICE] * 9) == [TOO_MANY] * 9
    assert await outcome(api.password(client, ALICE, PASSWORD)) == ""
    assert await guess(api, client, [ALICE]) == [TOO_MANY]
    assert await outcome(api.password(client, ALICE, PASSWORD)) == TOO_MANY
    world.clock.advance(SIX_MINUTES)
    assert await outcome(api.password(client, ALICE, PASSWORD)) == ""


@pytest.mark.requirement("S186", "S195")
async def test_a_remembered_browser_draws_on_no_source_and_has_a_budget_of_its_own(
    grpc_api: GrpcApi, world: World
) -> None:
    client = await shop(world, **FORWARDING)
    grpc_api.source = OFFICE
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    token = a(
        Tokens, await grpc_api.otp(client, login.mfa_token, world.otp(alice.secret), remember=True)
    ).remember_token
    grpc_api.source = ELSEWHERE  # where Alice is not known
    await guess(grpc_api, client, [NOBODY])
    await emptied(world, ELSEWHERE)
    (before,) = await rows(world, "budgets", key=f"login-source:{ELSEWHERE}")

    said = [await outcome(grpc_api.password(client, ALICE, "wrong", remember_token=token)) for _ in range(9)]

    assert said == [WRONG] * 9
    assert await outcome(grpc_api.password(client, ALICE, PASSWORD, remember_token=token)) == ""
    said = [await outcome(grpc_api.password(client, ALICE, "wrong", remember_token=token)) for _ in range(2)]
    assert said == [WRONG, TOO_MANY]
    assert await rows(world, "budgets", key=f"login-source:{ELSEWHERE}") == [before]


@pytest.mark.requirement("S186")
async def test_who_empties_the_budget_of_known_sources_does_not_keep_out_a_remembered_browser(
    grpc_api: GrpcApi, world: World
) -> None:
    """The stranger sits behind the owner's own address, and guesses at the owner's name from there."""
    client = await shop(world, **FORWARDING)
    grpc_api.source = OFFICE
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    token = a(
        Tokens, await grpc_api.otp(client, login.mfa_token, world.otp(alice.secret), remember=True)
    ).remember_token
    assert await guess(grpc_api, client, [ALICE] * 21) == [WRONG] * 10 + [TOO_MANY] * 11
    assert await outcome(grpc_api.password(client, ALICE, PASSWORD)) == TOO_MANY

    assert await outcome(grpc_api.password(client, ALICE, PASSWORD, remember_token=token)) == ""


# Codes


@pytest.mark.requirement("S186", "S195")
async def test_who_guesses_codes_from_a_shared_address_does_not_lock_out_who_is_known_there(
    api: Api, world: World
) -> None:
    client = await shop(world, **FORWARDING)
    api.source = ELSEWHERE
    mallory = await enrolled(api, world, client, MALLORY)
    api.source = OFFICE
    alice = await enrolled(api, world, client)
    assert (await fail(api, world, client, mallory, 1)) == ["INVALID_OTP"]
    (row,) = await rows(world, "source_budgets")
    await change(world, "source_budgets", {"full_at": row.full_at + 100 * SOURCE_FAILED_CODES.refill}, source=OFFICE)
    assert await fail(api, world, client, mallory, 1) == [TOO_MANY_CODES]

    assert (await logged_in(api, world, client, alice)).access_token


@pytest.mark.requirement("S186")
async def test_wrong_codes_of_who_is_known_are_bounded_by_their_own_budget_and_not_the_sources(
    api: Api, world: World
) -> None:
    client = await shop(world, **FORWARDING)
    api.source = OFFICE
    alice = await enrolled(api, world, client)

    assert await fail(api, world, client, alice, 12) == ["INVALID_OTP"] * 10 + [TOO_MANY_CODES] * 2
    assert await rows(world, "source_budgets") == []
    login = await logged_in_to_mfa(api, client)
    assert await reason(api.otp(client, login.mfa_token, wrong(world, alice.secret))) == TOO_MANY_CODES


@pytest.mark.requirement("S186")
async def test_a_remembered_browser_guesses_codes_past_an_empty_budget_of_its_source(
    grpc_api: GrpcApi, world: World
) -> None:
    client = await shop(world, **FORWARDING)
    grpc_api.source = OFFICE
    alice = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)
    token = a(
        Tokens, await grpc_api.otp(client, login.mfa_token, world.otp(alice.secret), remember=True)
    ).remember_token
    world.clock.advance(30)
    grpc_api.source = ELSEWHERE
    assert await fail(grpc_api, world, client, alice, 1) == ["INVALID_OTP"]
    (row,) = await rows(world, "source_budgets")
    await change(world, "source_budgets", {"full_at": row.full_at + 100 * SOURCE_FAILED_CODES.refill}, source=ELSEWHERE)
    assert await fail(grpc_api, world, client, alice, 1) == [TOO_MANY_CODES]

    login = a(MfaRequired, await grpc_api.password(client, ALICE, PASSWORD, remember_token=token, max_age=0))

    assert a(Tokens, await grpc_api.otp(client, login.mfa_token, world.otp(alice.secret))).access_token


# Nobody learns from that who is known where


async def over_grpc(api: GrpcApi, client: ClientCredentials, username: str) -> tuple[Any, ...]:
    """Present a wrong password, and return all that is told."""
    request = tokens_pb2.IssueTokenRequest(password=tokens_pb2.PasswordGrant(username=username, password="wrong"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.tokens.IssueToken(request, metadata=api.by_client(client), timeout=10)
    refused = caught.value
    told = [(str(key), value) for key, value in (*refused.initial_metadata(), *refused.trailing_metadata())]
    return (refused.code(), refused.details(), sorted(told))


async def over_rest(api: RestApi, client: ClientCredentials, username: str) -> tuple[Any, ...]:
    """Likewise."""
    body = {"grant_type": "password", "client_id": client[0], "client_secret": client[1], "password": "wrong"}
    response = await api.http.post(
        "/oauth/token", json={**body, "username": username}, headers={"auth0-forwarded-for": api.source}
    )
    return (response.status_code, response.content, sorted(response.headers.items()))


async def told(api: Api, client: ClientCredentials, name: str) -> tuple[Any, ...]:
    """Likewise, over either edge."""
    if isinstance(api, GrpcApi):
        return await over_grpc(api, client, name)
    return await over_rest(a(RestApi, api), client, name)


async def people(api: Api, world: World) -> ClientCredentials:
    """Have Alice, known in the office, somebody who is not, and somebody who is known there and blocked."""
    client = await shop(world, **FORWARDING)
    api.source = OFFICE
    await enrolled(api, world, client)
    await enrolled(api, world, client, BLOCKED)
    await world.user(NEW)
    await world.app.operators.set_blocked("default", BLOCKED, blocked=True)
    return client


async def by_spraying(api: Api, world: World, client: ClientCredentials, name: str) -> list[Any]:
    """Guess at a name once the source's budget is empty."""
    api.source = OFFICE
    await told(api, client, "first@example.test")
    await emptied(world, OFFICE)
    return [await told(api, client, name) for _ in range(12)]


async def by_counting(api: Api, world: World, client: ClientCredentials, name: str) -> list[Any]:
    """Take nearly all that the source has, then guess at a name, then see what is left."""
    api.source = OFFICE
    await told(api, client, "first@example.test")
    nearly = world.clock.now() + 98 * SIX_MINUTES * SECOND // 10
    await change(world, "budgets", {"full_at": nearly}, key=f"login-source:{OFFICE}")
    return [await told(api, client, guessed) for guessed in (name, "next@example.test", "last@example.test", name)]


async def by_crossing(api: Api, world: World, client: ClientCredentials, name: str) -> list[Any]:
    """Take all that strangers have of the name from elsewhere, then guess at it where its owner may be known."""
    api.source = ELSEWHERE
    away = [await told(api, client, name) for _ in range(11)]
    api.source = OFFICE
    return [*away, *[await told(api, client, name) for _ in range(12)]]


async def by_crossing_back(api: Api, world: World, client: ClientCredentials, name: str) -> list[Any]:
    """Guess where the owner may be known, then see from elsewhere what is left of strangers' tries."""
    api.source = OFFICE
    near = [await told(api, client, name) for _ in range(12)]
    api.source = ELSEWHERE
    return [*near, *[await told(api, client, name) for _ in range(2)]]


Way = Callable[[Api, World, ClientCredentials, str], Awaitable[list[Any]]]


@pytest.mark.requirement("S82", "S173", "S186")
@pytest.mark.parametrize("way", [by_spraying, by_counting, by_crossing, by_crossing_back])
async def test_refusals_do_not_tell_who_is_known_from_where(way: Way, api: Api, world: World) -> None:
    client = await people(api, world)
    said = {}
    for name in (NOBODY, NEW, BLOCKED, ALICE):
        await change(world, "budgets", {"full_at": 0})
        said[name] = await way(api, world, client, name)

    assert len(said[NOBODY]) > 3
    assert said[NOBODY] == said[NEW] == said[BLOCKED] == said[ALICE]
    assert len({repr(answer) for answer in said[NOBODY]}) > 1 or way is by_spraying


@pytest.mark.requirement("S82", "S173", "S186")
@pytest.mark.parametrize("given", [{"refusal_pause": int(PAUSE * SECOND)}])
async def test_time_does_not_tell_who_is_known_behind_a_sprayed_address(
    given: dict[str, Any], api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await people(api, world)
    await told(api, client, NOBODY)
    await emptied(world, OFFICE)
    hash_time, verify = PAUSE / 2, passwords.Passwords.verify

    async def slow(self: passwords.Passwords, stored: str | None, password: str) -> bool:
        await asyncio.sleep(hash_time)
        return await verify(self, stored, password)

    monkeypatch.setattr(passwords.Passwords, "verify", slow)
    took: dict[str, list[float]] = {NOBODY: [], NEW: [], BLOCKED: [], ALICE: []}
    loop = asyncio.get_running_loop()

    for _ in range(5):
        for name, times in took.items():
            began = loop.time()
            await told(api, client, name)
            times.append(loop.time() - began)

    fastest = [min(times) for times in took.values()]  # other load on the machine makes calls slower, never faster
    assert min(fastest) >= PAUSE
    assert max(fastest) - min(fastest) < hash_time / 3


@pytest.mark.requirement("S82", "S186")
@pytest.mark.parametrize("given", [{"refusal_pause": int(PAUSE * SECOND)}])
async def test_a_password_that_takes_longer_than_the_refusal_is_refused_like_a_strangers(
    given: dict[str, Any], api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await people(api, world)
    await told(api, client, NOBODY)
    await emptied(world, OFFICE)

    async def stuck(*_: object) -> bool:
        await asyncio.sleep(10 * PAUSE)
        return True

    monkeypatch.setattr(passwords.Passwords, "verify", stuck)
    loop = asyncio.get_running_loop()
    began = loop.time()

    said = [await told(api, client, name) for name in (NOBODY, ALICE)]

    assert said[0] == said[1]
    assert loop.time() - began < 5 * PAUSE


@pytest.mark.requirement("S82", "S186")
async def test_a_full_queue_of_passwords_does_not_tell_who_is_known_either(
    api: Api, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await people(api, world)
    await told(api, client, NOBODY)
    await emptied(world, OFFICE)

    async def busy(*_: object) -> bool:
        raise passwords.PasswordsBusy

    monkeypatch.setattr(passwords.Passwords, "verify", busy)

    assert await told(api, client, NOBODY) == await told(api, client, ALICE)
