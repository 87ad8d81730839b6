from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.support.flows.api import Api, Challenge, Tokens
from tests.support.flows.steps import (
    ALICE,
    PERIOD,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    reason,
    refusal,
    shop,
)
from tests.support.world import PASSWORD, World


async def test_a_user_enrolls_at_the_first_login_and_answers_with_the_app_from_then_on(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()

    first = await logged_in_to_mfa(api, client)
    assert (first.wants, first.types) == ("enroll", ("otp",))
    assert list(await api.list(first.mfa_token)) == []

    app = await api.enroll(first.mfa_token)
    assert len(app.recovery_codes) == 1
    assert [(row.type, row.active) for row in await api.list(first.mfa_token)] == [
        ("otp", False),
        ("recovery-code", False),
    ]
    a(Tokens, await api.otp(client, first.mfa_token, world.otp(app.secret)))
    world.clock.advance(PERIOD)

    second = await logged_in_to_mfa(api, client)
    assert (second.wants, second.types) == ("challenge", ("otp", "recovery-code"))
    assert (await api.challenge(client, second.mfa_token)).type == "otp"
    a(Tokens, await api.otp(client, second.mfa_token, world.otp(app.secret)))

    third = await logged_in_to_mfa(api, client)
    with_code = a(Tokens, await api.recovery(client, third.mfa_token, app.recovery_codes[0]))
    assert with_code.recovery_code not in ("", app.recovery_codes[0])
    fourth = await logged_in_to_mfa(api, client)
    assert await reason(api.recovery(client, fourth.mfa_token, app.recovery_codes[0])) == "INVALID_RECOVERY_CODE"
    a(Tokens, await api.recovery(client, fourth.mfa_token, with_code.recovery_code))


async def test_a_user_lists_renames_and_removes_what_was_enrolled(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    app, paper = await api.list(bearer)

    renamed = await api.rename(bearer, app.id, "Alice's telephone ☎")
    await api.remove(bearer, paper.id)

    assert renamed.name == "Alice's telephone ☎"
    assert list(await api.list(bearer)) == [renamed]


async def test_a_barcode_names_the_deployment_and_the_user_and_states_every_parameter(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)

    app = await api.enroll(login.mfa_token)

    parts = urlsplit(app.barcode_uri)
    assert (parts.scheme, parts.netloc, unquote(parts.path)) == ("otpauth", "totp", f"/Example:{ALICE}")
    assert "alice%40example.test" in app.barcode_uri
    assert parse_qs(parts.query) == {
        "secret": [app.secret],
        "issuer": ["Example"],
        "algorithm": ["SHA1"],
        "digits": ["6"],
        "period": ["30"],
    }
    assert len(app.secret) == 32


@pytest.mark.requirement("S19", "S69", "S87", "S112", "S140")
async def test_a_code_is_accepted_once(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    code = world.otp(user.secret)
    first, second = await logged_in_to_mfa(api, client), await logged_in_to_mfa(api, client)
    await api.otp(client, first.mfa_token, code)

    assert await reason(api.otp(client, second.mfa_token, code)) == "INVALID_OTP"


@pytest.mark.requirement("S106", "S157")
async def test_an_mfa_token_completes_one_login(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    await api.otp(client, login.mfa_token, world.otp(user.secret))
    world.clock.advance(PERIOD)

    refused = await refusal(api.otp(client, login.mfa_token, world.otp(user.secret)))

    assert (refused.reason, refused.text) == ("MFA_TOKEN_STALE", "mfa_token is invalid")


async def test_a_wrong_code_leaves_the_mfa_token_good(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    wrong = world.otp(user.secret, steps=100)

    refused = await refusal(api.otp(client, login.mfa_token, wrong))

    assert (refused.reason, refused.text) == ("INVALID_OTP", "Invalid otp_code.")
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(user.secret)))


@pytest.mark.requirement("S117")
async def test_after_a_wrong_code_another_factor_may_be_tried(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    await refusal(api.otp(client, login.mfa_token, "000000"))

    a(Challenge, await api.challenge(client, login.mfa_token))
    a(Tokens, await api.recovery(client, login.mfa_token, user.recovery_code))


async def test_an_mfa_token_lives_ten_minutes(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login, other = await logged_in_to_mfa(api, client), await logged_in_to_mfa(api, client)

    world.clock.advance(599)
    await api.otp(client, login.mfa_token, world.otp(user.secret))
    world.clock.advance(1)
    refused = await refusal(api.otp(client, other.mfa_token, world.otp(user.secret, steps=1)))

    assert (refused.reason, refused.text) == ("MFA_TOKEN_EXPIRED", "mfa_token is expired")


@pytest.mark.requirement("S82", "S173")
async def test_an_unknown_user_and_a_wrong_password_are_refused_alike(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    await world.user("blocked@example.test")
    await world.app.operators.set_blocked("default", "blocked@example.test", blocked=True)

    refusals = [
        await refusal(api.password(client, name, "wrong"))
        for name in (ALICE, "nobody@example.test", "blocked@example.test")
    ]

    assert {(refused.reason, refused.text) for refused in refusals} == {
        ("INVALID_CREDENTIALS", "Wrong email or password.")
    }


async def test_who_is_blocked_is_told_after_the_right_password(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    await world.app.operators.set_blocked("default", ALICE, blocked=True)

    refused = await refusal(api.password(client, ALICE, PASSWORD))

    assert (refused.reason, refused.text) == ("USER_BLOCKED", "user is blocked")


@pytest.mark.requirement("S84")
async def test_a_new_password_does_not_skip_the_second_factor(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    await world.app.operators.set_password("default", ALICE, "another password")

    outcome = await api.password(client, ALICE, "another password")

    assert not isinstance(outcome, Tokens)


async def test_logins_of_one_user_do_not_disturb_each_other(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    first, second = await logged_in_to_mfa(api, client), await logged_in_to_mfa(api, client)

    await api.otp(client, second.mfa_token, world.otp(user.secret))
    world.clock.advance(PERIOD)

    a(Tokens, await api.otp(client, first.mfa_token, world.otp(user.secret)))
