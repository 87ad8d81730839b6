from collections.abc import Iterator

import pytest

from tests.wire.node import Driver
from tests.wire.sdks import AuthJs, Sdk, ServerPython, SpaJs
from tests.wire.tenant import Person, Tenant


@pytest.fixture(scope="session")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    """One deployment for every SDK: MFA always, and every factor that a code answers."""
    with Tenant.serving(tmp_path_factory.mktemp("tenant")) as served:
        yield served


@pytest.fixture
def person(tenant: Tenant) -> Person:
    """Somebody who has a password and nothing else."""
    return tenant.person()


@pytest.fixture(scope="session")
def auth_js_driver(tenant: Tenant) -> Iterator[Driver]:
    """A process with @auth0/auth0-auth-js."""
    with Driver.running("auth-js", tenant.authority) as driver:
        yield driver


@pytest.fixture(scope="session")
def spa_js_driver(tenant: Tenant) -> Iterator[Driver]:
    """A process with @auth0/auth0-spa-js."""
    with Driver.running("spa-js", tenant.authority) as driver:
        yield driver


@pytest.fixture(params=["auth-js", "spa-js", "server-python"])
def sdk(request: pytest.FixtureRequest, tenant: Tenant) -> Sdk:
    """A new client object of an SDK, pointed at the tenant."""
    match request.param:
        case "auth-js":
            return AuthJs(tenant, request.getfixturevalue("auth_js_driver"))
        case "spa-js":
            return SpaJs(tenant, request.getfixturevalue("spa_js_driver"))
    return ServerPython(tenant)


@pytest.fixture(autouse=True)
def _trusting(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have httpx and requests trust the tenant's authority, as an operator of a private one would."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tenant.authority))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tenant.authority))
