from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.flows.api import Api, GrpcApi, Tokens
from tests.support.flows.steps import (
    PERIOD,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    reason,
    refusal,
    second_app,
    shop,
)
from tests.support.world import World


@pytest.mark.requirement("S67", "S116")
@pytest.mark.parametrize(
    ("algorithm", "digits", "period"),
    [("SHA1", 6, 30), ("SHA256", 6, 30), ("SHA512", 8, 60), ("SHA1", 8, 15), ("SHA256", 8, 120)],
)
async def test_an_app_may_use_another_hash_length_and_period(
    grpc_api: GrpcApi, world: World, algorithm: str, digits: int, period: int
) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(grpc_api, client)
    app = await grpc_api.enroll(login.mfa_token, algorithm=algorithm, digits=digits, period=period)
    stated = parse_qs(urlsplit(app.barcode_uri).query)
    code = world.otp(app.secret, period=period, digits=digits, algorithm=algorithm)

    tokens = await grpc_api.otp(client, login.mfa_token, code)

    a(Tokens, tokens)
    assert (stated["algorithm"], stated["digits"], stated["period"]) == ([algorithm], [str(digits)], [str(period)])


@pytest.mark.requirement("S22")
@pytest.mark.parametrize("options", [{"period": 14}, {"period": 121}, {"digits": 5}, {"digits": 7}])
async def test_unsafe_parameters_of_an_app_are_refused(
    grpc_api: GrpcApi, world: World, options: dict[str, int]
) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(grpc_api, client)

    assert await reason(grpc_api.enroll(login.mfa_token, **options)) == "INVALID_REQUEST"  # type: ignore[arg-type]


@pytest.mark.requirement("S72")
async def test_no_two_enrollments_share_a_secret(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)

    apps = [await api.enroll(login.mfa_token) for _ in range(4)]

    assert len({app.secret for app in apps}) == 4


@pytest.mark.requirement("S69", "S183")
async def test_after_a_code_no_code_of_an_earlier_step_is_accepted(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    first, second = await logged_in_to_mfa(api, client), await logged_in_to_mfa(api, client)
    await api.otp(client, first.mfa_token, world.otp(user.secret, steps=1))

    assert await reason(api.otp(client, second.mfa_token, world.otp(user.secret))) == "INVALID_OTP"


@pytest.mark.requirement("S24", "S68", "S93")
@pytest.mark.parametrize(("steps", "accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
async def test_a_code_may_be_one_step_off(api: Api, world: World, steps: int, accepted: bool) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    world.clock.advance(10 * PERIOD)
    login = await logged_in_to_mfa(api, client)
    code = world.otp(user.secret, steps=steps)

    if accepted:
        a(Tokens, await api.otp(client, login.mfa_token, code))
    else:
        assert await reason(api.otp(client, login.mfa_token, code)) == "INVALID_OTP"


@pytest.mark.requirement("S75")
@pytest.mark.parametrize(("steps", "hint"), [(10, "check_clock"), (-10, "check_clock"), (-11, ""), (11, "")])
async def test_confirming_with_a_code_of_a_nearby_step_tells_the_user_to_check_the_clock(
    api: Api, world: World, steps: int, hint: str
) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    app = await api.enroll(login.mfa_token)

    refused = await refusal(api.otp(client, login.mfa_token, world.otp(app.secret, steps=steps)))

    assert (refused.reason, refused.metadata.get("hint", "")) == ("INVALID_OTP", hint)


@pytest.mark.requirement("S59", "S75")
@pytest.mark.parametrize(("steps", "hint"), [(10, ""), (2, ""), (-2, "check_clock"), (-10, "check_clock"), (-11, "")])
async def test_a_login_is_told_of_codes_that_are_over_and_of_none_that_is_to_come(
    api: Api, world: World, steps: int, hint: str
) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    world.clock.advance(20 * PERIOD)
    login = await logged_in_to_mfa(api, client)

    refused = await refusal(api.otp(client, login.mfa_token, world.otp(user.secret, steps=steps)))

    assert (refused.reason, refused.metadata.get("hint", "")) == ("INVALID_OTP", hint)


@pytest.mark.requirement("S74", "S93")
async def test_a_clock_that_steps_back_opens_no_used_step(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    first, second = await logged_in_to_mfa(api, client), await logged_in_to_mfa(api, client)
    code = world.otp(user.secret)
    await api.otp(client, first.mfa_token, code)

    world.clock.advance(-20)

    assert await reason(api.otp(client, second.mfa_token, code)) == "INVALID_OTP"


async def test_white_space_in_a_code_does_not_matter(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    code = world.otp(user.secret)

    a(Tokens, await api.otp(client, login.mfa_token, f" {code[:3]} {code[3:]} "))


@pytest.mark.parametrize("typed", ["12345", "1234567", "abcdef", "١٢٣٤٥٦", "-12345", "1e5000", "0x1234"])
async def test_what_is_no_code_is_refused_as_a_wrong_one(api: Api, world: World, typed: str) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    assert await reason(api.otp(client, login.mfa_token, typed)) == "INVALID_OTP"


async def test_either_of_two_apps_answers(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    second = await second_app(api, world, client, bearer)

    for secret in (user.secret, second.secret):
        login = await logged_in_to_mfa(api, client)
        a(Tokens, await api.otp(client, login.mfa_token, world.otp(secret)))


async def test_a_named_app_alone_is_asked(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    bearer = await mfa_access_token(grpc_api, world, client, user)
    second = await second_app(grpc_api, world, client, bearer)
    login = await logged_in_to_mfa(grpc_api, client)
    code = world.otp(user.secret)

    refused = await reason(grpc_api.otp(client, login.mfa_token, code, authenticator_id=second.id))

    assert refused == "INVALID_OTP"
    a(Tokens, await grpc_api.otp(client, login.mfa_token, code))


async def test_a_named_app_must_be_one_of_the_user(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    await enrolled(grpc_api, world, client, "mallory@example.test")
    other = (await grpc_api.list((await logged_in_to_mfa(grpc_api, client, "mallory@example.test")).mfa_token))[0]
    login = await logged_in_to_mfa(grpc_api, client)

    call = grpc_api.otp(client, login.mfa_token, world.otp(user.secret), authenticator_id=other.id)

    assert await reason(call) == "AUTHENTICATOR_NOT_FOUND"


async def test_a_code_of_somebody_elses_app_is_wrong(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    mallory = await enrolled(api, world, client, "mallory@example.test")
    login = await logged_in_to_mfa(api, client)

    assert await reason(api.otp(client, login.mfa_token, world.otp(mallory.secret))) == "INVALID_OTP"
