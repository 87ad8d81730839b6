"""Security decision 3: what somebody else enrolled never becomes active by the owner's hand."""

import pytest
from cofactor_server.domain.parties.users import Enrollment, MfaPolicy
from cofactor_server.seams import MINUTE

from tests.support.flows.api import Api, GrpcApi, MfaRequired, Tokens, grpc_edge
from tests.support.flows.attacks import MALLORY, one_factor_token, open_world, outcome, reason, rows
from tests.support.flows.steps import (
    MFA_SCOPE,
    PERIOD,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    second_app,
    shop,
)
from tests.support.world import PASSWORD, World


async def test_a_thiefs_pending_app_dies_when_the_owner_confirms_hers(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    thiefs = await logged_in_to_mfa(api, client)
    his = await api.enroll(thiefs.mfa_token)

    await enrolled(api, world, client, create=False)

    assert await reason(api.otp(client, thiefs.mfa_token, world.otp(his.secret))) == "INVALID_OTP"
    later = await logged_in_to_mfa(api, client)
    assert await reason(api.otp(client, later.mfa_token, world.otp(his.secret))) == "INVALID_OTP"


async def test_a_thiefs_recovery_code_dies_when_the_owner_confirms_hers(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    thiefs = await logged_in_to_mfa(api, client)
    (his_code,) = (await api.enroll(thiefs.mfa_token)).recovery_codes

    alice = await enrolled(api, world, client, create=False)

    assert await reason(api.recovery(client, thiefs.mfa_token, his_code)) == "INVALID_RECOVERY_CODE"
    later = await logged_in_to_mfa(api, client)
    assert a(Tokens, await api.recovery(client, later.mfa_token, alice.recovery_code)).recovery_code


async def test_the_first_activation_leaves_nothing_pending_and_one_of_each_active(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    for _ in range(2):
        await api.enroll((await logged_in_to_mfa(api, client)).mfa_token)

    alice = await enrolled(api, world, client, create=False)

    found = await api.list(await mfa_access_token(api, world, client, alice))
    assert [(row.type, row.active) for row in found] == [("otp", True), ("recovery-code", True)]


async def test_the_owners_code_does_not_confirm_what_another_login_began(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    hers = await logged_in_to_mfa(api, client)
    app = await api.enroll(hers.mfa_token)
    thiefs = await logged_in_to_mfa(api, client)
    await api.enroll(thiefs.mfa_token)

    said = await reason(api.otp(client, thiefs.mfa_token, world.otp(app.secret)))

    assert said == "INVALID_OTP"
    assert await rows(world, "authenticators", state="active") == []


async def test_exactly_one_of_a_logins_pending_apps_becomes_active(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    first, second = await api.enroll(login.mfa_token), await api.enroll(login.mfa_token)
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(first.secret)))
    world.clock.advance(PERIOD)

    later = await logged_in_to_mfa(api, client)

    assert await reason(api.otp(client, later.mfa_token, world.otp(second.secret))) == "INVALID_OTP"
    assert await outcome(api.otp(client, later.mfa_token, world.otp(first.secret))) == ""


async def test_an_enrolled_user_confirms_nothing_more_with_an_mfa_token(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice)
    login = await logged_in_to_mfa(api, client)
    app = await api.enroll(bearer)

    assert await reason(api.otp(client, login.mfa_token, world.otp(app.secret))) == "INVALID_OTP"


async def test_an_access_token_confirms_only_what_it_enrolled_itself(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    one = await mfa_access_token(api, world, client, alice)
    two = await mfa_access_token(api, world, client, alice)
    app = await api.enroll(one)

    assert await reason(api.otp(client, two, world.otp(app.secret))) == "MFA_TOKEN_MALFORMED"
    assert await outcome(api.otp(client, one, world.otp(app.secret))) == ""


async def test_five_may_be_pending_in_a_login_and_the_oldest_gives_way(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    begun = []
    for _ in range(6):
        begun.append(await api.enroll(login.mfa_token))
        world.clock.advance(0.001)

    found = [row for row in await api.list(login.mfa_token) if row.type == "otp"]

    assert len(found) == 5
    assert await reason(api.otp(client, login.mfa_token, world.otp(begun[0].secret))) == "INVALID_OTP"
    assert await outcome(api.otp(client, login.mfa_token, world.otp(begun[1].secret))) == ""


async def test_fifteen_may_be_pending_over_all_logins_and_the_oldest_gives_way(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    first = await logged_in_to_mfa(api, client)
    oldest = await api.enroll(first.mfa_token)
    for _ in range(15):
        world.clock.advance(1)
        last = await logged_in_to_mfa(api, client)
        await api.enroll(last.mfa_token)

    assert len(await rows(world, "authenticators", kind="totp", state="pending")) == 15
    assert len(await rows(world, "authenticators", kind="recovery-code", state="pending")) == 15
    assert await reason(api.otp(client, first.mfa_token, world.otp(oldest.secret))) == "NOT_ENROLLED"


async def test_a_thousand_begun_enrollments_of_a_login_leave_one_recovery_code(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    for _ in range(3):
        await api.enroll(login.mfa_token)

    assert len(await rows(world, "authenticators", kind="recovery-code", state="pending")) == 1


@pytest.mark.requirement("S36", "S83", "S194")
@pytest.mark.parametrize(("seconds", "said"), [(599, ""), (600, "NOT_ENROLLED")])
async def test_a_pending_app_dies_after_ten_minutes_however_long_the_login_lives(
    seconds: int, said: str, database_url: str
) -> None:
    async with open_world(database_url, mfa_token_life=30 * MINUTE) as world, grpc_edge(world) as api:
        client = await shop(world)
        await world.user()
        login = await logged_in_to_mfa(api, client)
        app = await api.enroll(login.mfa_token)
        world.clock.advance(seconds)

        assert await outcome(api.otp(client, login.mfa_token, world.otp(app.secret))) == said


async def test_a_recovery_code_of_an_unconfirmed_enrollment_opens_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    (code,) = (await api.enroll(login.mfa_token)).recovery_codes

    assert await reason(api.recovery(client, login.mfa_token, code)) == "RECOVERY_CODE_ABSENT"


async def test_a_recovery_code_is_shown_only_while_no_valid_one_exists(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice)
    assert (await second_app(api, world, client, bearer)).recovery_codes == ()
    (code,) = [row.id for row in await api.list(bearer) if row.type == "recovery-code"]
    await api.remove(bearer, code)

    shown = (await second_app(api, world, client, bearer)).recovery_codes

    login = await logged_in_to_mfa(api, client)
    assert await outcome(api.recovery(client, login.mfa_token, shown[0])) == ""


async def test_removing_the_last_authenticator_removes_the_recovery_code_too(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, alice)
    (app,) = [row.id for row in await api.list(bearer) if row.type == "otp"]
    await api.remove(bearer, app)

    login = await logged_in_to_mfa(api, client)

    assert login.wants == "enroll"
    assert await reason(api.recovery(client, login.mfa_token, alice.recovery_code)) == "RECOVERY_CODE_ABSENT"


@pytest.mark.parametrize(
    ("enrollment", "refused"),
    [(Enrollment.TICKET, "ENROLLMENT_BY_TICKET_ONLY"), (Enrollment.VOUCHED, "ENROLLMENT_NOT_ALLOWED")],
)
async def test_a_client_that_does_not_enroll_at_the_login_offers_no_way_to(
    enrollment: Enrollment, refused: str, api: Api, world: World
) -> None:
    client = await shop(world, enrollment=enrollment)
    await world.user()
    login = await logged_in_to_mfa(api, client)

    assert (login.wants, login.types) == ("enroll", ())
    assert await reason(api.enroll(login.mfa_token)) == refused
    assert await reason(api.enroll(await one_factor_token(api, world, client))) == "INSUFFICIENT_SCOPE"


@pytest.mark.requirement("S101", "S118")
async def test_a_stolen_refresh_token_enrolls_nothing(api: Api, world: World) -> None:
    client = await shop(world, mfa_policy=MfaPolicy.WHEN_ENROLLED)
    await world.user()
    stolen = a(Tokens, await api.password(client, "alice@example.test", PASSWORD, scope="offline_access"))
    audience = world.app.configuration.deployment.mfa_audience

    asked = a(MfaRequired, await api.refresh(client, stolen.refresh_token, scope=MFA_SCOPE, audience=audience))

    assert asked.types == ()
    assert await reason(api.enroll(asked.mfa_token)) == "ENROLLMENT_NEEDS_LOGIN"


async def test_nobody_removes_or_renames_what_is_anothers(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    mallory = await enrolled(api, world, client, MALLORY)
    (hers, *_) = await api.list(await mfa_access_token(api, world, client, alice))
    bearer = await mfa_access_token(api, world, client, mallory)

    assert await reason(api.remove(bearer, hers.id)) == "AUTHENTICATOR_NOT_FOUND"
    assert await reason(api.rename(bearer, hers.id, "mine")) == "AUTHENTICATOR_NOT_FOUND"
    assert hers.id not in [row.id for row in await api.list(bearer)]


async def test_nobody_is_challenged_with_what_is_anothers(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(grpc_api, world, client)
    await enrolled(grpc_api, world, client, MALLORY)
    (hers, *_) = await grpc_api.list(await mfa_access_token(grpc_api, world, client, alice))
    login = await logged_in_to_mfa(grpc_api, client, MALLORY)
    code = world.otp(alice.secret)

    challenge = grpc_api.challenge(client, login.mfa_token, authenticator_id=hers.id)
    redeem = grpc_api.otp(client, login.mfa_token, code, authenticator_id=hers.id)

    assert await reason(challenge) == "AUTHENTICATOR_NOT_FOUND"
    assert await reason(redeem) == "AUTHENTICATOR_NOT_FOUND"
