import pytest

from tests.support.flows.api import Api, GrpcApi, RestApi, Tokens
from tests.support.flows.steps import (
    PERIOD,
    a,
    enrolled,
    logged_in,
    logged_in_to_mfa,
    mfa_access_token,
    reason,
    refusal,
    second_app,
    shop,
)
from tests.support.world import World

NAME_LENGTH = 64


@pytest.mark.requirement("S194")
async def test_an_unfinished_enrollment_is_not_usable_and_blocks_no_login(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    abandoned = await api.enroll((await logged_in_to_mfa(api, client)).mfa_token)

    login = await logged_in_to_mfa(api, client)

    assert login.wants == "enroll"
    assert await reason(api.otp(client, login.mfa_token, world.otp(abandoned.secret))) == "NOT_ENROLLED"
    app = await api.enroll(login.mfa_token)
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(app.secret)))


async def test_a_wrong_code_leaves_an_enrollment_open(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    app = await api.enroll(login.mfa_token)

    wrong = world.otp(app.secret, steps=100)

    assert await reason(api.otp(client, login.mfa_token, wrong)) == "INVALID_OTP"
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(app.secret)))


async def test_a_sixth_enrollment_of_a_login_replaces_the_oldest(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)
    apps = []
    for _ in range(6):
        apps.append(await api.enroll(login.mfa_token))
        world.clock.advance(1)

    oldest = await reason(api.otp(client, login.mfa_token, world.otp(apps[0].secret)))

    assert oldest == "INVALID_OTP"
    assert [row.type for row in await api.list(login.mfa_token)] == ["otp"] * 5 + ["recovery-code"]
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(apps[1].secret)))


@pytest.mark.requirement("S36", "S83")
async def test_a_pending_authenticator_is_gone_after_ten_minutes(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    await api.enroll((await logged_in_to_mfa(api, client)).mfa_token)

    world.clock.advance(599)
    before = await api.list((await logged_in_to_mfa(api, client)).mfa_token)
    world.clock.advance(1)
    after = await api.list((await logged_in_to_mfa(api, client)).mfa_token)

    assert ([row.type for row in before], list(after)) == (["otp", "recovery-code"], [])


@pytest.mark.requirement("S36")
async def test_a_pending_authenticator_that_is_gone_can_be_neither_renamed_nor_removed(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    await api.enroll(bearer)
    pending = next(row for row in await api.list(bearer) if not row.active)
    world.clock.advance(600)
    bearer = await mfa_access_token(api, world, client, user)

    assert await reason(api.rename(bearer, pending.id, "Mine")) == "AUTHENTICATOR_NOT_FOUND"
    assert await reason(api.remove(bearer, pending.id)) == "AUTHENTICATOR_NOT_FOUND"


@pytest.mark.requirement("S199")
async def test_authenticators_are_listed_last_confirmed_first_and_recovery_codes_last(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    first = (await api.list(bearer))[0].id
    await second_app(api, world, client, bearer)
    second = (await api.list(bearer))[0].id
    await api.enroll(bearer, name="Unconfirmed")

    rows = await api.list(bearer)

    assert [row.id for row in rows[:2]] == [second, first]
    assert [(row.type, row.active) for row in rows[2:]] == [("otp", False), ("recovery-code", True)]


async def test_a_name_is_kept_as_the_user_wrote_it(api: Api, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)

    await api.enroll(login.mfa_token, name="Алисин телефон 📱")

    assert (await api.list(login.mfa_token))[0].name == "Алисин телефон 📱"


async def test_a_name_is_changed_and_taken_away(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    row = (await api.list(bearer))[0]

    assert (await api.rename(bearer, row.id, "Büro")).name == "Büro"
    assert (await api.rename(bearer, row.id, "")).name == ""
    assert (await api.list(bearer))[0].name == ""


@pytest.mark.parametrize("name", ["x" * (NAME_LENGTH + 1), "two\nlines", "\u202egnp.exe", "tab\there"])
async def test_a_name_that_shows_as_something_else_is_refused(api: Api, world: World, name: str) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    row = (await api.list(bearer))[0]

    assert await reason(api.rename(bearer, row.id, name)) == "INVALID_REQUEST"
    assert await reason(api.enroll(bearer, name=name)) == "INVALID_REQUEST"


@pytest.mark.parametrize("authenticator_id", ["totp|dev_0000000000000000", "x", "totp|dev_" + "0" * 90])
async def test_what_is_not_there_is_neither_renamed_nor_removed(api: Api, world: World, authenticator_id: str) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)

    refusals = [
        await refusal(api.rename(bearer, authenticator_id, "Mine")),
        await refusal(api.remove(bearer, authenticator_id)),
    ]

    assert {(r.reason, r.text) for r in refusals} == {("AUTHENTICATOR_NOT_FOUND", "Authenticator not found")}


@pytest.mark.requirement("S92")
async def test_removing_the_last_authenticator_leaves_the_user_not_enrolled(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    app = (await api.list(bearer))[0]

    await api.remove(bearer, app.id)

    login = await logged_in_to_mfa(api, client)
    assert (login.wants, list(await api.list(login.mfa_token))) == ("enroll", [])
    assert await reason(api.recovery(client, login.mfa_token, user.recovery_code)) == "RECOVERY_CODE_ABSENT"


@pytest.mark.requirement("S92")
async def test_removing_one_of_two_leaves_the_other_and_the_recovery_code(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    second = await second_app(api, world, client, bearer)
    first = (await api.list(bearer))[1]

    await api.remove(bearer, first.id)

    assert [row.type for row in await api.list(bearer)] == ["otp", "recovery-code"]
    login = await logged_in_to_mfa(api, client)
    assert await reason(api.otp(client, login.mfa_token, world.otp(user.secret))) == "INVALID_OTP"
    a(Tokens, await api.otp(client, login.mfa_token, world.otp(second.secret)))


async def test_removing_again_finds_nothing(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    await second_app(api, world, client, bearer)
    row = (await api.list(bearer))[0]
    await api.remove(bearer, row.id)

    assert await reason(api.remove(bearer, row.id)) == "AUTHENTICATOR_NOT_FOUND"


async def test_who_removed_everything_enrolls_anew_with_a_new_recovery_code(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    await api.remove(bearer, (await api.list(bearer))[0].id)

    again = await enrolled(api, world, client, create=False)

    assert again.recovery_code not in ("", user.recovery_code)
    await logged_in(api, world, client, again)


async def test_a_user_holds_five_apps_at_most(api: Api, world: World) -> None:
    client = await shop(world)
    user = await enrolled(api, world, client)
    bearer = await mfa_access_token(api, world, client, user)
    for _ in range(4):
        await second_app(api, world, client, bearer)

    refused = await refusal(api.enroll(bearer))

    assert (refused.reason, refused.text) == (
        "TOO_MANY_AUTHENTICATORS",
        "No more authenticators of this kind can be added.",
    )


@pytest.mark.parametrize("kind", ["sms", "email", "push", "webauthn"])
async def test_a_kind_that_is_off_is_not_available(api: Api, world: World, kind: str) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(api, client)

    refused = await refusal(api.enroll(login.mfa_token, kind, destination="+442071838750" if kind == "sms" else ""))

    assert (refused.reason, refused.text) == ("FACTOR_DISABLED", "This kind of authenticator is not available here.")


async def test_a_kind_that_nobody_knows_is_refused(grpc_api: GrpcApi, rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(grpc_api, client)
    headers = {"authorization": f"Bearer {login.mfa_token}"}

    over_rest = await rest_api.http.post("/mfa/associate", json={"authenticator_types": ["magic"]}, headers=headers)

    assert await reason(grpc_api.enroll(login.mfa_token, "magic")) == "AUTHENTICATOR_TYPE_UNSUPPORTED"
    assert (over_rest.status_code, over_rest.json()["error"]) == (400, "unsupported_authenticator_type")


@pytest.mark.parametrize(
    ("kind", "alternative"),
    [
        ("duo", "push, or a security key (webauthn)"),
        ("google-authenticator", "an authenticator app (otp, or totp over gRPC)"),
    ],
)
async def test_a_kind_of_the_past_is_refused_with_what_there_is_instead(
    grpc_api: GrpcApi, rest_api: RestApi, world: World, kind: str, alternative: str
) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(grpc_api, client)
    headers = {"authorization": f"Bearer {login.mfa_token}"}
    text = f"Authenticators of the kind {kind} are not served any more. Enroll {alternative} instead."

    over_grpc = await refusal(grpc_api.enroll(login.mfa_token, kind))
    over_rest = await rest_api.http.post("/mfa/associate", json={"authenticator_types": [kind]}, headers=headers)

    assert (over_grpc.reason, over_grpc.text) == ("FACTOR_RETIRED", text)
    assert over_rest.status_code == 400
    assert over_rest.json() == {"error": "unsupported_authenticator_type", "error_description": text}


async def test_the_wire_of_an_enrollment_is_the_recorded_one(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(rest_api, client)
    headers = {"authorization": f"Bearer {login.mfa_token}"}

    enrolling = await rest_api.http.post("/mfa/associate", json={"authenticator_types": ["otp"]}, headers=headers)
    listing = await rest_api.http.get("/mfa/authenticators", headers=headers)

    assert list(enrolling.json()) == ["authenticator_type", "secret", "barcode_uri", "recovery_codes"]
    assert [list(row) for row in listing.json()] == [["id", "authenticator_type", "active", "type"]] * 2
    assert len(enrolling.json()["recovery_codes"][0]) == 24


async def test_an_authenticator_tells_when_it_was_made_confirmed_and_used(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    made = world.clock.now()
    user = await enrolled(grpc_api, world, client)
    world.clock.advance(100)
    bearer = await mfa_access_token(grpc_api, world, client, user)
    used = made + (PERIOD + 100) * 1_000_000
    row = (await grpc_api.list(bearer))[0]

    app = await grpc_api.get(bearer, row.id)

    times = (app.create_time, app.confirm_time, app.last_use_time)
    assert [time.seconds * 1_000_000 + time.nanos // 1_000 for time in times] == [made, made, used]
    assert await reason(grpc_api.get(bearer, "totp|dev_0000000000000000")) == "AUTHENTICATOR_NOT_FOUND"


@pytest.mark.requirement("S15")
async def test_only_the_name_is_updated(grpc_api: GrpcApi, world: World) -> None:
    client = await shop(world)
    user = await enrolled(grpc_api, world, client)
    bearer = await mfa_access_token(grpc_api, world, client, user)
    row = (await grpc_api.list(bearer))[0]

    assert await reason(grpc_api.update(bearer, row.id, ["state"])) == "INVALID_REQUEST"
    assert await reason(grpc_api.update(bearer, row.id, ["name", "kind"])) == "INVALID_REQUEST"
    assert await reason(grpc_api.update(bearer, row.id, [])) == "MISSING_PARAMETER"
    assert (await grpc_api.update(bearer, row.id, ["name"])).name == ""


async def test_two_users_do_not_see_each_others_authenticators(api: Api, world: World) -> None:
    client = await shop(world)
    alice = await enrolled(api, world, client)
    bob = await enrolled(api, world, client, "bob@example.test")

    bearers = [await mfa_access_token(api, world, client, user) for user in (alice, bob)]
    seen = [{row.id for row in await api.list(bearer)} for bearer in bearers]

    assert seen[0].isdisjoint(seen[1])
    assert [len(rows) for rows in seen] == [2, 2]
