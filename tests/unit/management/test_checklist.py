"""Item 13 of the acceptance checklist, W16.13: management. What is behind each is in the files beside."""

from tests.unit.management.desk import APP_SECRET, NUMBER, Desk

MASKED = {"email": "chuc**@exam*******", "phone_number": "XXXXXXXXX8750"}


async def test_13_factors_have_their_order(desk: Desk) -> None:
    names = [factor["name"] for factor in await desk.said("GET", "/guardian/factors")]
    assert names == (
        ["sms", "push-notification", "otp", "email", "duo", "webauthn-roaming", "webauthn-platform", "recovery-code"]
    )


async def test_13_policies_are_echoed(desk: Desk) -> None:
    for wanted in (["all-applications"], ["confidence-score"], []):
        assert await desk.said("PUT", "/guardian/policies", wanted) == wanted
        assert await desk.said("GET", "/guardian/policies") == wanted


async def test_13_a_ticket_and_a_recovery_code_are_told_once(desk: Desk) -> None:
    user, _ = await desk.with_app(await desk.shop())
    wanted = {"user_id": user.id, "allow_multiple_enrollments": True}
    ticket = await desk.said("POST", "/guardian/enrollments/ticket", wanted)
    assert (len(ticket["ticket_id"]), set(ticket)) == (32, {"ticket_id", "ticket_url"})
    code = await desk.said("POST", f"/users/{user.id}/recovery-code-regeneration")
    assert (len(code["recovery_code"]), set(code)) == (24, {"recovery_code"})


async def test_13_methods_are_paged_to_an_empty_page_set_unmasked_and_got_masked(desk: Desk) -> None:
    user = await desk.user()
    path = f"/users/{user.id}/authentication-methods"
    wanted = [
        {"type": "email", "email": "chucky@example.com"},
        {"type": "totp", "totp_secret": APP_SECRET},
        {"type": "phone", "phone_number": NUMBER},
    ]
    made = await desk.said("PUT", path, wanted)
    assert all(asked.items() <= answered.items() for asked, answered in zip(wanted, made, strict=True))
    pages = [await desk.said("GET", f"{path}?page={n}&per_page=2&include_totals=true") for n in range(3)]
    assert [len(page["authenticators"]) for page in pages] == [2, 1, 0]
    shown = [method for page in pages for method in page["authenticators"]]
    told = {name: method[name] for method in shown for name in (*MASKED, "totp_secret") if name in method}
    assert told == MASKED


async def test_13_what_is_not_there_is_a_404_of_two_shapes(desk: Desk) -> None:
    user = await desk.user()
    for method, path, code, text in (
        ("GET", "/users/usr_nobody/authentication-methods", "inexistent_user", "The user does not exist."),
        ("GET", "/users/usr_nobody/enrollments", "inexistent_user", "The user does not exist."),
        ("GET", "/guardian/enrollments/dev_nothing", "enrollment_not_found", "Enrollment not found"),
        ("POST", f"/users/{user.id}/recovery-code-regeneration", "enrollment_not_found", "Enrollment not found"),
    ):
        response = await desk.send(method, path)
        expected = {"statusCode": 404, "error": "Not Found", "message": text, "errorCode": code}
        assert (response.status_code, response.json()) == (404, expected)
