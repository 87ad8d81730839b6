import io

import pytest

from tests.support.flows.api import Api, Refused, Traffic
from tests.support.flows.steps import enrolled, logged_in_to_mfa, shop
from tests.support.world import World


@pytest.mark.requirement("S113")
async def test_the_log_has_every_call_and_none_of_the_secrets_that_passed(
    api: Api, world: World, log: io.StringIO, traffic: Traffic
) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    with pytest.raises(Refused):
        await api.otp(client, login.mfa_token, "000000")
    await api.recovery(client, login.mfa_token, user.recovery_code)

    written = log.getvalue()

    passed = {client[1], user.secret, user.recovery_code, user.tokens.access_token, login.mfa_token, "000000"}
    assert passed <= traffic.secrets
    assert written.count("IssueToken") == 5
    assert traffic.spilled_in(written) == set()
