"""The errors that applications branch on, as each SDK hands them on: literals to the letter (W8)."""

import pytest

from tests.wire.sdks import Refused, Sdk
from tests.wire.tenant import Person, Tenant
from tests.wire.test_factors import PHONE, enroll_app, managing

UNENROLLED = "User is not enrolled. You can use /mfa/associate endpoint to enroll the first authenticator."
BY_TICKET = "The first authenticator is enrolled with a ticket only. Ask an administrator for one."
UNUSABLE_BEARER = "The mfa_token provided is invalid. Try getting a new token."


def enroll_phone(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    token = sdk.login(person)
    phone = sdk.enroll(token, "sms", PHONE)
    sdk.verify(token, oob_code=phone.oob_code, binding_code=tenant.code_sent_to(PHONE))


def other(code: str) -> str:
    """Return a code of the same length that differs in each digit."""
    return "".join(str((int(digit) + 5) % 10) for digit in code)


def test_a_wrong_code_of_an_app(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)

    with pytest.raises(Refused) as caught:
        sdk.verify(sdk.login(person), otp=other(tenant.world.otp(app.secret)))

    assert caught.value.literals == ("invalid_grant", "Invalid otp_code.")


@pytest.mark.requirement("S19")
def test_a_code_that_was_used(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)
    code = tenant.world.otp(app.secret)
    sdk.verify(sdk.login(person), otp=code)

    with pytest.raises(Refused) as caught:
        sdk.verify(sdk.login(person), otp=code)

    assert caught.value.literals == ("invalid_grant", "Invalid otp_code.")


def test_a_wrong_code_of_a_message(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_phone(tenant, sdk, person)
    token = sdk.login(person)
    challenge = sdk.challenge(token, "oob")

    with pytest.raises(Refused) as caught:
        sdk.verify(token, oob_code=challenge.oob_code, binding_code=other(tenant.code_sent_to(PHONE)))

    assert caught.value.literals == ("invalid_grant", "Invalid binding_code.")


def test_a_missing_code_of_a_message(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_phone(tenant, sdk, person)
    token = sdk.login(person)
    challenge = sdk.challenge(token, "oob")

    with pytest.raises(Refused) as caught:
        sdk.verify(token, oob_code=challenge.oob_code)

    assert caught.value.literals == ("invalid_request", "binding_code is required")


def test_an_oob_code_that_is_none(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_phone(tenant, sdk, person)

    with pytest.raises(Refused) as caught:
        sdk.verify(sdk.login(person), oob_code="Fe26.2*SERVER", binding_code="123456")

    assert caught.value.literals == ("invalid_grant", "Malformed oob_code")


def test_an_oob_code_whose_time_is_over(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_phone(tenant, sdk, person)
    token = sdk.login(person)
    challenge = sdk.challenge(token, "oob")
    code = tenant.code_sent_to(PHONE)

    with tenant.later(301), pytest.raises(Refused) as caught:
        sdk.verify(token, oob_code=challenge.oob_code, binding_code=code)

    assert caught.value.literals == ("expired_token", "oob_code is expired")


def test_a_wrong_recovery_code(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_app(tenant, sdk, person)

    with pytest.raises(Refused) as caught:
        sdk.verify(sdk.login(person), recovery_code="A" * 24)

    assert caught.value.literals == ("invalid_grant", "MFA Authorization rejected.")


@pytest.mark.requirement("S29")
def test_a_recovery_code_that_was_used(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)
    (code,) = app.recovery_codes
    sdk.verify(sdk.login(person), recovery_code=code)

    with pytest.raises(Refused) as caught:
        sdk.verify(sdk.login(person), recovery_code=code)

    assert caught.value.literals == ("invalid_grant", "MFA Authorization rejected.")


def test_no_recovery_code(sdk: Sdk, person: Person) -> None:
    with pytest.raises(Refused) as caught:
        sdk.verify(sdk.login(person), recovery_code="A" * 24)

    assert caught.value.literals == ("unsupported_challenge_type", "User does not have a recovery-code.")


def test_a_code_from_somebody_who_has_nothing(sdk: Sdk, person: Person) -> None:
    with pytest.raises(Refused) as caught:
        sdk.verify(sdk.login(person), otp="123456")

    assert caught.value.literals == ("unsupported_challenge_type", UNENROLLED)


def test_a_challenge_for_somebody_who_has_nothing(sdk: Sdk, person: Person) -> None:
    with pytest.raises(Refused) as caught:
        sdk.challenge(sdk.login(person), "otp")

    assert (caught.value.kind, caught.value.literals) == ("MfaChallengeError", ("association_required", UNENROLLED))


def test_after_a_reset_every_call_says_that_a_ticket_enrolls(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_app(tenant, sdk, person)
    tenant.do(tenant.world.app.operators.reset_mfa("default", person.name))
    token = sdk.login(person)
    refusals = []

    for call in (
        lambda: sdk.enroll(token, "otp"),
        lambda: sdk.challenge(token, "otp"),
        lambda: sdk.verify(token, otp="123456"),
    ):
        with pytest.raises(Refused) as caught:
            call()
        refusals.append(caught.value.literals)

    assert refusals == [("access_denied", BY_TICKET)] * 3
    assert sdk.list(token) == []


def test_a_challenge_of_a_type_that_nothing_answers(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_app(tenant, sdk, person)

    with pytest.raises(Refused) as caught:
        sdk.challenge(sdk.login(person), "oob")

    assert caught.value.literals == (
        "unsupported_challenge_type",
        "The user does not support the requested challenge type (oob). Supported type: otp.",
    )


def test_a_challenge_of_an_authenticator_that_is_not_there(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_app(tenant, sdk, person)

    with pytest.raises(Refused) as caught:
        sdk.challenge(sdk.login(person), "otp", "totp|dev_0000000000000000")

    assert caught.value.literals == ("invalid_authenticator", "Authenticator not found")


def test_an_enrollment_during_a_later_login(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_app(tenant, sdk, person)

    with pytest.raises(Refused) as caught:
        sdk.enroll(sdk.login(person), "otp")

    assert (caught.value.kind, caught.value.literals) == (
        "MfaEnrollmentError",
        ("access_denied", "User is already enrolled."),
    )


def test_a_number_that_is_none(sdk: Sdk, person: Person) -> None:
    with pytest.raises(Refused) as caught:
        sdk.enroll(sdk.login(person), "sms", "+1")

    assert caught.value.literals == ("invalid_request", "The phone number is invalid.")


def test_an_mfa_token_that_is_none(sdk: Sdk) -> None:
    token = sdk.held("Fe26.2*none")
    refusals = []

    for call in (
        lambda: sdk.challenge(token, "otp"),
        lambda: sdk.verify(token, otp="123456"),
        lambda: sdk.list(token),
        lambda: sdk.enroll(token, "otp"),
    ):
        with pytest.raises(Refused) as caught:
            call()
        refusals.append(caught.value.literals)

    malformed, unusable = ("invalid_grant", "Malformed mfa_token"), ("invalid_grant", UNUSABLE_BEARER)
    assert refusals == [malformed, malformed, unusable, unusable]


def test_an_mfa_token_whose_time_is_over(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)
    token = sdk.login(person)
    refusals = []

    with tenant.later(601):
        for call in (
            lambda: sdk.challenge(token, "otp"),
            lambda: sdk.verify(token, otp=tenant.world.otp(app.secret)),
            lambda: sdk.list(token),
            lambda: sdk.enroll(token, "otp"),
        ):
            with pytest.raises(Refused) as caught:
                call()
            refusals.append(caught.value.literals)

    assert refusals == [("expired_token", "mfa_token is expired")] * 4


def test_an_mfa_token_that_was_used(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)
    token = sdk.login(person)
    sdk.verify(token, otp=tenant.world.otp(app.secret))

    with pytest.raises(Refused) as caught:
        sdk.challenge(token, "otp")

    assert caught.value.literals == ("expired_token", "mfa_token is invalid")


@pytest.mark.requirement("S7")
def test_codes_that_were_wrong_too_often(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)
    token = sdk.login(person)
    wrong = other(tenant.world.otp(app.secret))
    for _ in range(10):
        with pytest.raises(Refused, match="Invalid otp_code"):
            sdk.verify(token, otp=wrong)

    with pytest.raises(Refused) as caught:
        sdk.verify(token, otp=tenant.world.otp(app.secret))

    assert caught.value.literals == (
        "invalid_request",
        "Too many failed codes. Wait for some minutes before retrying.",
    )


@pytest.mark.parametrize("sdk", ["auth-js"], indirect=True)
def test_a_deletion_with_an_mfa_token(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_app(tenant, sdk, person)
    token = sdk.login(person)
    (row,) = [row for row in sdk.list(token) if row.type == "otp"]

    with pytest.raises(Refused) as caught:
        sdk.delete(token, row.id)

    assert (caught.value.kind, caught.value.literals) == (
        "MfaDeleteAuthenticatorError",
        ("invalid_grant", UNUSABLE_BEARER),
    )


@pytest.mark.parametrize("sdk", ["auth-js"], indirect=True)
def test_a_deletion_of_what_is_not_there(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    app, _ = enroll_app(tenant, sdk, person)
    token = managing(tenant, sdk, person, app.secret)

    with pytest.raises(Refused) as caught:
        sdk.delete(token, "totp|dev_0000000000000000")

    assert caught.value.literals == ("invalid_authenticator", "Authenticator not found")


@pytest.mark.parametrize("sdk", ["auth-js"], indirect=True)
def test_an_authenticator_type_that_is_unknown(sdk: Sdk, person: Person) -> None:
    with pytest.raises(Refused) as caught:
        sdk.enroll(sdk.login(person), "duo")

    error, _ = caught.value.literals
    assert error == "unsupported_authenticator_type"
