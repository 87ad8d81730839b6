"""A challenge answered by one party and redeemed by another (ADR-46)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from cofactor_server.domain.challenges.challenge import Standing
from cofactor_server.domain.foundation import values
from cofactor_server.domain.foundation.events import EventName
from cofactor_server.errors import DeviceInvalid, NotFound
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey

from tests.support.flows.api import Api, ClientCredentials, Pending, Tokens, Traffic, grpc_edge, rest_edge
from tests.support.flows.attacks import change, enrolled_pair, names, outcome, rows
from tests.support.flows.pushed import Phone, add_phone, phone_of, prompted, pushed_world
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    read,
    refusal,
    shop,
)
from tests.support.world import MovableClock, World


@pytest.fixture
async def world(prepared_url: str, root_keys: Sequence[RootKey]) -> AsyncIterator[World]:
    """A deployment whose users may have devices."""
    clock = MovableClock()
    async with pushed_world(prepared_url, clock=clock, keyring=Keyring(root_keys, clock)) as opened:
        yield opened


@pytest.fixture(params=["grpc", "rest"])
async def api(request: pytest.FixtureRequest, world: World, traffic: Traffic) -> AsyncIterator[Api]:
    """The world, over either edge."""
    async with grpc_edge(world, traffic) if request.param == "grpc" else rest_edge(world, traffic) as found:
        yield found


@pytest.fixture
async def client(world: World) -> ClientCredentials:
    """A client with every grant."""
    return await shop(world)


@pytest.fixture
async def phone(api: Api, world: World, client: ClientCredentials) -> Phone:
    """Alice's device."""
    return await add_phone(api, world, client, await enrolled(api, world, client))


async def wait(world: World, seconds: float = 5) -> None:
    world.clock.advance(seconds)


@pytest.mark.requirement("S125", "S135", "S140")
async def test_an_approved_push_is_redeemed_once(
    api: Api, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    pending = await api.oob(client, mfa_token, oob_code)
    answered = await phone.answer()
    approved_at = world.clock.now()
    await wait(world, 7)

    tokens = a(Tokens, await api.oob(client, mfa_token, oob_code))

    _, claims = await read(api, tokens.access_token)
    assert isinstance(pending, Pending)
    assert (answered, claims["acr"], claims["auth_time"]) == (
        Standing.APPROVED,
        "urn:cofactor:acr:mfa",
        approved_at // 1_000_000,
    )
    assert set(claims["amr"]) == {"pwd", "swk", "pop", "mfa"}
    assert await outcome(api.oob(client, mfa_token, oob_code)) == "MFA_TOKEN_STALE"
    (challenge,) = await rows(world, "challenges", state="redeemed", purpose="login")
    assert challenge.answer is None


@pytest.mark.requirement("S138")
async def test_a_denied_push_cannot_be_redeemed_and_stays_denied(
    api: Api, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    denied = await phone.answer("deny")

    said = [await outcome(api.oob(client, mfa_token, oob_code))]
    approved_after_all = await phone.answer("approve")
    said.append(await outcome(api.oob(client, mfa_token, oob_code)))
    await wait(world, 400)
    said.append(await outcome(api.oob(client, mfa_token, oob_code)))

    assert (denied, approved_after_all) == (Standing.DENIED, Standing.DENIED)
    assert said == ["CHALLENGE_DENIED"] * 3
    assert (await names(world, "events")).count(EventName.CHALLENGE_DENIED) == 1


@pytest.mark.requirement("S139")
@pytest.mark.parametrize("answered", [False, True])
async def test_a_push_that_nobody_redeemed_in_time_is_over(
    answered: bool, api: Api, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    if answered:
        await phone.answer()
    await wait(world, 301)

    said = [await outcome(api.oob(client, mfa_token, oob_code)) for _ in range(2)]

    assert said == ["OOB_CODE_EXPIRED"] * 2
    assert await phone.answer() is Standing.EXPIRED


@pytest.mark.requirement("S125")
async def test_an_answer_sent_again_changes_nothing(
    api: Api, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    signed = phone.signed("approve")

    first = [await phone.answer(signed=signed) for _ in range(2)]
    a(Tokens, await api.oob(client, mfa_token, oob_code))

    assert first == [Standing.APPROVED] * 2
    assert await phone.answer(signed=signed) is Standing.REDEEMED
    assert (await names(world, "events")).count(EventName.CHALLENGE_APPROVED) == 2  # one of them while enrolling


async def test_an_approval_activates_what_was_being_enrolled(api: Api, world: World, client: ClientCredentials) -> None:
    await world.user()
    login = await logged_in_to_mfa(api, client)
    begun = await api.enroll(login.mfa_token, "push")
    phone = await phone_of(world, begun)
    still_pending = await api.oob(client, login.mfa_token, begun.oob_code)

    await phone.answer()

    assert isinstance(still_pending, Pending)
    assert {row.kind: row.state for row in await rows(world, "authenticators")} == {
        "push": "active",
        "recovery-code": "active",
    }
    a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code))
    assert await outcome(api.oob(client, login.mfa_token, begun.oob_code)) == "MFA_TOKEN_STALE"


async def test_an_enrollment_with_an_access_token_is_collected_once(
    api: Api, world: World, client: ClientCredentials
) -> None:
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user, scope=MFA_SCOPE)
    begun = await api.enroll(bearer, "push")
    await (await phone_of(world, begun)).answer()

    a(Tokens, await api.oob(client, bearer, begun.oob_code))

    assert await outcome(api.oob(client, bearer, begun.oob_code)) == "OOB_CODE_EXPIRED"


@pytest.mark.requirement("S95")
async def test_another_devices_signature_answers_nothing(api: Api, world: World, client: ClientCredentials) -> None:
    alice, mallory = await enrolled_pair(api, world, client)
    ours = await add_phone(api, world, client, alice)
    theirs = await add_phone(api, world, client, mallory)
    mfa_token, oob_code = await prompted(api, client, ours)
    challenge_id = await ours.last_challenge()

    with pytest.raises(DeviceInvalid):
        await ours.answer(signed=replace(theirs, world=world).signed("approve"))
    with pytest.raises(NotFound):
        await theirs.answer(challenge_id=challenge_id)
    with pytest.raises(NotFound):
        await replace(theirs, user_id=ours.user_id).answer(challenge_id=challenge_id)

    assert isinstance(await api.oob(client, mfa_token, oob_code), Pending)
    alices = await names(world, "events")
    assert alices.count(EventName.PROOF_REFUSED) == 1
    assert alices.count(EventName.CHALLENGE_MISBOUND) == 1


async def test_a_forged_signature_costs_the_owner_no_guesses(
    api: Api, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    forged = values.replace(phone.signed("approve"), signature=b"forged")
    for _ in range(12):
        with pytest.raises(DeviceInvalid):
            await phone.answer(signed=forged)

    assert await phone.answer() is Standing.APPROVED
    a(Tokens, await api.oob(client, mfa_token, oob_code))


@pytest.mark.requirement("S95", "S123")
@pytest.mark.parametrize("changed", ["removed", "disabled"])
async def test_an_approval_by_an_authenticator_that_is_gone_redeems_nothing(
    changed: str, api: Api, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    await phone.answer()
    await change(world, "authenticators", {"state": changed}, id=phone.authenticator_id)

    assert await outcome(api.oob(client, mfa_token, oob_code)) == "OOB_CODE_MALFORMED"


@pytest.mark.parametrize("gone", ["authenticator", "user", "client", "login"])
async def test_nothing_is_answered_once_one_of_its_parties_is_gone(
    gone: str, api: Api, world: World, client: ClientCredentials, phone: Phone
) -> None:
    await prompted(api, client, phone)
    match gone:
        case "authenticator":
            await change(world, "authenticators", {"state": "disabled"}, id=phone.authenticator_id)
        case "user":
            await world.app.operators.set_blocked("default", ALICE, blocked=True)
        case "client":
            await world.app.operators.delete_client(client[0])
        case "login":
            (challenge,) = await rows(world, "challenges", state="pending")
            other = (await rows(world, "spent", user_id=phone.user_id))[0].token_id
            await change(world, "spent", {"token_id": challenge.login_id}, token_id=other)

    if gone == "login":
        assert await phone.answer() is Standing.EXPIRED
    else:
        with pytest.raises(NotFound):
            await phone.answer()


# Polling


@pytest.mark.requirement("S136", "S137")
async def test_polling_too_fast_slows_all_later_polls_down_at_every_replica(
    world: World, client: ClientCredentials, traffic: Traffic, prepared_url: str
) -> None:
    async with (
        grpc_edge(world, traffic) as one,
        pushed_world(prepared_url, clock=world.clock, keyring=world.keyring) as replica,
        rest_edge(replica, traffic) as two,
    ):
        phone = await add_phone(one, world, client, await enrolled(one, world, client))
        mfa_token, oob_code = await prompted(one, client, phone)
        said = []
        for api, seconds in ((one, 0), (two, 1), (one, 9), (two, 14), (one, 20), (two, 5)):
            await wait(world, seconds)
            try:
                pending = await api.oob(client, mfa_token, oob_code)
                said.append(f"pending {getattr(pending, 'interval', None)}")
            except Exception as refused:
                said.append(f"{getattr(refused, 'reason', refused)} {getattr(refused, 'retry_after', None)}")
        await phone.answer()
        tokens = await two.oob(client, mfa_token, oob_code)

    assert said == [
        "pending 5.0",
        "SLOW_DOWN 10.0",
        "SLOW_DOWN 15.0",
        "SLOW_DOWN 20.0",
        "pending 20.0",
        "SLOW_DOWN 25.0",
    ]
    assert isinstance(tokens, Tokens)  # what is answered is told at once


AUTH0_JAVA = (0.12, 0.24, 0.48)
"""The longest waits, in seconds, before its retries of a 429."""
GO_AUTH0 = (0.5, 1.0)
ROUND_TRIP = 0.2


async def poll_with_retries(world: World, poll: Callable[[], Awaitable[object]], waits: Sequence[float]) -> list[str]:
    """Poll as an SDK does that is answered 429 each time; return what each request is told."""
    said = []
    for seconds in (0, *waits):
        await wait(world, seconds)
        refused = await refusal(poll())
        said.append(f"{refused.reason} {refused.retry_after:.0f}")
        await wait(world, ROUND_TRIP)
    return said


@pytest.mark.requirement("S136")
@pytest.mark.parametrize(
    ("sdk", "told"),
    [
        (AUTH0_JAVA, ["SLOW_DOWN 10", "SLOW_DOWN 10", "SLOW_DOWN 10", "SLOW_DOWN 9"]),
        (GO_AUTH0, ["SLOW_DOWN 10", "SLOW_DOWN 10", "SLOW_DOWN 9"]),
    ],
    ids=["auth0-java", "go-auth0"],
)
async def test_a_poll_that_an_sdk_retries_by_itself_slows_its_client_down_once(
    api: Api, world: World, client: ClientCredentials, phone: Phone, sdk: Sequence[float], told: list[str]
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)

    async def poll() -> object:
        return await api.oob(client, mfa_token, oob_code)

    assert isinstance(await poll(), Pending)
    await wait(world, 1)
    first = await poll_with_retries(world, poll, sdk)
    await wait(world, 4)
    second = await poll_with_retries(world, poll, sdk)
    (challenge,) = await rows(world, "challenges", state="pending", purpose="login")
    await wait(world, 15)
    in_time = await poll()

    assert first == told
    assert [line.split()[0] for line in second] == ["SLOW_DOWN"] * len(told)
    assert (second[0], challenge.poll_interval) == ("SLOW_DOWN 15", 15_000_000)
    assert isinstance(in_time, Pending)


async def test_what_a_retry_is_told_to_wait_is_enough(
    api: Api, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    await api.oob(client, mfa_token, oob_code)
    await outcome(api.oob(client, mfa_token, oob_code))
    await wait(world, 2.9)

    refused = await refusal(api.oob(client, mfa_token, oob_code))
    assert refused.retry_after == 8
    await wait(world, refused.retry_after)

    assert isinstance(await api.oob(client, mfa_token, oob_code), Pending)


@pytest.mark.requirement("S135", "S136", "S138", "S139", "S144")
async def test_polls_over_http_have_the_statuses_of_the_contract(
    world: World, client: ClientCredentials, traffic: Traffic
) -> None:
    async with rest_edge(world, traffic) as api:
        phone = await add_phone(api, world, client, await enrolled(api, world, client))
        mfa_token, oob_code = await prompted(api, client, phone)
        body = {
            "grant_type": "http://auth0.com/oauth/grant-type/mfa-oob",
            "client_id": client[0],
            "client_secret": client[1],
            "mfa_token": mfa_token,
            "oob_code": oob_code,
        }
        polls = [await api.http.post("/oauth/token", json=body) for _ in range(2)]
        await phone.answer("deny")
        polls.append(await api.http.post("/oauth/token", json=body))

    assert [(poll.status_code, poll.json(), poll.headers.get("retry-after")) for poll in polls] == [
        (
            400,
            {
                "error": "authorization_pending",
                "error_description": "Authorization pending: please repeat the request in a few seconds.",
            },
            None,
        ),
        (
            429,
            {
                "error": "slow_down",
                "error_description": "You are polling faster than allowed. Try again in 10 seconds.",
            },
            "10",
        ),
        (400, {"error": "access_denied", "error_description": "MFA Authorization rejected."}, None),
    ]


async def test_a_code_that_comes_with_a_poll_is_no_guess(
    api: Api, world: World, client: ClientCredentials, phone: Phone
) -> None:
    mfa_token, oob_code = await prompted(api, client, phone)
    for _ in range(12):
        await wait(world, 5)
        assert isinstance(await api.oob(client, mfa_token, oob_code, "123456"), Pending)

    assert (await rows(world, "authenticators", id=phone.authenticator_id))[0].failures == 0
    await phone.answer()
    a(Tokens, await api.oob(client, mfa_token, oob_code, "123456"))
