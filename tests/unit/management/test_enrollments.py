"""Tickets, enrollments, recovery codes and browsers, in the shapes of W10.2."""

import re
from typing import Any

import pytest
from cofactor_server.domain.parties.operators import Role

from tests.support.flows.api import Tokens
from tests.support.flows.attacks import rows
from tests.support.flows.steps import a, logged_in_to_mfa, reason
from tests.support.flows.ticketed import Holder
from tests.support.world import ISSUER
from tests.unit.management.desk import APP_SECRET, NUMBER, Desk

TICKET = "/guardian/enrollments/ticket"
APP = {"type": "totp", "totp_secret": APP_SECRET, "name": "App"}
PHONE = {"type": "phone", "phone_number": NUMBER}


async def test_a_ticket_enrolls(desk: Desk) -> None:
    user = await desk.user()
    told = await desk.said("POST", TICKET, {"user_id": user.id})
    assert re.fullmatch("[0-9A-Za-z]{32}", told["ticket_id"])
    assert told == {"ticket_id": told["ticket_id"], "ticket_url": f"{ISSUER}mfa/enrollment?ticket={told['ticket_id']}"}
    holder = Holder(desk.api, told["ticket_id"])
    begun = await holder.begin()
    assert (await holder.confirm(begun, desk.world.otp(begun.secret))).confirmed
    assert [method["type"] for method in await desk.methods(user)] == ["totp", "recovery-code"]


@pytest.mark.parametrize(
    ("factor", "kinds"),
    [
        ("otp", ("otp",)),
        ("phone", ("sms", "voice")),
        ("email", ("email",)),
        ("push-notification", ("push",)),
        ("webauthn-roaming", ("webauthn",)),
        ("webauthn-platform", ("webauthn",)),
    ],
)
async def test_a_ticket_is_for_one_factor(desk: Desk, factor: str, kinds: tuple[str, ...]) -> None:
    user = await desk.user()
    told = await desk.said("POST", TICKET, {"user_id": user.id, "factor": factor})
    assert (await Holder(desk.api, told["ticket_id"]).offer()).factors == kinds


async def test_a_ticket_for_several_is_for_whoever_is_enrolled_already(desk: Desk) -> None:
    user = await desk.user()
    await desk.said("POST", f"/users/{user.id}/authentication-methods", APP, 201)
    one = await desk.said("POST", TICKET, {"user_id": user.id})
    more = await desk.said("POST", TICKET, {"user_id": user.id, "allow_multiple_enrollments": True})
    assert await reason(Holder(desk.api, one["ticket_id"]).offer()) == "ALREADY_ENROLLED"
    assert (await Holder(desk.api, more["ticket_id"]).offer()).factors


async def test_a_ticket_goes_by_mail(desk: Desk) -> None:
    user = await desk.user()
    wanted = {"user_id": user.id, "send_mail": True, "email": "alice@example.com", "email_locale": "de"}
    told = await desk.said("POST", TICKET, wanted)
    (letter,) = desk.world.outbox.sent
    assert (letter.to, letter.link, letter.languages) == ("alice@example.com", told["ticket_url"], ("de",))


@pytest.mark.requirement("S86")
async def test_support_has_tickets_mailed_to_the_profile_and_sees_none(desk: Desk) -> None:
    user = await desk.user(email="alice@example.com", email_verified=True)
    for wanted in ({}, {"send_mail": False}, {"send_mail": True, "email": "support@example.com"}):
        refused = await desk.refused("POST", TICKET, {"user_id": user.id, **wanted}, role=Role.SUPPORT)
        assert refused == (403, "insufficient_scope")
    assert desk.world.outbox.sent == []
    assert await desk.said("POST", TICKET, {"user_id": user.id, "send_mail": True}, role=Role.SUPPORT) == {}
    (letter,) = desk.world.outbox.sent
    assert letter.to == "alice@example.com"
    assert (await Holder(desk.api, letter.link.rpartition("=")[2]).offer()).factors


TICKETS: list[Any] = [
    {},
    {"user_id": ""},
    {"user_id": 7},
    {"user_id": "usr_1", "factor": "sms"},
    {"user_id": "usr_1", "factor": "recovery-code"},
    {"user_id": "usr_1", "send_email": True},
    {"user_id": "usr_1", "send_mail": "yes"},
    {"user_id": "usr_1", "email_locale": "x" * 40},
    {"user_id": "usr\0"},
    {"user_id": "usr_1" * 40},
    [],
]


async def test_a_bad_ticket_is_refused(desk: Desk) -> None:
    for wanted in TICKETS:
        assert await desk.refused("POST", TICKET, wanted) == (400, "invalid_body"), wanted


async def test_nobody_gets_no_ticket(desk: Desk) -> None:
    assert await desk.refused("POST", TICKET, {"user_id": "usr_nobody"}) == (404, "inexistent_user")


@pytest.mark.parametrize("given", [{"kinds": frozenset({"totp"})}])
async def test_no_ticket_is_for_what_is_not_served(desk: Desk) -> None:
    user = await desk.user()
    for factor in ("phone", "email", "push-notification"):
        assert await desk.refused("POST", TICKET, {"user_id": user.id, "factor": factor}) == (400, "invalid_body")


async def test_an_enrollment_is_found_by_the_end_of_its_id(desk: Desk) -> None:
    user = await desk.user()
    app, phone = await desk.said("PUT", f"/users/{user.id}/authentication-methods", [APP, PHONE])
    found = await desk.said("GET", f"/guardian/enrollments/{app['id'].partition('|')[2]}")
    assert (found["status"], found["name"]) == ("confirmed", "App")
    found = await desk.said("GET", f"/guardian/enrollments/{phone['id'].partition('|')[2]}")
    assert set(found) == {"id", "status", "name", "phone_number", "enrolled_at"}
    assert (found["phone_number"], found["id"]) == ("XXXXXXXXX8750", phone["id"].partition("|")[2])


async def test_an_enrollment_that_waits_is_pending(desk: Desk) -> None:
    user = await desk.user()
    await desk.api.enroll((await logged_in_to_mfa(desk.api, await desk.shop())).mfa_token)
    (waiting,) = await desk.said("GET", f"/users/{user.id}/enrollments")
    assert (waiting["status"], waiting["auth_method"]) == ("pending", "authenticator")
    assert (await desk.said("GET", f"/guardian/enrollments/{waiting['id']}"))["status"] == "pending"
    desk.world.clock.advance(601)
    assert await desk.refused("GET", f"/guardian/enrollments/{waiting['id']}") == (404, "enrollment_not_found")


@pytest.mark.requirement("S92")
async def test_an_enrollment_is_removed_by_the_end_of_its_id(desk: Desk) -> None:
    user = await desk.user()
    app, phone = await desk.said("PUT", f"/users/{user.id}/authentication-methods", [APP, PHONE])
    for method, left in ((phone, ["totp"]), (app, [])):
        path = f"/guardian/enrollments/{method['id'].partition('|')[2]}"
        await desk.said("DELETE", path, status=204, role=Role.SUPPORT)
        assert await desk.refused("DELETE", path) == (404, "enrollment_not_found")
        assert [found["type"] for found in await desk.methods(user)] == left


async def test_an_unknown_enrollment_is_not_found(desk: Desk) -> None:
    for name in ("dev_nothing", "totp%7Cdev_1", "x", "dev_" + "a" * 100):
        response = await desk.send("GET", f"/guardian/enrollments/{name}")
        assert (response.status_code, response.json()["errorCode"]) == (404, "enrollment_not_found"), name
        assert response.json()["message"] == "Enrollment not found"
    assert await desk.refused("GET", "/guardian/enrollments/dev_%00") == (400, "invalid_uri")


async def test_a_recovery_code_is_no_enrollment(desk: Desk) -> None:
    user, _ = await desk.with_app(await desk.shop())
    (code,) = (method for method in await desk.methods(user) if method["type"] == "recovery-code")
    assert [e["auth_method"] for e in await desk.said("GET", f"/users/{user.id}/enrollments")] == ["authenticator"]
    path = f"/guardian/enrollments/{code['id'].partition('|')[2]}"
    assert await desk.refused("GET", path) == (404, "enrollment_not_found")


async def test_a_users_enrollments_are_listed(desk: Desk) -> None:
    user = await desk.user()
    assert await desk.said("GET", f"/users/{user.id}/enrollments") == []
    mail = {"type": "email", "email": "chucky@example.com"}
    await desk.said("PUT", f"/users/{user.id}/authentication-methods", [APP, PHONE, mail])
    found = await desk.said("GET", f"/users/{user.id}/enrollments")
    assert sorted((e["type"], e["auth_method"], e["status"]) for e in found) == [
        ("email", "email", "confirmed"),
        ("phone", "sms", "confirmed"),
        ("totp", "authenticator", "confirmed"),
    ]
    assert all(e["id"].startswith("dev_") for e in found)


@pytest.mark.requirement("S30")
async def test_a_new_recovery_code_kills_the_old_one_and_the_user_is_told(desk: Desk) -> None:
    client = await desk.shop()
    user, alice = await desk.with_app(client)
    await desk.said("POST", f"/users/{user.id}/authentication-methods", PHONE, 201)
    told = await desk.said("POST", f"/users/{user.id}/recovery-code-regeneration")
    assert re.fullmatch("[0-9A-Z]{24}", told["recovery_code"])
    login = await logged_in_to_mfa(desk.api, client)
    assert await reason(desk.api.recovery(client, login.mfa_token, alice.recovery_code)) == "INVALID_RECOVERY_CODE"
    a(Tokens, await desk.api.recovery(client, login.mfa_token, told["recovery_code"]))
    assert ("sms", NUMBER, "recovery_code_regenerated") in await desk.told()
    (event,) = await desk.events("recovery_code.regenerated")
    assert "opt_" in event.details


async def test_there_is_no_new_recovery_code_where_there_was_none(desk: Desk) -> None:
    user = await desk.user()
    path = f"/users/{user.id}/recovery-code-regeneration"
    assert await desk.refused("POST", path) == (404, "enrollment_not_found")
    await desk.said("POST", f"/users/{user.id}/authentication-methods", APP, 201)
    assert (await desk.send("POST", path)).json()["message"] == "Enrollment not found"
    # Neither does one that nobody has confirmed yet count.
    other = await desk.world.user("bob@example.test")
    await desk.api.enroll((await logged_in_to_mfa(desk.api, await desk.shop(), "bob@example.test")).mfa_token)
    path = f"/users/{other.id}/recovery-code-regeneration"
    assert await desk.refused("POST", path) == (404, "enrollment_not_found")


async def test_remembered_browsers_are_forgotten(desk: Desk) -> None:
    user = await desk.user()
    path = f"/users/{user.id}/multifactor/actions/invalidate-remember-browser"
    await desk.said("POST", path, status=204, role=Role.SUPPORT)
    assert await rows(desk.world, "browsers") == []


@pytest.mark.parametrize("provider", ["duo", "google-authenticator"])
async def test_providers_of_the_past_have_nothing_to_remove(desk: Desk, provider: str) -> None:
    user = await desk.user()
    await desk.said("POST", f"/users/{user.id}/authentication-methods", APP, 201)
    await desk.said("DELETE", f"/users/{user.id}/multifactor/{provider}", status=204)
    assert len(await desk.methods(user)) == 1


async def test_other_providers_are_refused(desk: Desk) -> None:
    user = await desk.user()
    assert await desk.refused("DELETE", f"/users/{user.id}/multifactor/guardian") == (400, "invalid_uri")


async def test_nobody_is_not_found(desk: Desk) -> None:
    for method, path in (
        ("GET", "enrollments"),
        ("DELETE", "authenticators"),
        ("DELETE", "multifactor/duo"),
        ("POST", "multifactor/actions/invalidate-remember-browser"),
        ("POST", "recovery-code-regeneration"),
    ):
        response = await desk.send(method, f"/users/usr_nobody/{path}")
        assert response.json() == {
            "statusCode": 404,
            "error": "Not Found",
            "message": "The user does not exist.",
            "errorCode": "inexistent_user",
        }
