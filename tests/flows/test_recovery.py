from collections.abc import Callable

import pytest

from tests.flows.api import Api, Tokens
from tests.flows.steps import a, enrolled, logged_in_to_mfa, mfa_access_token, reason, refusal, shop
from tests.world import World


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


async def test_a_code_of_the_app_is_no_recovery_code_and_the_other_way_round(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    login = await logged_in_to_mfa(api, client)

    as_recovery = await reason(api.recovery(client, login.mfa_token, world.otp(user.secret)))
    as_otp = await reason(api.otp(client, login.mfa_token, user.recovery_code))

    assert (as_recovery, as_otp) == ("INVALID_RECOVERY_CODE", "INVALID_OTP")
