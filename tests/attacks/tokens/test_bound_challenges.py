"""Security decision 2: a challenge answered by whom it was not made for is like garbage."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from cofactor_server.domain.foundation.events import EventName

from tests.support.flows.api import Api, ClientCredentials
from tests.support.flows.attacks import (
    GARBAGE,
    MALLORY,
    add_mailed,
    challenged,
    change,
    enrolled_pair,
    names,
    outcome,
    refusal,
)
from tests.support.flows.steps import ALICE, Enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import World


@dataclass
class Stage:
    """Alice and Mallory, each with an app and an authenticator of the kind that is attacked."""

    api: Api
    world: World
    client: ClientCredentials
    alice: Enrolled
    mallory: Enrolled
    ours: str
    theirs: str

    async def code_for(self, subject: str, authenticator_id: str) -> tuple[str, str, str]:
        """Log in and have a code sent; return mfa_token, oob_code and code."""
        login = await logged_in_to_mfa(self.api, self.client, subject)
        sent = await challenged(self.api, self.client, login.mfa_token, authenticator_id)
        return login.mfa_token, sent.oob_code, self.world.outbox.sent[-1].code


Presented = tuple[ClientCredentials, str, str, str]


async def other_user(stage: Stage) -> Presented:
    _, oob_code, code = await stage.code_for(MALLORY, stage.theirs)
    login = await logged_in_to_mfa(stage.api, stage.client)
    return stage.client, login.mfa_token, oob_code, code


async def other_login(stage: Stage) -> Presented:
    _, oob_code, code = await stage.code_for(ALICE, stage.ours)
    login = await logged_in_to_mfa(stage.api, stage.client)
    return stage.client, login.mfa_token, oob_code, code


async def other_client(stage: Stage) -> Presented:
    _, oob_code, code = await stage.code_for(ALICE, stage.ours)
    other = await shop(stage.world, name="Other")
    login = await logged_in_to_mfa(stage.api, other)
    return other, login.mfa_token, oob_code, code


async def other_purpose(stage: Stage) -> Presented:
    mfa_token, oob_code, code = await stage.code_for(ALICE, stage.ours)
    await change(stage.world, "challenges", {"purpose": "enroll"}, authenticator_id=stage.ours, state="pending")
    return stage.client, mfa_token, oob_code, code


async def other_epoch(stage: Stage) -> Presented:
    mfa_token, oob_code, code = await stage.code_for(ALICE, stage.ours)
    await change(stage.world, "challenges", {"epoch": 0}, authenticator_id=stage.ours, state="pending")
    return stage.client, mfa_token, oob_code, code


async def enrolling_with_a_token(stage: Stage) -> Presented:
    bearer = await mfa_access_token(stage.api, stage.world, stage.client, stage.alice)
    begun = await stage.api.enroll(bearer, "sms", destination="+442071838777")
    login = await logged_in_to_mfa(stage.api, stage.client)
    return stage.client, login.mfa_token, begun.oob_code, stage.world.outbox.sent[-1].code


async def removed_authenticator(stage: Stage) -> Presented:
    mfa_token, oob_code, code = await stage.code_for(ALICE, stage.ours)
    bearer = await mfa_access_token(stage.api, stage.world, stage.client, stage.alice)
    await stage.api.remove(bearer, stage.ours)
    return stage.client, mfa_token, oob_code, code


async def disabled_authenticator(stage: Stage) -> Presented:
    mfa_token, oob_code, code = await stage.code_for(ALICE, stage.ours)
    await change(stage.world, "authenticators", {"state": "disabled"}, id=stage.ours)
    return stage.client, mfa_token, oob_code, code


MISBOUND: tuple[Callable[[Stage], Awaitable[Presented]], ...] = (
    other_user,
    other_login,
    other_client,
    other_purpose,
    other_epoch,
    enrolling_with_a_token,
    removed_authenticator,
    disabled_authenticator,
)


async def staged(api: Api, world: World, kind: str) -> Stage:
    client = await shop(world)
    alice, mallory = await enrolled_pair(api, world, client)
    ours = await add_mailed(api, world, client, alice, kind)
    theirs = await add_mailed(api, world, client, mallory, kind)
    return Stage(api, world, client, alice, mallory, ours, theirs)


@pytest.mark.requirement("S95", "S123")
@pytest.mark.parametrize("kind", ["sms", "email"])
@pytest.mark.parametrize("misbound", MISBOUND, ids=lambda case: str(case.__name__))
async def test_a_misbound_challenge_answers_like_garbage(
    misbound: Callable[[Stage], Awaitable[Presented]], kind: str, api: Api, world: World
) -> None:
    stage = await staged(api, world, kind)
    client, mfa_token, oob_code, code = await misbound(stage)

    said = await refusal(api.oob(client, mfa_token, oob_code, code))
    garbage = await refusal(api.oob(client, mfa_token, GARBAGE, code))

    assert (said.reason, said.text) == ("OOB_CODE_MALFORMED", "Malformed oob_code")
    assert (said.reason, said.text, said.http_status, said.grpc_code, said.metadata) == (
        garbage.reason,
        garbage.text,
        garbage.http_status,
        garbage.grpc_code,
        garbage.metadata,
    )
    assert (await names(world, "events")).count(EventName.CHALLENGE_MISBOUND) == 1


async def test_a_misbound_try_costs_the_owner_nothing(api: Api, world: World) -> None:
    stage = await staged(api, world, "sms")
    mfa_token, oob_code, code = await stage.code_for(ALICE, stage.ours)
    stranger = await logged_in_to_mfa(api, stage.client, MALLORY)

    for _ in range(12):
        assert await outcome(api.oob(stage.client, stranger.mfa_token, oob_code, "000000")) == "OOB_CODE_MALFORMED"

    assert await outcome(api.oob(stage.client, mfa_token, oob_code, code)) == ""


@pytest.mark.requirement("S9", "S87", "S125")
async def test_a_sent_code_is_redeemed_once(api: Api, world: World) -> None:
    stage = await staged(api, world, "sms")
    mfa_token, oob_code, code = await stage.code_for(ALICE, stage.ours)
    assert await outcome(api.oob(stage.client, mfa_token, oob_code, code)) == ""

    assert await outcome(api.oob(stage.client, mfa_token, oob_code, code)) == "MFA_TOKEN_STALE"


@pytest.mark.requirement("S115")
async def test_a_code_sent_again_kills_the_one_before(api: Api, world: World) -> None:
    stage = await staged(api, world, "sms")
    mfa_token, oob_code, code = await stage.code_for(ALICE, stage.ours)
    await challenged(api, stage.client, mfa_token, stage.ours)

    assert await outcome(api.oob(stage.client, mfa_token, oob_code, code)) == "OOB_CODE_EXPIRED"


@pytest.mark.requirement("S8", "S190")
@pytest.mark.parametrize("kind", ["sms", "email"])
@pytest.mark.parametrize(("seconds", "said"), [(299, ""), (301, "OOB_CODE_EXPIRED")])
async def test_a_sent_code_lives_five_minutes(kind: str, seconds: int, said: str, api: Api, world: World) -> None:
    stage = await staged(api, world, kind)
    mfa_token, oob_code, code = await stage.code_for(ALICE, stage.ours)
    world.clock.advance(seconds)

    assert await outcome(api.oob(stage.client, mfa_token, oob_code, code)) == said
