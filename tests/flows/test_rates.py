"""What is told of a budget: over HTTP in lower-case headers, over gRPC in details and metadata, from one source."""

import time
from typing import Any

import grpc.aio
import pytest
from cofactor.v1 import tokens_pb2 as pb
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tests.flows.api import AUTH0, GrpcApi, RestApi
from tests.flows.attacks.tools import fail
from tests.flows.steps import ALICE, enrolled, logged_in_to_mfa, shop
from tests.world import PASSWORD, World

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


async def test_what_no_budget_counts_tells_of_none(rest_api: RestApi, world: World) -> None:
    client = await shop(world)

    refused = await answered(rest_api, client, grant_type="refresh_token", refresh_token="junk")

    assert not [name for name in refused.headers if name.startswith("x-ratelimit")]
