"""What is told of a budget: over HTTP in lower-case headers, over gRPC in details and metadata, from one source."""

import time
from typing import Any

import grpc.aio
import pytest
from cofactor.v1 import tokens_pb2 as pb
from cofactor_server.domain.authenticators.kinds import SMS
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.support.flows.api import AUTH0, GrpcApi, RestApi
from tests.support.flows.attacks import DESTINATIONS, KINDS, fail, wrong
from tests.support.flows.phones import KINDS as PHONES
from tests.support.flows.phones import phone_shop, prompted
from tests.support.flows.steps import ALICE, enrolled, logged_in_to_mfa, shop
from tests.support.world import PASSWORD, World

SIX_MINUTES = 360


async def answered(rest: RestApi, client: tuple[str, str | None], **grant: Any) -> Any:
    """Post a grant, and return the response with its headers as they were sent."""
    credentials = {"client_id": client[0], "client_secret": client[1]}
    return await rest.http.post("/oauth/token", json={**credentials, **grant})


def rates(response: Any) -> dict[str, int]:
    """Return the headers that libraries look up by exactly these names, and parse as whole numbers."""
    sent = {name.decode(): value.decode() for name, value in response.headers.raw}
    return {name: int(sent[name]) for name in ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")}


async def test_a_wrong_password_says_how_many_are_left(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    grant = {"grant_type": "password", "username": ALICE, "password": "wrong"}

    left = [rates(await answered(rest_api, client, **grant))["x-ratelimit-remaining"] for _ in range(10)]

    assert left == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.requirement("S202")
async def test_the_headers_of_a_refusal_agree_with_one_another(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    grant = {"grant_type": "password", "username": ALICE, "password": "wrong"}
    for _ in range(10):
        await answered(rest_api, client, **grant)

    refused = await answered(rest_api, client, **grant)

    now = world.clock.now() // 1_000_000
    assert refused.status_code == 429
    assert rates(refused) == {
        "x-ratelimit-limit": 10,
        "x-ratelimit-remaining": 0,
        "x-ratelimit-reset": pytest.approx(now + SIX_MINUTES, abs=1),
    }
    assert int(refused.headers["retry-after"]) == SIX_MINUTES
    assert abs(now - time.time()) < 60  # of the epoch, in seconds


@pytest.mark.requirement("S202")
async def test_too_many_failed_codes_come_with_the_same_headers(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(rest_api, world, client)
    await fail(rest_api, world, client, alice, 10)
    login = await logged_in_to_mfa(rest_api, client)

    refused = await answered(
        rest_api, client, grant_type=f"{AUTH0}mfa-otp", mfa_token=login.mfa_token, otp=world.otp(alice.secret)
    )

    assert refused.status_code == 400
    assert (rates(refused)["x-ratelimit-limit"], rates(refused)["x-ratelimit-remaining"]) == (10, 0)
    assert rates(refused)["x-ratelimit-reset"] - world.clock.now() // 1_000_000 == pytest.approx(SIX_MINUTES, abs=1)


@pytest.mark.requirement("S202")
async def test_over_grpc_an_empty_budget_is_a_quota_failure_with_retry_info(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    grant = pb.PasswordGrant(username=ALICE, password=PASSWORD)
    for _ in range(10):
        with pytest.raises(Exception, match="INVALID_CREDENTIALS"):
            await grpc_api.password(client, ALICE, "wrong")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await grpc_api.tokens.IssueToken(pb.IssueTokenRequest(password=grant), metadata=grpc_api.by_client(client))

    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None
    failure, retry = error_details_pb2.QuotaFailure(), error_details_pb2.RetryInfo()
    for detail in status.details:
        _ = detail.Unpack(failure) or detail.Unpack(retry)
    (violation,) = failure.violations
    assert (violation.quota_id, violation.quota_value) == ("login-attempts", 10)
    assert retry.retry_delay.seconds == pytest.approx(SIX_MINUTES, abs=1)
    metadata = dict(caught.value.trailing_metadata())
    assert metadata["x-ratelimit-limit"] == "10"
    assert metadata["x-ratelimit-remaining"] == "0"
    assert int(str(metadata["x-ratelimit-reset"])) - world.clock.now() // 1_000_000 == pytest.approx(SIX_MINUTES, abs=1)


def left(response: Any) -> tuple[int, int]:
    """Return size and rest of the budget that an answer tells of."""
    told = rates(response)
    return told["x-ratelimit-limit"], told["x-ratelimit-remaining"]


@pytest.mark.requirement("S202")
async def test_answers_tell_of_their_budgets_whether_right_or_wrong(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(rest_api, world, client)
    password = {"grant_type": "password", "username": ALICE, "password": PASSWORD}

    asked = await answered(rest_api, client, **password)
    code = {"grant_type": f"{AUTH0}mfa-otp", "mfa_token": asked.json()["mfa_token"]}
    false = [await answered(rest_api, client, **code, otp=wrong(world, alice.secret)) for _ in range(3)]
    right = await answered(rest_api, client, **code, otp=world.otp(alice.secret))

    assert [response.status_code for response in (asked, *false, right)] == [403, 403, 403, 403, 200]
    assert left(asked) == (10, 10)
    assert [left(response) for response in false] == [(10, 9), (10, 8), (10, 7)]
    assert left(right) == (10, 7)  # a success refills nothing
    now = world.clock.now() // 1_000_000
    assert rates(right)["x-ratelimit-reset"] == pytest.approx(now + SIX_MINUTES, abs=31)


@pytest.mark.requirement("S202")
async def test_strangers_are_told_of_the_thirty_of_a_day_once_those_are_fewer(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(rest_api, world, client)
    for _ in range(2):
        await fail(rest_api, world, client, alice, 10)
        world.clock.advance(3_600)
    await fail(rest_api, world, client, alice, 8)
    world.clock.advance(3_600)
    login = await logged_in_to_mfa(rest_api, client)

    refused = await answered(
        rest_api, client, grant_type=f"{AUTH0}mfa-otp", mfa_token=login.mfa_token, otp=wrong(world, alice.secret)
    )

    assert left(refused) == (10, 1)


@pytest.mark.parametrize("given", [{"kinds": KINDS}])
async def test_messages_tell_how_many_more_there_are(rest_api: RestApi, world: World, given: dict[str, Any]) -> None:
    client = await shop(world)
    await world.user(ALICE)
    login = await logged_in_to_mfa(rest_api, client)
    bearer = {"authorization": f"Bearer {login.mfa_token}"}
    body: dict[str, Any] = {"authenticator_types": ["oob"], "oob_channels": ["sms"], "phone_number": DESTINATIONS[SMS]}
    begun = await rest_api.http.post("/mfa/associate", json=body, headers=bearer)
    confirm = {"mfa_token": login.mfa_token, "oob_code": begun.json()["oob_code"]}
    grant_type, code = f"{AUTH0}mfa-oob", world.outbox.sent[-1].code
    await answered(rest_api, client, grant_type=grant_type, **confirm, binding_code=code)
    login = await logged_in_to_mfa(rest_api, client)
    body = {"client_id": client[0], "client_secret": client[1], "mfa_token": login.mfa_token, "challenge_type": "oob"}

    sent = [await rest_api.http.post("/mfa/challenge", json=body) for _ in range(10)]

    assert left(begun) == (10, 9)
    assert [left(response) for response in sent] == [(10, count) for count in (8, 7, 6, 5, 4, 3, 2, 1, 0, 0)]
    assert [response.status_code for response in sent] == [200] * 9 + [400]


@pytest.mark.requirement("S202")
async def test_over_grpc_a_success_tells_of_its_budget_in_the_same_metadata(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await world.user(ALICE)
    grant = pb.PasswordGrant(username=ALICE, password=PASSWORD)

    call = grpc_api.tokens.IssueToken(pb.IssueTokenRequest(password=grant), metadata=grpc_api.by_client(client))
    await call

    metadata = dict(await call.trailing_metadata())
    assert (metadata["x-ratelimit-limit"], metadata["x-ratelimit-remaining"]) == ("10", "10")


@pytest.mark.parametrize("given", [{"kinds": PHONES}])
@pytest.mark.requirement("S135", "S136", "S202")
async def test_twelve_polls_a_minute_are_none_too_many_and_one_more_is(
    rest_api: RestApi, world: World, given: dict[str, Any]
) -> None:
    client = await shop(world)
    async with phone_shop(world) as phones:
        _, phone = await phones.of_new_user(rest_api, client)
        mfa_token, challenge = await prompted(rest_api, client, phone)
        poll = {"grant_type": f"{AUTH0}mfa-oob", "mfa_token": mfa_token, "oob_code": challenge.oob_code}
        said = []
        for _ in range(12):
            said.append(await answered(rest_api, client, **poll))
            world.clock.advance(5)
        world.clock.advance(-5)
        refused = await answered(rest_api, client, **poll)

    assert [(response.status_code, response.json()["error"]) for response in said] == [
        (400, "authorization_pending")
    ] * 12
    assert {left(response) for response in said} == {(12, 0)}
    assert (refused.status_code, refused.json()["error"], left(refused)) == (429, "slow_down", (12, 0))
    now = world.clock.now() // 1_000_000
    assert rates(refused)["x-ratelimit-reset"] == pytest.approx(now + int(refused.headers["retry-after"]), abs=1)


async def test_what_no_budget_counts_tells_of_none(rest_api: RestApi, world: World) -> None:
    client = await shop(world)

    refused = await answered(rest_api, client, grant_type="refresh_token", refresh_token="junk")

    assert not [name for name in refused.headers if name.startswith("x-ratelimit")]
