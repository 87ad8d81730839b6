"""Login, enrollment, challenge and verification with every SDK that has an MFA client (W14 and W16)."""

import pytest

from tests.wire.sdks import SCOPE, Enrollment, Sdk, Tokens
from tests.wire.tenant import Person, Tenant

PHONE = "+442071838750"
UNENROLLED = "User is not enrolled. You can use /mfa/associate endpoint to enroll the first authenticator."


def destination_of(factor: str, person: Person) -> str:
    return {"sms": PHONE, "voice": PHONE, "email": person.name.replace(".test", ".com")}.get(factor, "")


def enroll_app(tenant: Tenant, sdk: Sdk, person: Person) -> tuple[Enrollment, Tokens]:
    """Enroll an authenticator app during the first login, and confirm it with the code before this one."""
    token = sdk.login(person)
    app = sdk.enroll(token, "otp")
    return app, sdk.verify(token, otp=tenant.world.otp(app.secret, steps=-1))


def managing(tenant: Tenant, sdk: Sdk, person: Person, secret: str) -> str:
    """Return an access token that adds and removes authenticators."""
    token = sdk.login(person, manages=True)
    return sdk.verify(token, otp=tenant.world.otp(secret)).access_token


@pytest.mark.requirement("S21")
def test_an_app_is_enrolled_during_the_first_login_and_confirmed_with_a_code(
    tenant: Tenant, sdk: Sdk, person: Person
) -> None:
    token = sdk.login(person)
    assert sdk.list(token) == []

    app = sdk.enroll(token, "otp")
    pending = sdk.list(token)
    tokens = sdk.verify(token, otp=tenant.world.otp(app.secret))

    assert (app.authenticator_type, len(app.secret), len(app.recovery_codes)) == ("otp", 32, 1)
    assert app.barcode_uri.startswith("otpauth://totp/Example:")
    assert {(row.type, row.active) for row in pending} == {("otp", False), ("recovery-code", False)}
    assert tokens.scope.split() == [word for word in SCOPE.split() if word in tokens.scope]
    assert tokens.id_token
    assert tokens.refresh_token
    assert tokens.recovery_code == ""


def test_the_next_login_lists_challenges_and_verifies(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)

    token = sdk.login(person)
    rows = sdk.list(token)
    challenge = sdk.challenge(token, "otp", next(row.id for row in rows if row.type == "otp"))
    tokens = sdk.verify(token, otp=tenant.world.otp(app.secret))

    assert [(row.authenticator_type, row.type, row.active) for row in rows] == [
        ("otp", "otp", True),
        ("recovery-code", "recovery-code", True),
    ]
    assert (challenge.challenge_type, challenge.oob_code, challenge.binding_method) == ("otp", "", "")
    assert tokens.access_token


@pytest.mark.requirement("S29")
def test_a_recovery_code_brings_its_replacement(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)
    (code,) = app.recovery_codes

    tokens = sdk.verify(sdk.login(person), recovery_code=code)

    assert len(tokens.recovery_code) == 24
    assert tokens.recovery_code != code
    assert sdk.verify(sdk.login(person), recovery_code=tokens.recovery_code).recovery_code


@pytest.mark.parametrize("factor", ["sms", "voice", "email"])
def test_a_code_that_was_sent_confirms_an_enrollment_and_then_a_login(
    tenant: Tenant, sdk: Sdk, person: Person, factor: str
) -> None:
    destination = destination_of(factor, person)
    token = sdk.login(person)
    enrollment = sdk.enroll(token, factor, destination)
    sdk.verify(token, oob_code=enrollment.oob_code, binding_code=tenant.code_sent_to(destination))

    token = sdk.login(person)
    row = next(row for row in sdk.list(token) if row.active and row.id.startswith(f"{factor}|"))
    challenge = sdk.challenge(token, "oob", row.id)
    tokens = sdk.verify(token, oob_code=challenge.oob_code, binding_code=tenant.code_sent_to(destination))

    assert (enrollment.authenticator_type, enrollment.oob_channel) == ("oob", factor)
    assert enrollment.binding_method == challenge.binding_method == "prompt"
    assert challenge.challenge_type == "oob"
    assert (row.authenticator_type, row.type) == ("oob", "email" if factor == "email" else "phone")
    assert tokens.access_token


def test_a_second_authenticator_is_added_with_an_access_token(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)
    token = sdk.held(managing(tenant, sdk, person, app.secret))

    phone = sdk.enroll(token, "sms", PHONE)
    sdk.verify(token, oob_code=phone.oob_code, binding_code=tenant.code_sent_to(PHONE))

    assert phone.recovery_codes == ()
    assert {row.type for row in sdk.list(sdk.login(person)) if row.active} >= {"otp", "phone", "recovery-code"}


def test_a_verified_profile_address_is_there_to_fall_back_upon(tenant: Tenant, sdk: Sdk) -> None:
    address = "chucknor@example.com"
    person = tenant.person(email=address)
    enroll_app(tenant, sdk, person)

    token = sdk.login(person)
    (row,) = [row for row in sdk.list(token) if row.type == "email"]
    challenge = sdk.challenge(token, "oob", row.id)
    tokens = sdk.verify(token, oob_code=challenge.oob_code, binding_code=tenant.code_sent_to(address))

    assert (row.active, row.name) == (True, "chuc****@exam*******")
    assert tokens.access_token


@pytest.mark.parametrize("sdk", ["auth-js"], indirect=True)
def test_an_authenticator_is_deleted_with_an_access_token(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)
    token = managing(tenant, sdk, person, app.secret)
    (row,) = [row for row in sdk.list(token) if row.type == "otp"]

    sdk.delete(token, row.id)

    assert [row for row in sdk.list(token) if row.type == "otp"] == []
