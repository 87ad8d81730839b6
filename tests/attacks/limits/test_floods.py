"""What nobody gets more of by asking often: a client of the queue (security decision 19), a user of challenges."""

import pytest
from cofactor_server.domain.authenticators.kinds import EMAIL, SMS
from cofactor_server.domain.challenges.challenge import PENDING_PER_USER

from tests.support.flows.api import Api
from tests.support.flows.attacks import GARBAGE, MALLORY, add_mailed, challenged, enrolled_pair, outcome, reason, rows
from tests.support.flows.steps import enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.support.world import World


@pytest.mark.requirement("S202")
async def test_a_client_that_fills_its_quarter_is_refused_at_every_call_and_others_are_not(
    api: Api, world: World
) -> None:
    client, other = await shop(world), await shop(world, name="Other")
    alice = await enrolled(api, world, client, scope="offline_access")
    bearer = await mfa_access_token(api, world, client, alice)
    login = await logged_in_to_mfa(api, client)
    code, refresh_token = world.otp(alice.secret), alice.tokens.refresh_token
    queue = world.app._group_commit
    queue._per_client[client[0]] = queue._limits.queue // 4

    said = {
        await reason(api.otp(client, login.mfa_token, code)),
        await reason(api.otp(client, GARBAGE, code)),  # nothing is opened for it
        await reason(api.recovery(client, login.mfa_token, alice.recovery_code)),
        await reason(api.challenge(client, login.mfa_token)),
        await reason(api.refresh(client, refresh_token)),
        await reason(api.revoke(client, refresh_token)),
        await reason(api.revoke(client, bearer)),
    }

    assert said == {"TOO_MANY_REQUESTS"}
    assert await reason(api.otp(other, login.mfa_token, code)) == "MFA_TOKEN_FOREIGN"
    queue._per_client.clear()


async def test_of_a_users_challenges_ten_wait_for_an_answer_and_the_oldest_gives_way(api: Api, world: World) -> None:
    """Over all logins: who has the password begins as many as he likes, and none of them adds a guess for long."""
    client = await shop(world)
    alice = await enrolled(api, world, client)
    ours = [await add_mailed(api, world, client, alice, kind) for kind in (SMS, EMAIL)]
    asked = []
    for number in range(PENDING_PER_USER + 2):
        login = await logged_in_to_mfa(api, client)
        sent = await challenged(api, client, login.mfa_token, ours[number % 2])
        asked.append((login.mfa_token, sent.oob_code, world.outbox.sent[-1].code))
        world.clock.advance(1)
        waiting = await rows(world, "challenges", state="pending")
        assert len(waiting) == min(len(asked), PENDING_PER_USER)

    said = [await outcome(api.oob(client, *answer)) for answer in asked]

    assert said == ["OOB_CODE_EXPIRED"] * 2 + [""] * PENDING_PER_USER


async def test_one_users_challenges_push_out_nobody_elses(api: Api, world: World) -> None:
    client = await shop(world)
    alice, mallory = await enrolled_pair(api, world, client)
    ours = await add_mailed(api, world, client, alice)
    theirs = [await add_mailed(api, world, client, mallory, kind) for kind in (SMS, EMAIL)]
    login = await logged_in_to_mfa(api, client)
    sent = await challenged(api, client, login.mfa_token, ours)
    code = world.outbox.sent[-1].code
    for number in range(PENDING_PER_USER + 1):
        other = await logged_in_to_mfa(api, client, MALLORY)
        await challenged(api, client, other.mfa_token, theirs[number % 2])

    assert await outcome(api.oob(client, login.mfa_token, sent.oob_code, code)) == ""
