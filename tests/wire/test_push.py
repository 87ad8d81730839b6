"""Push with every SDK that has an MFA client: enrolled by scanning, polled for, approved and refused."""

from typing import Any

import pytest

from tests.support.flows.phones import Owned
from tests.wire.sdks import Challenge, Refused, Sdk
from tests.wire.tenant import Person, Tenant

PENDING = ("authorization_pending", "Authorization pending: please repeat the request in a few seconds.")


def enroll_phone(tenant: Tenant, sdk: Sdk, person: Person, **pairing: Any) -> Owned:
    """Enroll a phone during the first login, polling until it has scanned."""
    token = sdk.login(person)
    push = sdk.enroll(token, "push")
    phone = tenant.phone(push.barcode_uri)
    tenant.do(phone.pair(**pairing))
    sdk.verify(token, oob_code=push.oob_code)
    return phone


def prompted(sdk: Sdk, person: Person, phone: Owned) -> tuple[str, Challenge]:
    token = sdk.login(person)
    return token, sdk.challenge(token, "oob", phone.id)


def test_a_phone_is_enrolled_by_scanning_and_polled_for(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    token = sdk.login(person)
    push = sdk.enroll(token, "push")

    with pytest.raises(Refused) as caught:
        sdk.verify(token, oob_code=push.oob_code)
    tenant.do(tenant.phone(push.barcode_uri).pair())
    with tenant.later(5):
        tokens = sdk.verify(token, oob_code=push.oob_code)

    assert (push.authenticator_type, push.oob_channel, push.binding_method) == ("oob", "auth0", "")
    assert caught.value.literals == PENDING
    assert tokens.access_token


def test_a_phone_is_listed_by_its_name_beside_its_one_time_passwords(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    enroll_phone(tenant, sdk, person)

    rows = [row for row in sdk.list(sdk.login(person)) if row.type != "recovery-code"]

    assert {(row.authenticator_type, row.type, row.active, row.name) for row in rows} == {
        ("oob", "push-notification", True, "Alice's phone"),
        ("otp", "otp", True, ""),
    }


@pytest.mark.requirement("S138")
def test_a_refused_prompt_is_an_error_that_stays(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    phone = enroll_phone(tenant, sdk, person)
    token, challenge = prompted(sdk, person, phone)
    tenant.do(phone.answer(decision="deny"))

    for _ in range(2):
        with pytest.raises(Refused) as caught:
            sdk.verify(token, oob_code=challenge.oob_code)
        assert caught.value.literals == ("access_denied", "MFA Authorization rejected.")
    assert (challenge.challenge_type, challenge.binding_method) == ("oob", "")


@pytest.mark.requirement("S136")
def test_who_polls_too_fast_is_told(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    token, challenge = prompted(sdk, person, enroll_phone(tenant, sdk, person))
    with pytest.raises(Refused):
        sdk.verify(token, oob_code=challenge.oob_code)

    with pytest.raises(Refused) as caught:
        sdk.verify(token, oob_code=challenge.oob_code)

    assert caught.value.literals == ("slow_down", "You are polling faster than allowed. Try again in 10 seconds.")


def test_a_prompt_that_is_only_approved_ends_in_tokens(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    phone = enroll_phone(tenant, sdk, person, approve_only=True)
    token, challenge = prompted(sdk, person, phone)
    tenant.do(phone.answer())

    assert challenge.number == ""
    assert sdk.verify(token, oob_code=challenge.oob_code).access_token


@pytest.mark.requirement("S97")
@pytest.mark.parametrize("sdk", ["server-python"], indirect=True)
def test_the_number_to_be_typed_is_handed_on(tenant: Tenant, sdk: Sdk, person: Person) -> None:
    phone = enroll_phone(tenant, sdk, person)
    token, challenge = prompted(sdk, person, phone)
    tenant.do(phone.answer(challenge.number))

    assert len(challenge.number) == 6
    assert sdk.verify(token, oob_code=challenge.oob_code).access_token
