"""Answering with a code is guessing like any other, and of the own login alone (ADR-2 and ADR-9)."""

import pytest
from cofactor.v1 import challenges_pb2 as challenges

from tests.support.flows.api import ClientCredentials, GrpcApi, Tokens, Traffic, call, grpc_edge
from tests.support.flows.attacks import (
    GARBAGE,
    MALLORY,
    add_mailed,
    challenged,
    enrolled_pair,
    outcome,
    rows,
)
from tests.support.flows.steps import a, enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import World

APPROVED = challenges.CHALLENGE_STATE_APPROVED


@pytest.fixture
async def api(world: World, traffic: Traffic):  # type: ignore[no-untyped-def]
    async with grpc_edge(world, traffic) as found:
        yield found


async def typed(api: GrpcApi, client: ClientCredentials, mfa_token: str, oob_code: str, code: str) -> int:
    """Answer a challenge with a code, and return its state."""
    request = challenges.AnswerChallengeRequest(oob_code=oob_code, code=code)
    metadata = (*api.by_client(client), ("authorization", f"Bearer {mfa_token}"))
    response = await call(api.challenges.AnswerChallenge(request, metadata=metadata, timeout=20))
    return int(response.state)


async def test_a_typed_answer_is_redeemed_without_the_code_and_once(api: GrpcApi, world: World) -> None:
    client = await shop(world)
    sms = await add_mailed(api, world, client, await enrolled(api, world, client))
    login = await logged_in_to_mfa(api, client)
    sent = await challenged(api, client, login.mfa_token, sms)
    unanswered = await outcome(api.oob(client, login.mfa_token, sent.oob_code))

    states = [
        await typed(api, client, login.mfa_token, sent.oob_code, world.outbox.sent[-1].code),
        await typed(api, client, login.mfa_token, sent.oob_code, "000000"),
    ]

    assert (unanswered, states) == ("BINDING_CODE_REQUIRED", [APPROVED, APPROVED])
    a(Tokens, await api.oob(client, login.mfa_token, sent.oob_code))
    assert await outcome(api.oob(client, login.mfa_token, sent.oob_code)) == "MFA_TOKEN_STALE"
    assert await outcome(typed(api, client, login.mfa_token, sent.oob_code, "000000")) == "MFA_TOKEN_STALE"


@pytest.mark.requirement("S57")
async def test_typed_answers_and_redeemed_codes_share_one_budget(api: GrpcApi, world: World) -> None:
    client = await shop(world)
    sms = await add_mailed(api, world, client, await enrolled(api, world, client))
    login = await logged_in_to_mfa(api, client)
    sent = await challenged(api, client, login.mfa_token, sms)
    right = world.outbox.sent[-1].code
    wrong = "000000" if right != "000000" else "000001"

    said = [await outcome(typed(api, client, login.mfa_token, sent.oob_code, wrong)) for _ in range(6)]
    said += [await outcome(api.oob(client, login.mfa_token, sent.oob_code, wrong)) for _ in range(4)]
    said.append(await outcome(typed(api, client, login.mfa_token, sent.oob_code, right)))

    assert said == ["INVALID_BINDING_CODE"] * 10 + ["TOO_MANY_FAILED_CODES"]


@pytest.mark.requirement("S95")
async def test_nobody_answers_for_another_login(api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice, mallory = await enrolled_pair(api, world, client)
    ours, theirs = await add_mailed(api, world, client, alice), await add_mailed(api, world, client, mallory)
    login = await logged_in_to_mfa(api, client)
    sent = await challenged(api, client, login.mfa_token, ours)
    code = world.outbox.sent[-1].code
    other = await logged_in_to_mfa(api, client)
    stranger = await logged_in_to_mfa(api, client, MALLORY)
    foreign = await challenged(api, client, stranger.mfa_token, theirs)

    said = [
        await outcome(typed(api, client, mfa_token, oob_code, code))
        for mfa_token, oob_code in (
            (other.mfa_token, sent.oob_code),
            (stranger.mfa_token, sent.oob_code),
            (login.mfa_token, foreign.oob_code),
            (login.mfa_token, GARBAGE),
        )
    ]

    assert said == ["OOB_CODE_MALFORMED"] * 4
    assert {row.state for row in await rows(world, "challenges", purpose="login")} == {"pending"}


async def test_a_typed_answer_confirms_what_is_being_enrolled(api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    begun = await api.enroll(login.mfa_token, "sms", destination="+442071838751")

    state = await typed(api, client, login.mfa_token, begun.oob_code, world.outbox.sent[-1].code)

    assert state == APPROVED
    assert {row.state for row in await rows(world, "authenticators")} == {"active"}
    a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code))


async def test_a_signature_is_not_taken_from_the_holder_of_an_mfa_token(api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    signed = challenges.SignedAnswer(payload=b"p", signature=b"s")
    metadata = (*api.by_client(client), ("authorization", f"Bearer {login.mfa_token}"))

    for named in ({"oob_code": GARBAGE}, {"challenge_id": "c"}):
        request = challenges.AnswerChallengeRequest(signed=signed, **named)
        refused = await outcome(call(api.challenges.AnswerChallenge(request, metadata=metadata, timeout=20)))
        assert refused == "INVALID_REQUEST"


async def test_an_access_token_answers_nothing(api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)

    assert await outcome(typed(api, client, bearer, GARBAGE, "123456")) == "MFA_TOKEN_MALFORMED"
