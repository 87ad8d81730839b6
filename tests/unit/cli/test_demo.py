"""The demo, started as `make run` does."""

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pyotp
import pytest
from cofactor.v1 import tokens_pb2
from cofactor.v1.tokens_pb2_grpc import TokenServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.unit.cli.conftest import COMMAND, Process, Start, environment_in

pytestmark = pytest.mark.timeout(240)  # processes, on machines that do other things, too
PORTS = ("--http-port", "0", "--grpc-port", "0")
ANEW = {"grpc": "", "management": "", "management_token": ""}
"""What is another at every start."""
OTP = "http://auth0.com/oauth/grant-type/mfa-otp"


class Demo:
    def __init__(self, process: Process, state: Path) -> None:
        self.process = process
        self.state = state
        self.file = state / "demo.json"
        process.until(self.file.exists)
        self.told: dict[str, str] = json.loads(self.file.read_text())
        self.http = httpx2.Client(base_url=self.told["http"])
        self.client = {key: self.told[key] for key in ("client_id", "client_secret")}

    def log_in(self) -> httpx2.Response:
        names = {key: self.told[key] for key in ("username", "password")}
        return self.http.post("/oauth/token", data={"grant_type": "password"} | self.client | names)


@pytest.fixture
def demo(start: Start, tmp_path: Path) -> Iterator[Demo]:
    """A demo of this test's own."""
    running = Demo(start("demo", *PORTS, "--state-dir", str(tmp_path / "state")), tmp_path / "state")
    yield running
    running.http.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo for tests that change nothing."""
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "stderr").open("w") as errors:
        process = Process(("demo", *PORTS, "--state-dir", str(folder / "state")), environment_in(folder), errors)
        try:
            running = Demo(process, folder / "state")
            yield running
            running.http.close()
        finally:
            process.end()


@pytest.mark.requirement("S78")
def test_what_the_demo_keeps_is_its_owners_alone(shared: Demo) -> None:
    assert stat.S_IMODE(shared.state.stat().st_mode) == 0o700
    for file in shared.state.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert {"http", "grpc", "issuer", "client_id", "client_secret", "username", "password"} <= shared.told.keys()
    assert shared.told["issuer"] == shared.told["http"] + "/"


def test_a_login_asks_for_mfa_enrolls_and_asks_again(demo: Demo) -> None:
    asked = demo.log_in()
    assert (asked.status_code, asked.json()["error"]) == (403, "mfa_required")
    bearer = {"authorization": f"Bearer {asked.json()['mfa_token']}"}
    enrolled = demo.http.post("/mfa/associate", json={"authenticator_types": ["otp"]}, headers=bearer).json()
    assert len(enrolled["recovery_codes"]) == 1
    code = pyotp.TOTP(enrolled["secret"]).now()
    data = {"grant_type": OTP, "mfa_token": asked.json()["mfa_token"], "otp": code} | demo.client
    assert demo.http.post("/oauth/token", data=data).json()["token_type"] == "Bearer"
    again = demo.log_in().json()
    assert {"type": "otp"} in again["mfa_requirements"]["challenge"]
    replay = demo.http.post("/oauth/token", data=data | {"mfa_token": again["mfa_token"]})
    assert (replay.status_code, replay.json()["error"]) == (403, "invalid_grant")


@pytest.mark.requirement("S77")
def test_grpc_asks_for_mfa_as_well_and_is_healthy_and_described(shared: Demo) -> None:
    with grpc.insecure_channel(shared.told["grpc"]) as channel:
        health_stub: Any = health_pb2_grpc.HealthStub(channel)
        health = health_stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        metadata = (
            ("cofactor-client-id", shared.told["client_id"]),
            ("cofactor-client-secret", shared.told["client_secret"]),
        )
        grant = tokens_pb2.PasswordGrant(username=shared.told["username"], password=shared.told["password"])
        request = tokens_pb2.IssueTokenRequest(password=grant)
        outcome = TokenServiceStub(channel).IssueToken(request, metadata=metadata, timeout=10)
        assert outcome.WhichOneof("outcome") == "mfa_required"
        asked: Any = reflection_pb2.ServerReflectionRequest(list_services="")
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        (listed,) = stub.ServerReflectionInfo(iter([asked]), timeout=10)
        assert "cofactor.v1.TokenService" in {service.name for service in listed.list_services_response.service}


def test_the_outbox_is_empty_at_first(shared: Demo) -> None:
    response = shared.http.get("/demo/outbox")
    assert (response.json(), response.headers["cache-control"]) == ([], "no-store")
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", ["/demo/outbox", "/oauth/token", "/.well-known/jwks.json"])
def test_a_page_that_rebinds_its_name_to_us_is_refused(path: str, shared: Demo) -> None:
    assert shared.http.get(path, headers={"host": "evil.example"}).status_code == 400


def test_operators_are_served_on_a_port_of_their_own(shared: Demo) -> None:
    at, headers = shared.told["management"], {"authorization": f"Bearer {shared.told['management_token']}"}
    path = "/api/v2/guardian/factors"
    factors = httpx2.get(f"{at}{path}", headers=headers).json()
    assert [factor["name"] for factor in factors if not factor["enabled"]] == ["duo"]
    rebound = httpx2.get(f"{at}{path}", headers=headers | {"host": "evil.example"})
    assert (rebound.status_code, rebound.json()["errorCode"]) == (400, "invalid_body")
    assert shared.http.get(path, headers=headers).status_code == 404


def test_credentials_stay_over_a_restart_on_the_same_port(demo: Demo, start: Start) -> None:
    port = demo.told["http"].rpartition(":")[2]
    assert demo.process.stop() == 0
    demo.file.rename(demo.state / "before.json")
    (demo.state / "before.json").rename(demo.file)
    mark = demo.file.stat().st_ino
    again = start("demo", "--http-port", port, "--grpc-port", "0", "--state-dir", str(demo.state))
    again.until(lambda: demo.file.stat().st_ino != mark)
    told = json.loads(demo.file.read_text())
    assert {**told, **ANEW} == {**demo.told, **ANEW}
    assert demo.log_in().status_code == 403


def test_each_port_and_each_folder_has_credentials_of_its_own(shared: Demo, start: Start, tmp_path: Path) -> None:
    other = Demo(start("demo", *PORTS, "--state-dir", str(tmp_path / "other")), tmp_path / "other")
    for key in ("client_id", "client_secret", "password", "issuer"):
        assert other.told[key] != shared.told[key]
    other.http.close()


def test_a_taken_port_and_a_taken_folder_are_one_line(shared: Demo, start: Start, tmp_path: Path) -> None:
    port = shared.told["http"].rpartition(":")[2]
    second = start("demo", "--http-port", port, "--grpc-port", "0", "--state-dir", str(tmp_path / "other"))
    assert second.wait() == 1
    assert second.stderr == f"cofactor: 127.0.0.1:{port}: address in use\n"
    third = start("demo", *PORTS, "--state-dir", str(shared.state))
    assert third.wait() == 1
    assert "another demo runs there" in third.stderr


def test_sigterm_ends_it_with_0(demo: Demo) -> None:
    with grpc.insecure_channel(demo.told["grpc"]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert demo.process.stop(seconds=10) == 0
        assert demo.process.stderr == ""


def test_serve_refuses_its_database(demo: Demo, start: Start) -> None:
    assert demo.process.stop() == 0
    (database,) = demo.state.glob("*.sqlite3")
    refused = start(
        "serve",
        COFACTOR_ISSUER=demo.told["issuer"],
        COFACTOR_DATABASE_URL=f"sqlite:///{database}",
        COFACTOR_KEYRING_FILE=str(demo.state / "keyring.json"),
    )
    assert refused.wait() == 1
    assert "a demo's database is for the demo alone" in refused.stderr


def test_a_user_enrolls_by_the_command_line(demo: Demo, environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [COMMAND, "authenticators", "enroll", "--demo", demo.state, "--json"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as enrolling:
        assert enrolling.stdout is not None
        shown = json.loads(enrolling.stdout.readline())
        out, _ = enrolling.communicate(pyotp.TOTP(shown["secret"]).now() + "\n", timeout=30)
    assert (json.loads(out), enrolling.returncode) == ({"confirmed": shown["id"]}, 0)
    assert demo.log_in().json()["mfa_requirements"]["challenge"]
