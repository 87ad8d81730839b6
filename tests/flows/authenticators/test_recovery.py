from collections.abc import Callable

import pytest

from tests.support.flows.api import Api, GrpcApi, Tokens
from tests.support.flows.attacks import names
from tests.support.flows.steps import MFA_SCOPE, a, enrolled, logged_in_to_mfa, mfa_access_token, reason, refusal, shop
from tests.support.world import World


@pytest.mark.requirement("S27", "S29", "S87")
async def test_a_recovery_code_works_once_and_its_successor_is_shown(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    codes = [user.recovery_code]

    for _ in range(3):
        login = await logged_in_to_mfa(api, client)
        codes.append(a(Tokens, await api.recovery(client, login.mfa_token, codes[-1])).recovery_code)

    login = await logged_in_to_mfa(api, client)
    assert len(set(codes)) == 4
    assert {len(code) for code in codes} == {24}
    refusals = [await refusal(api.recovery(client, login.mfa_token, code)) for code in codes[:-1]]
    assert {(r.reason, r.text) for r in refusals} == {("INVALID_RECOVERY_CODE", "MFA Authorization rejected.")}


@pytest.mark.parametrize(
    "written",
    [
        str.lower,
        lambda code: "-".join(code[i : i + 4] for i in range(0, 24, 4)),
        lambda code: f"  {code[:12]} {code[12:]}  ",
        lambda code: code.replace("0", "O").replace("1", "l"),
    ],
    ids=["small letters", "hyphens", "white space", "look-alikes"],
)
async def test_a_recovery_code_is_taken_as_people_write_it(
    api: Api, world: World, written: Callable[[str], str]
) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    a(Tokens, await api.recovery(client, login.mfa_token, written(user.recovery_code)))


async def test_a_wrong_recovery_code_leaves_the_right_one(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)
    wrong = user.recovery_code[::-1]

    assert await reason(api.recovery(client, login.mfa_token, wrong)) == "INVALID_RECOVERY_CODE"
    a(Tokens, await api.recovery(client, login.mfa_token, user.recovery_code))


async def test_who_removed_the_recovery_code_has_none(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    await api.remove(bearer, (await api.list(bearer))[-1].id)

    login = await logged_in_to_mfa(api, client)
    refused = await refusal(api.recovery(client, login.mfa_token, user.recovery_code))

    assert login.types == ("otp",)
    assert (refused.reason, refused.text) == ("RECOVERY_CODE_ABSENT", "User does not have a recovery-code.")


async def test_who_has_no_recovery_code_gets_one_with_the_next_app(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    await api.remove(bearer, (await api.list(bearer))[-1].id)

    app = await api.enroll(bearer)
    await api.otp(client, bearer, world.otp(app.secret))

    (code,) = app.recovery_codes
    login = await logged_in_to_mfa(api, client)
    a(Tokens, await api.recovery(client, login.mfa_token, code))


async def test_a_recovery_code_of_somebody_else_is_wrong(api: Api, world: World) -> None:
    client = await shop(world)
    await enrolled(api, world, client)
    mallory = await enrolled(api, world, client, "mallory@example.test")
    login = await logged_in_to_mfa(api, client)

    assert await reason(api.recovery(client, login.mfa_token, mallory.recovery_code)) == "INVALID_RECOVERY_CODE"


@pytest.mark.requirement("S30", "S81")
@pytest.mark.parametrize("count", [0, 1, 10])
async def test_replaced_codes_are_valid_at_once_the_old_one_is_dead_and_the_user_is_told(
    grpc_api: GrpcApi, world: World, count: int
) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    bearer = await mfa_access_token(grpc_api, world, client, user)

    made = await grpc_api.enroll(bearer, "recovery-code", count=count)

    assert len(made.recovery_codes) == max(1, count)
    assert [row.id for row in await grpc_api.list(bearer) if row.type == "recovery-code" and row.active] == [made.id]
    login = await logged_in_to_mfa(grpc_api, client)
    assert await reason(grpc_api.recovery(client, login.mfa_token, user.recovery_code)) == "INVALID_RECOVERY_CODE"
    for code in made.recovery_codes:
        login = await logged_in_to_mfa(grpc_api, client)
        assert a(Tokens, await grpc_api.recovery(client, login.mfa_token, code)).recovery_code not in ("", code)
    login = await logged_in_to_mfa(grpc_api, client)
    assert await reason(grpc_api.recovery(client, login.mfa_token, code)) == "INVALID_RECOVERY_CODE"
    assert (await names(world, "notices")).count("recovery_code_regenerated") == 1
    assert (await names(world, "events")).count("recovery_code.regenerated") == 1


async def test_only_who_showed_a_second_factor_replaces_recovery_codes(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    await world.user("bob@example.test")
    strangers = await logged_in_to_mfa(grpc_api, client, "bob@example.test")
    user = await enrolled(grpc_api, world, client)
    login = await logged_in_to_mfa(grpc_api, client)

    assert await reason(grpc_api.enroll(strangers.mfa_token, "recovery-code")) == "ASSOCIATION_REQUIRED"
    assert await reason(grpc_api.enroll(login.mfa_token, "recovery-code")) == "ALREADY_ENROLLED"
    bearer = await mfa_access_token(grpc_api, world, client, user)
    assert await reason(grpc_api.enroll(bearer, "recovery-code", count=11)) == "INVALID_REQUEST"
    a(Tokens, await grpc_api.recovery(client, login.mfa_token, user.recovery_code))


async def test_who_lost_the_phone_replaces_the_codes_with_one_of_them(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    audience = world.app.configuration.deployment.mfa_audience
    login = await logged_in_to_mfa(grpc_api, client, scope=MFA_SCOPE, audience=audience)
    tokens = a(Tokens, await grpc_api.recovery(client, login.mfa_token, user.recovery_code))

    made = await grpc_api.enroll(tokens.access_token, "recovery-code", count=3)

    login = await logged_in_to_mfa(grpc_api, client)
    assert await reason(grpc_api.recovery(client, login.mfa_token, tokens.recovery_code)) == "INVALID_RECOVERY_CODE"
    a(Tokens, await grpc_api.recovery(client, login.mfa_token, made.recovery_codes[2]))


@pytest.mark.parametrize("given", [{"kinds": frozenset({"totp"})}], ids=["off"])
async def test_where_recovery_codes_are_off_none_are_made(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    bearer = await mfa_access_token(grpc_api, world, client, user)

    assert await reason(grpc_api.enroll(bearer, "recovery-code")) == "FACTOR_DISABLED"


async def test_a_code_of_the_app_is_no_recovery_code_and_the_other_way_round(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    as_recovery = await reason(api.recovery(client, login.mfa_token, world.otp(user.secret)))
    as_otp = await reason(api.otp(client, login.mfa_token, user.recovery_code))

    assert (as_recovery, as_otp) == ("INVALID_RECOVERY_CODE", "INVALID_OTP")
