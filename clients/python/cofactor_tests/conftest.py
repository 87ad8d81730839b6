"""One server for all; both twins of the client; and the rows of the table that all languages fill."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cofactor.testing import servers
from cofactor.testing.servers import Server

from cofactor_tests.twins import TWINS, Twin
from cofactor_tests.users import User

ROWS = (
    "enroll_otp",
    "verify",
    "recovery",
    "push_watch",
    "webauthn",
    "retry_delay",
    "deadline",
    "mtls",
    "reconnect",
    "vectors",
)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with servers.joined() as joined:
        yield joined


@pytest.fixture(params=TWINS, ids=lambda twin: twin.__name__)
async def twin(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Twin]:
    """The client of the demo, in either form."""
    twin: Twin = request.param(server.demo.grpc, server.demo.credentials, server.transport)
    yield twin
    await twin.close()


@pytest.fixture
def user(server: Server, twin: Twin) -> User:
    """Somebody whom nobody knows yet."""
    return User(server, twin)


class Passed:
    """Writes down the rows of which every test passed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._passed: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = report.nodeid.rpartition("::test_")[2].partition("[")[0]
        if row in ROWS:
            self._passed[row] = self._passed.get(row, True) and report.passed

    def pytest_sessionfinish(self) -> None:
        with self._file.open("a") as file:
            file.writelines(json.dumps({"row": row}) + "\n" for row, passed in self._passed.items() if passed)


def pytest_configure(config: pytest.Config) -> None:
    if file := os.environ.get("COFACTOR_ROWS"):
        config.pluginmanager.register(Passed(Path(file)))
