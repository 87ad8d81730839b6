"""Security decision 19: no client takes more than its quarter of the queue, whatever it calls."""

import pytest

from tests.flows.api import Api
from tests.flows.attacks.tools import reason
from tests.flows.steps import enrolled, logged_in_to_mfa, mfa_access_token, shop
from tests.world import World


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
        await reason(api.recovery(client, login.mfa_token, alice.recovery_code)),
        await reason(api.challenge(client, login.mfa_token)),
        await reason(api.refresh(client, refresh_token)),
        await reason(api.revoke(client, refresh_token)),
        await reason(api.revoke(client, bearer)),
    }

    assert said == {"TOO_MANY_REQUESTS"}
    assert await reason(api.otp(other, login.mfa_token, code)) == "MFA_TOKEN_FOREIGN"
    queue._per_client.clear()
