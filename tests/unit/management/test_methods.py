"""A user's authentication methods, in the shapes of W10.3."""

import asyncio
import json
import re
from typing import Any

import pytest
from cofactor_server.domain.parties.operators import Role
from cofactor_server.domain.parties.users import User

from tests.support.flows.api import Tokens
from tests.support.flows.phones import phone_shop
from tests.support.flows.steps import ALICE, a, logged_in_to_mfa
from tests.unit.factors.security_key import SecurityKey
from tests.unit.management.desk import APP_SECRET, MAIL, NUMBER, Desk

MASKED_NUMBER, MASKED_MAIL = "XXXXXXXXX8750", "chuc*@exam*******"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z").fullmatch
SET = [
    {"type": "email", "email": "chucky@example.com", "name": "Mail"},
    {"type": "totp", "totp_secret": APP_SECRET, "name": "App"},
    {"type": "phone", "phone_number": NUMBER, "name": "Phone"},
]


def at(user: User, more: str = "") -> str:
    return f"/users/{user.id}/authentication-methods{more}"


async def test_nobody_has_anything_yet(desk: Desk) -> None:
    assert await desk.methods(await desk.user()) == []


async def test_an_app_that_is_added_logs_in(desk: Desk) -> None:
    user, client = await desk.user(), await desk.shop()
    made = await desk.said("POST", at(user), {"type": "totp", "totp_secret": APP_SECRET, "name": "App"}, 201)
    assert INSTANT(made.pop("created_at"))
    assert re.fullmatch(r"totp\|dev_[0-9A-Za-z]{16}", made.pop("id"))
    assert made == {"type": "totp", "name": "App"}
    login = await logged_in_to_mfa(desk.api, client)
    assert login.wants == "challenge"
    a(Tokens, await desk.api.otp(client, login.mfa_token, desk.world.otp(APP_SECRET)))


async def test_a_method_is_listed_masked(desk: Desk) -> None:
    user = await desk.user()
    for method in ({"type": "phone", "phone_number": NUMBER}, {"type": "email", "email": "chuck@example.com"}):
        made = await desk.said("POST", at(user), method, 201)
        assert "confirmed" not in made
    listed = {method["type"]: method for method in await desk.methods(user)}
    phone, mail = listed["phone"], listed["email"]
    assert (phone["phone_number"], phone["name"]) == (MASKED_NUMBER, MASKED_NUMBER)
    suffix = phone["id"].removeprefix("phone|")
    ways = [{"type": "sms", "id": f"sms|{suffix}"}, {"type": "voice", "id": f"voice|{suffix}"}]
    assert phone["authentication_methods"] == ways
    assert mail["email"] == MASKED_MAIL
    assert {phone["confirmed"], mail["confirmed"]} == {True}
    assert NUMBER not in str(listed)


async def test_a_renamed_phone_is_masked_too(desk: Desk) -> None:
    user = await desk.user()
    made = await desk.said("POST", at(user), {"type": "phone", "phone_number": NUMBER, "name": "Mine"}, 201)
    assert (made["name"], made["phone_number"]) == ("Mine", MASKED_NUMBER)


async def test_setting_all_methods_is_answered_without_masks(desk: Desk) -> None:
    user = await desk.user()
    made = await desk.said("PUT", at(user), SET)
    assert [method["type"] for method in made] == ["email", "totp", "phone"]
    assert [method["name"] for method in made] == ["Mail", "App", "Phone"]
    email, app, phone = made
    assert email["email"] == "chucky@example.com"
    assert app["totp_secret"] == APP_SECRET
    assert phone["phone_number"] == NUMBER
    suffix = phone["id"].removeprefix("phone|")
    ways = [{"type": "sms", "id": f"sms|{suffix}"}, {"type": "voice", "id": f"voice|{suffix}"}]
    assert phone["authentication_methods"] == ways
    assert not any("confirmed" in method for method in made)
    assert {method["id"] for method in await desk.methods(user)} == {method["id"] for method in made}


@pytest.mark.requirement("S35", "S92")
async def test_setting_all_methods_removes_what_there_was_and_tells_the_user(desk: Desk) -> None:
    user = await desk.user()
    await desk.said("PUT", at(user), SET)
    await desk.told()
    desk.world.outbox.sent.clear()
    new = {"type": "email", "email": "new@example.com"}
    await desk.said("PUT", at(user), [new])
    assert [method["type"] for method in await desk.methods(user)] == ["email"]
    told = await desk.told()
    assert {(channel, to) for channel, to, _ in told} == {("email", "chucky@example.com"), ("sms", NUMBER)}
    names = [name for _, to, name in told if to == NUMBER]
    assert sorted(names) == ["authenticator_added", *["authenticator_removed"] * 3]


async def test_setting_what_is_refused_changes_nothing(desk: Desk) -> None:
    user = await desk.user()
    await desk.said("PUT", at(user), SET)
    before = await desk.methods(user)
    for wrong in (
        {"type": "phone", "phone_number": "+44"},
        {"type": "totp", "totp_secret": "JBSWY3DPEHPK3PXP"},
        {"type": "email", "email": "nowhere"},
    ):
        assert await desk.refused("PUT", at(user), [*SET, wrong]) == (400, "invalid_body")
    assert await desk.refused("PUT", at(user), [*SET, SET[0]]) == (409, "")
    many = [{"type": "email", "email": f"a{number}@example.com"} for number in range(6)]
    assert await desk.refused("PUT", at(user), many) == (403, "")
    assert await desk.refused("PUT", at(user), many * 2) == (400, "invalid_body")
    assert await desk.methods(user) == before


async def test_what_the_user_has_is_not_added_twice(desk: Desk) -> None:
    user = await desk.user()
    for method in SET:
        await desk.said("POST", at(user), method, 201)
        assert await desk.refused("POST", at(user), method) == (409, "")


async def test_a_profile_address_may_be_enrolled_too(desk: Desk) -> None:
    user = await desk.user(email="chucky@example.com", email_verified=True)
    await desk.said("PUT", at(user), SET)
    assert sorted(method["type"] for method in await desk.methods(user)) == [
        "email",
        "email-verification",
        "phone",
        "totp",
    ]


async def test_of_two_that_add_the_same_at_once_one_does(desk: Desk) -> None:
    user = await desk.user()
    both = await asyncio.gather(*(desk.send("POST", at(user), SET[2]) for _ in range(2)))
    assert sorted(response.status_code for response in both) == [201, 409]
    assert len(await desk.methods(user)) == 1


@pytest.mark.requirement("S86")
@pytest.mark.parametrize("given", [{"kinds": frozenset({"totp", "recovery-code"}), "strict": True}])
async def test_under_the_strict_profile_no_operator_sees_or_picks_a_secret(desk: Desk) -> None:
    user, _ = await desk.with_app(await desk.shop())
    refused = (403, "insufficient_scope")
    assert await desk.refused("POST", at(user), SET[1]) == refused
    assert await desk.refused("PUT", at(user), [SET[1]]) == refused
    assert await desk.refused("POST", f"/users/{user.id}/recovery-code-regeneration") == refused
    assert len(await desk.methods(user)) == 2
    await desk.said("DELETE", at(user), status=204)


async def test_five_methods_are_the_most(desk: Desk) -> None:
    user = await desk.user()
    for number in range(5):
        await desk.said("POST", at(user), {"type": "email", "email": f"a{number}@example.com"}, 201)
    assert await desk.refused("POST", at(user), SET[0]) == (403, "")


@pytest.mark.requirement("S21")
async def test_a_secret_that_is_short_or_no_base32_is_refused_and_not_repeated(desk: Desk) -> None:
    user = await desk.user()
    for secret in (
        "JBSWY3DPEHPK3PXP",
        "jbswy3dpehpk3pxpjbswy3dpehpk3pxp",
        "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PX1",
        "=",
        "A" * 400,
    ):
        response = await desk.send("POST", at(user), {"type": "totp", "totp_secret": secret})
        assert (response.status_code, response.json()["errorCode"]) == (400, "invalid_body")
        assert secret == "=" or secret not in response.text


async def test_pages_end_with_an_empty_one(desk: Desk) -> None:
    user = await desk.user()
    await desk.said("PUT", at(user), SET)
    pages = [await desk.said("GET", at(user, f"?page={n}&per_page=2&include_totals=true")) for n in range(3)]
    assert [len(page["authenticators"]) for page in pages] == [2, 1, 0]
    assert [(page["total"], page["start"], page["limit"]) for page in pages] == [(3, 0, 2), (3, 2, 2), (3, 4, 2)]
    ids = [method["id"] for page in pages for method in page["authenticators"]]
    assert ids == [method["id"] for method in await desk.methods(user)]
    assert await desk.said("GET", at(user, "?page=7")) == []


QUERIES = (
    "page=-1",
    "page=x",
    "per_page=101",
    "per_page=0",
    "include_totals=1",
    "page=0&page=1",
    "from=x",
    "page=1e9",
    "page=",
)


async def test_a_bad_query_is_refused(desk: Desk) -> None:
    user = await desk.user()
    for query in QUERIES:
        assert await desk.refused("GET", at(user, f"?{query}")) == (400, "invalid_query_string"), query


async def test_one_method_is_shown_by_its_id_or_that_of_a_way(desk: Desk) -> None:
    user = await desk.user()
    made = await desk.said("PUT", at(user), SET)
    listed = {method["id"]: method for method in await desk.methods(user)}
    for method in made:
        quoted = method["id"].replace("|", "%7C")
        assert await desk.said("GET", at(user, f"/{quoted}")) == listed[method["id"]]
    voice = made[2]["authentication_methods"][1]["id"].replace("|", "%7C")
    assert (await desk.said("GET", at(user, f"/{voice}")))["id"] == made[2]["id"]


async def test_a_method_is_renamed(desk: Desk) -> None:
    user = await desk.user()
    made = (await desk.said("PUT", at(user), SET))[2]
    changed = await desk.said("PATCH", at(user, f"/{made['id']}"), {"name": "Old phone"})
    assert (changed["name"], changed["confirmed"], changed["phone_number"]) == ("Old phone", True, MASKED_NUMBER)
    rows = await desk.api.list((await logged_in_to_mfa(desk.api, await desk.shop())).mfa_token)
    assert {row.name for row in rows if row.type == "phone"} == {"Old phone"}


@pytest.mark.parametrize("preferred", ["voice", "sms"])
async def test_the_preferred_way_is_offered_first(desk: Desk, preferred: str) -> None:
    user = await desk.user()
    phone = {"type": "phone", "phone_number": NUMBER, "preferred_authentication_method": preferred}
    made = await desk.said("POST", at(user), phone, 201)
    assert made["preferred_authentication_method"] == preferred
    token = (await logged_in_to_mfa(desk.api, await desk.shop())).mfa_token
    assert (await desk.api.list(token))[0].id.startswith(preferred)
    other = {"voice": "sms", "sms": "voice"}[preferred]
    changed = await desk.said("PATCH", at(user, f"/{made['id']}"), {"preferred_authentication_method": other})
    assert changed["preferred_authentication_method"] == other
    assert (await desk.api.list(token))[0].id.startswith(other)


async def test_only_a_telephone_has_a_preferred_way(desk: Desk) -> None:
    user = await desk.user()
    made = (await desk.said("PUT", at(user), SET))[1]
    wanted = {"preferred_authentication_method": "sms"}
    assert await desk.refused("PATCH", at(user, f"/{made['id']}"), wanted) == (400, "invalid_body")


@pytest.mark.requirement("S92")
async def test_any_method_is_removed(desk: Desk) -> None:
    user = await desk.user()
    made = await desk.said("PUT", at(user), SET)
    for method in made:
        await desk.said("DELETE", at(user, f"/{method['id'].replace('|', '%7C')}"), status=204)
        assert await desk.refused("DELETE", at(user, f"/{method['id']}")) == (404, "enrollment_not_found")
    assert await desk.methods(user) == []


@pytest.mark.parametrize("removed", ["push", "totp"])
async def test_a_push_device_and_its_codes_are_removed_together(desk: Desk, removed: str) -> None:
    client = await desk.shop()
    user, alice = await desk.with_app(client)
    async with phone_shop(desk.world) as phones:
        await phones.added(desk.api, client, alice)
    linked = [method for method in await desk.methods(user) if "link_id" in method]
    assert sorted(method["type"] for method in linked) == ["push", "totp"]
    assert len({method["link_id"] for method in linked}) == 1
    (gone,) = (method["id"] for method in linked if method["type"] == removed)
    await desk.said("DELETE", at(user, f"/{gone}"), status=204)
    assert [method["type"] for method in await desk.methods(user)] == ["totp", "recovery-code"]


@pytest.mark.parametrize(
    ("transports", "type_"),
    [
        (["usb", "nfc"], "webauthn-roaming"),
        (["internal"], "webauthn-platform"),
        (["hybrid", "internal"], "webauthn-platform"),
        ([], "webauthn-roaming"),
    ],
)
@pytest.mark.parametrize("engine", ["sqlite"])
async def test_a_key_is_of_the_type_that_its_transports_tell(desk: Desk, transports: list[str], type_: str) -> None:
    client, key = await desk.shop(), SecurityKey()
    user = await desk.user()
    login = await logged_in_to_mfa(desk.api, client)
    begun = await desk.api.enroll(login.mfa_token, "webauthn")
    answer = json.loads(key.take(begun.public_key))
    answer["response"]["transports"] = transports
    a(Tokens, await desk.api.webauthn(client, login.mfa_token, begun.oob_code, json.dumps(answer)))
    shown = [method["type"] for method in await desk.methods(user)]
    assert shown == [type_, "recovery-code"]
    (enrollment,) = await desk.said("GET", f"/users/{user.id}/enrollments")
    assert enrollment["auth_method"] == type_


@pytest.mark.requirement("S86")
async def test_who_is_left_with_nothing_enrolls_by_ticket_only(desk: Desk) -> None:
    client = await desk.shop()
    user, _ = await desk.with_app(client)
    app = next(method for method in await desk.methods(user) if method["type"] == "totp")
    await desk.said("DELETE", at(user, f"/{app['id']}"), status=204, role=Role.SUPPORT)
    assert await desk.methods(user) == []  # the recovery code went with it
    login = await logged_in_to_mfa(desk.api, client)
    assert (login.wants, login.types) == ("enroll", ())


KEPT = {"kinds": frozenset({"totp", "sms", "voice", "recovery-code"}), "keep_last_authenticator": True}


@pytest.mark.parametrize("given", [KEPT])
async def test_where_the_last_one_is_kept_no_removal_takes_it_and_a_reset_does(desk: Desk) -> None:
    client = await desk.shop()
    user, alice = await desk.with_app(client)
    app = next(method["id"] for method in await desk.methods(user) if method["type"] == "totp")
    before = await desk.methods(user)

    refused = await desk.send("DELETE", at(user, f"/{app}"), role=Role.SUPPORT)

    assert refused.status_code == 409
    assert refused.json()["message"] == (
        "The user's last authentication method is kept: add another first, or reset the user."
    )
    enrollment = app.partition("|")[2]
    assert await desk.refused("DELETE", f"/guardian/enrollments/{enrollment}", role=Role.SUPPORT) == (409, "")
    assert await desk.refused("PUT", at(user), []) == (409, "")
    assert await desk.methods(user) == before
    login = await logged_in_to_mfa(desk.api, client)
    a(Tokens, await desk.api.otp(client, login.mfa_token, desk.world.otp(alice.secret)))

    await desk.said("POST", at(user), SET[2], 201)
    await desk.said("DELETE", at(user, f"/{app}"), status=204, role=Role.SUPPORT)
    (phone,) = (method["id"] for method in await desk.methods(user) if method["type"] == "phone")
    assert await desk.refused("DELETE", at(user, f"/{phone}")) == (409, "")
    await desk.said("DELETE", at(user), status=204, role=Role.SUPPORT)
    assert await desk.methods(user) == []


@pytest.mark.parametrize("given", [KEPT])
async def test_who_has_nothing_is_reset_by_an_empty_set_though_the_last_one_is_kept(desk: Desk) -> None:
    assert await desk.said("PUT", at(await desk.user()), []) == []


async def test_removing_the_last_one_is_an_event_and_a_notice_of_its_own(desk: Desk) -> None:
    user = await desk.user()
    made = await desk.said("PUT", at(user), SET)
    for method in made:
        await desk.said("DELETE", at(user, f"/{method['id']}"), status=204)

    assert len(await desk.events("authenticator.removed")) == 2
    (last,) = await desk.events("authenticator.last_removed")
    assert last.details.count("opt_") == 1
    assert ("sms", NUMBER, "last_authenticator_removed") in await desk.told()


async def test_setting_all_methods_keeps_the_recovery_code_which_can_be_made_anew(desk: Desk) -> None:
    client = await desk.shop()
    user, alice = await desk.with_app(client)

    await desk.said("PUT", at(user), [SET[1]])

    assert [method["type"] for method in await desk.methods(user)] == ["totp", "recovery-code"]
    made = await desk.said("POST", f"/users/{user.id}/recovery-code-regeneration")
    login = await logged_in_to_mfa(desk.api, client)
    with pytest.raises(Exception, match="MFA Authorization rejected"):
        await desk.api.recovery(client, login.mfa_token, alice.recovery_code)
    a(Tokens, await desk.api.recovery(client, login.mfa_token, made["recovery_code"]))


async def test_the_recovery_code_of_before_still_logs_in_after_all_methods_were_set(desk: Desk) -> None:
    client = await desk.shop()
    user, alice = await desk.with_app(client)
    await desk.said("PUT", at(user), [SET[1]])

    login = await logged_in_to_mfa(desk.api, client)

    assert a(Tokens, await desk.api.recovery(client, login.mfa_token, alice.recovery_code)).recovery_code


async def test_setting_all_methods_keeps_no_code_that_somebody_has_begun_to_enroll(desk: Desk) -> None:
    client = await desk.shop()
    user = await desk.user()
    begun = await desk.api.enroll((await logged_in_to_mfa(desk.api, client)).mfa_token)

    await desk.said("PUT", at(user), [SET[1]])

    assert [method["type"] for method in await desk.methods(user)] == ["totp"]
    login = await logged_in_to_mfa(desk.api, client)
    with pytest.raises(Exception, match="does not have a recovery-code"):
        await desk.api.recovery(client, login.mfa_token, begun.recovery_codes[0])


@pytest.mark.requirement("S86", "S35")
@pytest.mark.parametrize("path", ["authentication-methods", "authenticators"])
async def test_removing_everything_is_a_reset(desk: Desk, path: str) -> None:
    client = await desk.shop()
    user, alice = await desk.with_app(client)
    await desk.said("POST", at(user), SET[2], 201)
    token = (await logged_in_to_mfa(desk.api, client)).mfa_token
    await desk.said("DELETE", f"/users/{user.id}/{path}", status=204, role=Role.SUPPORT)
    assert await desk.methods(user) == []
    login = await logged_in_to_mfa(desk.api, client)
    assert (login.wants, login.types) == ("enroll", ())
    with pytest.raises(Exception, match="mfa_token is invalid"):
        await desk.api.otp(client, token, desk.world.otp(alice.secret))
    assert ("sms", NUMBER, "mfa_reset") in await desk.told()
    assert (await desk.events("user.mfa_reset"))[0].details.count("opt_") == 1


async def test_setting_no_methods_is_a_reset(desk: Desk) -> None:
    client = await desk.shop()
    user, _ = await desk.with_app(client)
    assert await desk.said("PUT", at(user), []) == []
    assert (await logged_in_to_mfa(desk.api, client)).types == ()


async def test_a_profile_address_is_listed_and_not_removed(desk: Desk) -> None:
    user = await desk.user(email="chucky@example.com", email_verified=True)
    (mail,) = await desk.methods(user)
    assert (mail["type"], mail["email"], mail["confirmed"]) == ("email-verification", "chuc**@exam*******", True)
    assert await desk.refused("DELETE", at(user, f"/{mail['id']}")) == (400, "invalid_uri")
    await desk.said("PUT", at(user), SET[1:])
    await desk.said("DELETE", at(user), status=204)
    assert [method["type"] for method in await desk.methods(user)] == ["email-verification"]


async def test_a_first_method_ends_what_somebody_has_begun_to_enroll(desk: Desk) -> None:
    user, client = await desk.user(), await desk.shop()
    login = await logged_in_to_mfa(desk.api, client)
    begun = await desk.api.enroll(login.mfa_token)
    assert [method["confirmed"] for method in await desk.methods(user)] == [False, False]
    await desk.said("POST", at(user), SET[1], 201)
    assert [method["type"] for method in await desk.methods(user)] == ["totp"]
    with pytest.raises(Exception, match="Invalid otp_code"):
        await desk.api.otp(client, login.mfa_token, desk.world.otp(begun.secret))


async def test_what_is_added_is_an_event_that_names_the_token(desk: Desk) -> None:
    user = await desk.user()
    await desk.said("POST", at(user), SET[1], 201)
    (event,) = await desk.events("authenticator.added")
    assert '"operator": "opt_' in event.details
    assert APP_SECRET not in str(event)


BODIES: list[Any] = [
    {},
    {"type": "totp"},
    {"type": "phone"},
    {"type": "phone", "phone_number": ""},
    {"type": "sms", "phone_number": NUMBER},
    {"type": "totp", "totp_secret": APP_SECRET, "phone_number": NUMBER},
    {"type": "totp", "totp_secret": APP_SECRET, "confirmed": True},
    {"type": "totp", "totp_secret": 7},
    {"type": "email", "email": MAIL, "name": "x" * 21},
    {"type": "email", "email": MAIL, "name": "a\0b"},
    {"type": "email", "email": ["a"]},
    {"type": "phone", "phone_number": NUMBER, "preferred_authentication_method": "fax"},
    [{"type": "email", "email": MAIL}],
    "text",
]


async def test_a_bad_body_is_refused(desk: Desk) -> None:
    user = await desk.user()
    for body in BODIES:
        assert await desk.refused("POST", at(user), body) == (400, "invalid_body"), body


async def test_a_bad_change_is_refused(desk: Desk) -> None:
    user = await desk.user()
    made = (await desk.said("PUT", at(user), SET))[0]
    bodies: list[Any] = [{}, {"name": ""}, {"name": "x" * 21}, {"type": "totp"}, [], {"name": None}]
    for body in bodies:
        assert await desk.refused("PATCH", at(user, f"/{made['id']}"), body) == (400, "invalid_body"), body


CALLS = [
    ("GET", "", None),
    ("POST", "", SET[1]),
    ("PUT", "", SET),
    ("DELETE", "", None),
    ("GET", "/totp%7Cdev_1", None),
    ("PATCH", "/totp%7Cdev_1", {"name": "n"}),
    ("DELETE", "/totp%7Cdev_1", None),
]


async def test_nobody_is_not_found(desk: Desk) -> None:
    for method, more, body in CALLS:
        response = await desk.send(method, f"/users/usr_nobody/authentication-methods{more}", body)
        assert (response.status_code, response.json()["errorCode"]) == (404, "inexistent_user"), (method, more)
        assert response.json()["message"] == "The user does not exist."


async def test_an_unknown_method_is_not_found(desk: Desk) -> None:
    user = await desk.user()
    for method, more, body in CALLS[4:]:
        assert await desk.refused(method, at(user, more), body) == (404, "enrollment_not_found"), (method, more)


async def test_anothers_method_is_not_found(desk: Desk) -> None:
    user, other = await desk.user(), await desk.world.user("bob@example.test")
    made = (await desk.said("PUT", at(other), SET))[1]
    for method, body in (("GET", None), ("PATCH", {"name": "n"}), ("DELETE", None)):
        assert await desk.refused(method, at(user, f"/{made['id']}"), body) == (404, "enrollment_not_found")
    assert len(await desk.methods(other)) == 3


async def test_only_alice_is_changed(desk: Desk) -> None:
    user, other = await desk.user(), await desk.world.user("bob@example.test")
    await desk.said("PUT", at(other), SET)
    await desk.said("PUT", at(user), SET)
    await desk.said("DELETE", at(user), status=204)
    assert len(await desk.methods(other)) == 3
    assert user.subject == ALICE
