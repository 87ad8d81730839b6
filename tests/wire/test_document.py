"""/openapi.json against the server it describes, with requests that Schemathesis draws from it."""

from typing import Any

import pytest
import schemathesis
from cofactor_server.rest import openapi
from cofactor_server.rest.app import create_app
from cofactor_server.rpc.transport.local import LocalChannel
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.wire.sdks import AuthJs
from tests.wire.tenant import Tenant
from tests.wire.test_factors import enroll_app, managing

PROMISES = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
pytestmark = pytest.mark.timeout(180)  # each test is hundreds of requests

ISSUER = "https://mfa.example.com/"
document = schemathesis.openapi.from_dict(openapi.document(create_app(LocalChannel([]), issuer=ISSUER).paths, ISSUER))
bounded = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),  # the server is one for all examples, and slow beside a function
)


@pytest.fixture(scope="module")
def access_token(tenant: Tenant, auth_js_driver: Any) -> str:
    """A token that may do everything there is to do with authenticators."""
    sdk, person = AuthJs(tenant, auth_js_driver), tenant.person()
    app, _ = enroll_app(tenant, sdk, person)
    return managing(tenant, sdk, person, app.secret)


@document.parametrize()
@bounded
def test_strangers_are_answered_as_described(case: Case[Any], tenant: Tenant) -> None:
    case.call_and_validate(base_url=tenant.issuer, checks=[*PROMISES, ignored_auth, unsupported_method])


@document.parametrize()
@bounded
def test_known_callers_are_answered_as_described(case: Case[Any], tenant: Tenant, access_token: str) -> None:
    if isinstance(case.body, dict):
        case.body |= {"client_id": tenant.client_id, "client_secret": tenant.client_secret}
        case.body |= {name: access_token for name in ("mfa_token", "token") if name in case.body}
    bearer = {} if "oauth" in case.path or "challenge" in case.path else {"Authorization": f"Bearer {access_token}"}

    case.call_and_validate(base_url=tenant.issuer, headers=bearer, checks=PROMISES)
