"""The management client of auth0-python, against the address on which operators are served."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from auth0.management import Auth0
from auth0.management.core.api_error import ApiError
from auth0.management.errors import BadRequestError, ForbiddenError, NotFoundError, UnauthorizedError
from auth0.management.types.set_user_authentication_methods import SetUserAuthenticationMethods
from cofactor_server.domain.parties.operators import Role
from cofactor_server.seams import HOUR

from tests.wire.sdks import ServerPython
from tests.wire.tenant import Person, Tenant
from tests.wire.test_factors import enroll_app

NUMBER, MAIL, SECRET = "+442071838750", "chucky@example.com", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
FACTORS = (
    "sms",
    "push-notification",
    "otp",
    "email",
    "duo",
    "webauthn-roaming",
    "webauthn-platform",
    "recovery-code",
)


@contextmanager
def client(tenant: Tenant, role: Role = Role.ADMIN, token: str = "") -> Iterator[Auth0]:
    """Yield a client of an operator; what it sends with is given, since it closes none of its own."""
    minted = token or tenant.world.app.operator_tokens.mint(role, HOUR)[0]
    with httpx.Client() as sender:
        yield Auth0(base_url=tenant.management, token=minted, httpx_client=sender)


@pytest.fixture
def auth0(tenant: Tenant) -> Iterator[Auth0]:
    """An admin's client; what it switched is on again afterwards."""
    with client(tenant) as sdk:
        yield sdk
    tenant.do(tenant.world.app.admin.switches.set_message_types(_ways(tenant)))
    tenant.do(tenant.world.app.policies.set_standing([]))


def _ways(tenant: Tenant) -> Any:
    from cofactor_server.domain.authenticators.switches import MESSAGE_TYPES

    return MESSAGE_TYPES


@pytest.fixture
def user_id(tenant: Tenant) -> str:
    return subject_of(tenant, tenant.person())


def subject_of(tenant: Tenant, person: Person) -> str:
    """Return the id of a user."""
    users = tenant.do(tenant.world.app.operators.users("default"))
    return next(user.id for user, _ in users if user.subject == person.name)


def test_a_login_is_asked_for_what_an_operator_has_added(auth0: Auth0, tenant: Tenant) -> None:
    person, sdk = tenant.person(), ServerPython(tenant)
    auth0.users.authentication_methods.create(subject_of(tenant, person), type="totp", totp_secret=SECRET)
    token = sdk.held(tenant.mfa_token(person, {"scope": "openid"}))
    assert sdk.verify(token, otp=tenant.world.otp(SECRET)).access_token


def test_factors_are_listed_and_switched(auth0: Auth0) -> None:
    assert tuple(factor.name for factor in auth0.guardian.factors.list()) == FACTORS
    for enabled in (False, True):
        assert auth0.guardian.factors.set("email", enabled=enabled).enabled is enabled
        (email,) = [factor for factor in auth0.guardian.factors.list() if factor.name == "email"]
        assert email.enabled is enabled
    with pytest.raises(BadRequestError) as caught:
        auth0.guardian.factors.set("webauthn-roaming", enabled=True)
    assert caught.value.body["errorCode"] == "invalid_body"


def test_policies_are_echoed(auth0: Auth0) -> None:
    for wanted in (["all-applications"], ["confidence-score"], []):
        assert auth0.guardian.policies.set(request=wanted) == wanted
        assert auth0.guardian.policies.list() == wanted


def test_message_types_are_echoed(auth0: Auth0) -> None:
    phone = auth0.guardian.factors.phone
    for wanted in (["voice"], ["sms", "voice"]):
        assert phone.set_message_types(message_types=wanted).message_types == wanted
        assert phone.get_message_types().message_types == wanted


def test_a_ticket_is_for_a_user_who_is_there(auth0: Auth0, user_id: str, tenant: Tenant) -> None:
    ticket = auth0.guardian.enrollments.create_ticket(user_id=user_id, factor="otp", allow_multiple_enrollments=True)
    assert ticket.ticket_url == f"{tenant.issuer}mfa/enrollment?ticket={ticket.ticket_id}"
    with pytest.raises(NotFoundError) as caught:
        auth0.guardian.enrollments.create_ticket(user_id="usr_nobody")
    assert caught.value.body == {
        "statusCode": 404,
        "error": "Not Found",
        "message": "The user does not exist.",
        "errorCode": "inexistent_user",
    }


def test_what_a_user_enrolled_is_seen_and_removed(auth0: Auth0, tenant: Tenant) -> None:
    person = tenant.person()
    enroll_app(tenant, ServerPython(tenant), person)
    user_id = subject_of(tenant, person)
    (app,) = auth0.users.enrollments.get(user_id)
    assert (app.auth_method, app.status) == ("authenticator", "confirmed")
    assert app.id is not None
    assert auth0.guardian.enrollments.get(app.id).id == app.id
    auth0.guardian.enrollments.delete(app.id)
    with pytest.raises(ApiError) as caught:
        auth0.guardian.enrollments.get(app.id)
    assert caught.value.body["errorCode"] == "enrollment_not_found"
    assert auth0.users.enrollments.get(user_id) == []


def test_a_recovery_code_is_regenerated(auth0: Auth0, tenant: Tenant) -> None:
    person = tenant.person()
    user_id = subject_of(tenant, person)
    with pytest.raises(NotFoundError, match="Enrollment not found"):
        auth0.users.regenerate_recovery_code(user_id)
    sdk = ServerPython(tenant)
    enroll_app(tenant, sdk, person)
    code = auth0.users.regenerate_recovery_code(user_id).recovery_code
    assert code is not None
    token = sdk.held(tenant.mfa_token(person, {"scope": "openid"}))
    assert sdk.verify(token, recovery_code=code).access_token


def test_methods_are_set_without_masks_and_listed_page_by_page(auth0: Auth0, user_id: str) -> None:
    methods = auth0.users.authentication_methods
    made = methods.set(
        user_id,
        request=[
            SetUserAuthenticationMethods(type="email", email=MAIL, name="Mail"),
            SetUserAuthenticationMethods(type="totp", totp_secret=SECRET, name="App"),
            SetUserAuthenticationMethods(type="phone", phone_number=NUMBER, name="Phone"),
        ],
    )
    assert [method.type for method in made] == ["email", "totp", "phone"]
    assert (made[0].email, made[1].totp_secret, made[2].phone_number) == (MAIL, SECRET, NUMBER)
    pager = methods.list(user_id, per_page=2, include_totals=True)
    assert pager.response is not None
    assert (pager.response.total, pager.response.limit) == (3, 2)
    listed = list(pager)  # until an empty page
    assert {method.id for method in listed} == {method.id for method in made}
    masked = {method.type: method for method in listed}
    assert (masked["email"].email, masked["phone"].phone_number) == ("chuc**@exam*******", "XXXXXXXXX8750")


def test_a_method_is_added_changed_and_removed(auth0: Auth0, user_id: str) -> None:
    methods = auth0.users.authentication_methods
    made = methods.create(user_id, type="phone", phone_number=NUMBER, preferred_authentication_method="voice")
    assert made.id is not None
    assert (made.phone_number, made.preferred_authentication_method) == ("XXXXXXXXX8750", "voice")
    changed = methods.update(user_id, made.id, name="Mine", preferred_authentication_method="sms")
    assert (changed.name, changed.preferred_authentication_method) == ("Mine", "sms")
    found = methods.get(user_id, made.id)
    assert (found.name, found.confirmed) == ("Mine", True)
    methods.delete(user_id, made.id)
    with pytest.raises(NotFoundError):
        methods.get(user_id, made.id)
    methods.delete_all(user_id)
    with pytest.raises(ApiError) as caught:
        methods.create(user_id, type="totp", totp_secret="JBSWY3DPEHPK3PXP")
    assert caught.value.status_code == 400


def test_everything_else_of_a_user_is_answered(auth0: Auth0, user_id: str) -> None:
    auth0.users.multifactor.invalidate_remember_browser(user_id)
    auth0.users.multifactor.delete_provider(user_id, "duo")
    auth0.users.authenticators.delete_all(user_id)
    with pytest.raises(BadRequestError):
        auth0.users.multifactor.delete_provider(user_id, "other")


def test_who_may_not_is_told_so(tenant: Tenant, user_id: str) -> None:
    with client(tenant, Role.READ) as reader, pytest.raises(ForbiddenError) as caught:
        reader.users.authentication_methods.delete_all(user_id)
    assert caught.value.body["message"] == "Insufficient scope, expected any of: delete:authentication_methods"
    with client(tenant, token="somebody-elses") as stranger, pytest.raises(UnauthorizedError):
        stranger.guardian.factors.list()
