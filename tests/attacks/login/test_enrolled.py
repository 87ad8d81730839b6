"""Security decision 1: exhausting what a user has never opens the way to enroll something else."""

import pytest
from cofactor_server.domain.foundation.events import EventName, NoticeName

from tests.support.flows.api import Api, MfaRequired, Tokens, grpc_edge
from tests.support.flows.attacks import DAY, HOUR, add_mailed, exhaust, names, open_world, reason, wrong
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    second_app,
    shop,
)
from tests.support.world import World


@pytest.mark.requirement("S1", "S2")
async def test_a_thief_who_fails_a_hundred_times_cannot_enroll_his_own(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await exhaust(api, world, client, alice)

    login = await logged_in_to_mfa(api, client)

    assert (login.wants, login.types) == ("challenge", ("recovery-code",))
    assert await reason(api.enroll(login.mfa_token)) == "ALREADY_ENROLLED"
    assert await reason(api.enroll(login.mfa_token, "sms", destination="+442071838999")) == "ALREADY_ENROLLED"
    assert await reason(api.otp(client, login.mfa_token, world.otp(alice.secret))) == "CHALLENGE_TYPE_UNSUPPORTED"


@pytest.mark.requirement("S1", "S81")
async def test_disabling_is_recorded_and_told_once(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await exhaust(api, world, client, alice)

    notices = await names(world, "notices")

    assert notices.count(NoticeName.AUTHENTICATOR_DISABLED) == 1
    assert notices.count(NoticeName.SUSPICIOUS_FAILURES) == 1
    assert (await names(world, "events")).count(EventName.AUTHENTICATOR_DISABLED) == 1


@pytest.mark.requirement("S3")
async def test_two_apps_that_took_part_in_a_hundred_failures_are_both_disabled(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    other = await second_app(api, world, client, await mfa_access_token(api, world, client, alice))
    for _ in range(10):
        world.clock.advance(8 * HOUR)
        login = await logged_in_to_mfa(api, client)
        code = wrong(world, alice.secret, other.secret)
        assert [await reason(api.otp(client, login.mfa_token, code)) for _ in range(10)] == ["INVALID_OTP"] * 10

    login = await logged_in_to_mfa(api, client)

    assert login.types == ("recovery-code",)
    for secret in (alice.secret, other.secret):
        refused = await reason(api.otp(client, login.mfa_token, world.otp(secret)))
        assert refused == "CHALLENGE_TYPE_UNSUPPORTED"


async def test_a_thief_gets_no_token_to_enroll_with_after_disabling_everything(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await exhaust(api, world, client, alice)

    audience = world.app.configuration.deployment.mfa_audience
    login = await logged_in_to_mfa(api, client, scope=MFA_SCOPE, audience=audience)

    assert login.wants == "challenge"


@pytest.mark.requirement("S2")
async def test_time_alone_does_not_revive_what_failures_disabled(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await exhaust(api, world, client, alice)
    world.clock.advance(400 * DAY)

    login = await logged_in_to_mfa(api, client)

    assert await reason(api.otp(client, login.mfa_token, world.otp(alice.secret))) == "CHALLENGE_TYPE_UNSUPPORTED"


@pytest.mark.requirement("S186")
async def test_what_is_left_still_serves_the_owner(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await exhaust(api, world, client, alice)

    login = await logged_in_to_mfa(api, client)

    assert a(Tokens, await api.recovery(client, login.mfa_token, alice.recovery_code)).recovery_code


@pytest.mark.requirement("S86")
async def test_only_a_reset_is_the_way_back_and_it_does_not_enroll_at_the_login(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    await exhaust(api, world, client, alice)
    await world.app.operators.reset_mfa("default", ALICE)

    login = await logged_in_to_mfa(api, client)

    assert (login.wants, login.types) == ("enroll", ())
    assert await reason(api.enroll(login.mfa_token)) == "ENROLLMENT_BY_TICKET_ONLY"


async def test_after_a_reset_a_token_for_the_mfa_audience_does_not_enroll_either(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    await world.app.operators.reset_mfa("default", ALICE)

    audience = world.app.configuration.deployment.mfa_audience
    bearer = await api.password(client, ALICE, "correct horse battery staple", scope=MFA_SCOPE, audience=audience)

    assert await reason(api.enroll(a(Tokens, bearer).access_token)) == "INSUFFICIENT_SCOPE"


async def test_an_operator_may_let_a_reset_user_enroll_at_the_login(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    await world.app.operators.reset_mfa("default", ALICE, enroll_at_login=True)

    again = await enrolled(api, world, client, create=False)

    assert again.tokens.access_token


async def test_switching_a_kind_off_does_not_unenroll_its_users(world: World) -> None:
    async with grpc_edge(world) as api:
        client = await shop(world)
        alice = await enrolled(api, world, client)
    given = {"clock": world.clock, "keyring": world.keyring, "kinds": frozenset({"sms", "recovery-code"})}

    async with open_world(world.database_url, **given) as without, grpc_edge(without) as api:
        login = await logged_in_to_mfa(api, client)
        enrolling = await reason(api.enroll(login.mfa_token, "sms", destination="+442071838999"))
        right = await reason(api.otp(client, login.mfa_token, world.otp(alice.secret)))

    assert (login.wants, login.types) == ("challenge", ("recovery-code",))
    assert enrolling == "ALREADY_ENROLLED"
    assert right in ("INVALID_OTP", "CHALLENGE_TYPE_UNSUPPORTED")


async def test_a_kind_that_this_process_does_not_know_keeps_its_users_enrolled(world: World) -> None:
    async with grpc_edge(world) as api:
        client = await shop(world)
        await world.user()
        login = await logged_in_to_mfa(api, client)
        begun = await api.enroll(login.mfa_token, "sms", destination="+442071838750")
        a(Tokens, await api.oob(client, login.mfa_token, begun.oob_code, world.outbox.sent[-1].code))
    given = {"clock": world.clock, "keyring": world.keyring, "factors": (), "kinds": frozenset({"totp"})}

    async with open_world(world.database_url, **given) as older, grpc_edge(older) as api:
        login = await logged_in_to_mfa(api, client)
        enrolling = await reason(api.enroll(login.mfa_token))

    assert (login.wants, login.types) == ("challenge", ())
    assert enrolling == "ALREADY_ENROLLED"


async def test_disabling_one_leaves_the_others_of_a_user(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    sms = await add_mailed(api, world, client, alice)
    await exhaust(api, world, client, alice)

    login = a(MfaRequired, await logged_in_to_mfa(api, client))
    challenge = await api.challenge(client, login.mfa_token, types=["oob"], authenticator_id=sms)
    done = await api.oob(client, login.mfa_token, challenge.oob_code, world.outbox.sent[-1].code)

    assert login.types == ("phone", "recovery-code")
    assert a(Tokens, done).access_token
