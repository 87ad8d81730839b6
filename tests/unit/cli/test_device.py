"""`cofactor device` against a demo: paired, prompted, approved and denied with no phone."""

import json
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cofactor.testing.v1 import clock_pb2
from cofactor.testing.v1.clock_pb2_grpc import ClockServiceStub
from google.protobuf.duration_pb2 import Duration
from typer.testing import Result

from tests.unit.cli.conftest import COMMAND, Process, environment_in, run
from tests.unit.cli.test_demo import OTP, PORTS, Demo

pytestmark = pytest.mark.timeout(240)
OOB = OTP.replace("mfa-otp", "mfa-oob")

Device = Callable[..., Result]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "stderr").open("w") as errors:
        arguments = ("demo", "--test", *PORTS, "--state-dir", str(folder / "state"))
        process = Process(arguments, environment_in(folder), errors)
        try:
            running = Demo(process, folder / "state")
            yield running
            running.http.close()
        finally:
            process.end()


@pytest.fixture
def device(demo: Demo, environment: dict[str, str]) -> Device:
    """Run a command of the device, in this process."""

    def in_demo(*arguments: str, typed: str = "") -> Result:
        return run(environment, "device", *arguments, "--demo", str(demo.state), typed=typed)

    return in_demo


@pytest.fixture(scope="module")
def paired(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What pairing printed; the demo's user has the terminal for a second factor from now on."""
    mfa_token = demo.log_in().json()["mfa_token"]
    body = {"authenticator_types": ["oob"], "oob_channels": ["auth0"]}
    begun = demo.http.post("/mfa/associate", json=body, headers={"authorization": f"Bearer {mfa_token}"}).json()
    environment = environment_in(tmp_path_factory.mktemp("environment"))
    ran = run(environment, "device", "pair", "--demo", str(demo.state), "--json", typed=begun["barcode_uri"])
    assert ran.exit_code == 0, ran.stderr
    assert redeemed(demo, mfa_token, begun["oob_code"])["token_type"] == "Bearer"
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def redeemed(demo: Demo, mfa_token: str, oob_code: str) -> dict[str, Any]:
    grant = {"grant_type": OOB, "mfa_token": mfa_token, "oob_code": oob_code}
    found: dict[str, Any] = demo.http.post("/oauth/token", data=grant | demo.client).json()
    return found


def prompted(demo: Demo) -> tuple[str, dict[str, Any]]:
    mfa_token = demo.log_in().json()["mfa_token"]
    wanted = {"mfa_token": mfa_token, "challenge_type": "oob"}
    asked = demo.http.post("/mfa/challenge", data=wanted | demo.client)
    if "retry-after" in asked.headers:  # after five prompts there is one in twelve seconds
        with grpc.insecure_channel(demo.told["grpc"]) as channel:
            age = clock_pb2.AdvanceTimeRequest(by=Duration(seconds=int(asked.headers["retry-after"])))
            ClockServiceStub(channel).AdvanceTime(age, timeout=10)
        asked = demo.http.post("/mfa/challenge", data=wanted | demo.client)
    assert asked.status_code == 200, asked.text
    found: dict[str, Any] = asked.json()
    return mfa_token, found


def test_the_key_is_for_this_user_only(demo: Demo, paired: dict[str, Any], device: Device) -> None:
    file = Path(paired["file"])

    assert file == demo.state / "device.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    refused = device("pair", typed="otpauth://totp/x?enrollment_tx_id=x&base_url=x")
    assert (refused.exit_code, "a device is kept there" in refused.stderr) == (1, True)


def test_a_login_is_approved_by_its_number(demo: Demo, paired: dict[str, Any], device: Device) -> None:
    mfa_token, challenge = prompted(demo)
    said = device("approve", challenge["number"])

    assert (said.exit_code, "Demo client" in said.stdout, "approved" in said.stdout) == (0, True, True)
    assert redeemed(demo, mfa_token, challenge["oob_code"])["token_type"] == "Bearer"
    pushes = [entry for entry in demo.http.get("/demo/outbox").json() if entry["channel"] == "push"]
    assert json.loads(pushes[-1]["payload"]["shown"])["application"] == "Demo client"
    assert pushes[-1]["payload"]["device"] == paired["device"]


def test_a_login_is_denied(demo: Demo, paired: dict[str, Any], device: Device) -> None:
    mfa_token, challenge = prompted(demo)

    assert json.loads(device("deny", "--json").stdout)["state"] == "denied"
    assert redeemed(demo, mfa_token, challenge["oob_code"])["error"] == "access_denied"


def test_a_wrong_number_denies_and_fails(demo: Demo, paired: dict[str, Any], device: Device) -> None:
    _, challenge = prompted(demo)
    said = device("approve", f"{(int(challenge['number']) + 1) % 10**6:06d}", "--json")

    assert (said.exit_code, json.loads(said.stdout)["state"]) == (1, "denied")


def test_of_several_prompts_one_has_to_be_named(demo: Demo, paired: dict[str, Any], device: Device) -> None:
    prompted(demo)
    _, challenge = prompted(demo)
    newest = [entry for entry in demo.http.get("/demo/outbox").json() if entry["channel"] == "push"][-1]
    refused = device("approve", challenge["number"])
    named = newest["payload"]["challenge"]

    assert (refused.exit_code, "several prompts wait" in refused.stderr) == (1, True)
    assert device("approve", challenge["number"], "--challenge", named).exit_code == 0
    assert device("deny").exit_code == 0
    nothing = device("deny", "--wait", "0.5")
    assert (nothing.exit_code, "nothing waits" in nothing.stderr) == (1, True)


def test_watching_prints_what_comes(
    demo: Demo, paired: dict[str, Any], device: Device, environment: dict[str, str]
) -> None:
    with subprocess.Popen(
        [COMMAND, "device", "watch", "--demo", str(demo.state), "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        heard = [json.loads(watching.stdout.readline())]
        _, challenge = prompted(demo)
        heard.append(json.loads(watching.stdout.readline()))
        assert device("approve", challenge["number"]).exit_code == 0
        heard.append(json.loads(watching.stdout.readline()))
        watching.terminate()

    assert [event["event"] for event in heard] == ["listening", "prompt", "withdrawn"]
    assert (heard[1]["application"], heard[1]["number_wanted"]) == ("Demo client", True)


def test_the_device_shows_one_time_passwords(demo: Demo, paired: dict[str, Any], device: Device) -> None:
    mfa_token = demo.log_in().json()["mfa_token"]
    grant = {"grant_type": OTP, "mfa_token": mfa_token, "otp": device("code").stdout.strip()}

    assert demo.http.post("/oauth/token", data=grant | demo.client).json()["token_type"] == "Bearer"


def test_the_last_authenticator_is_not_given_up(demo: Demo, paired: dict[str, Any], device: Device) -> None:
    refused = device("remove")

    assert (refused.exit_code, "A stronger authentication is needed" in refused.stderr) == (1, True)
    assert Path(paired["file"]).exists()


@pytest.mark.parametrize("scanned", ["", "https://example.com/", "otpauth://totp/x?secret=ABC"])
def test_what_is_no_devices_code_is_refused(scanned: str, device: Device, tmp_path: Path) -> None:
    refused = device("pair", "--file", str(tmp_path / "device.json"), typed=scanned)

    assert (refused.exit_code, "not what a QR code for a device says" in refused.stderr) == (1, True)
    assert not (tmp_path / "device.json").exists()


def test_a_file_that_others_read_is_refused(device: Device, tmp_path: Path) -> None:
    file = tmp_path / "device.json"
    file.write_text("{}")
    file.chmod(0o644)
    exposed = device("code", "--file", str(file))
    file.chmod(0o600)
    other = device("code", "--file", str(file))
    missing = device("code", "--file", str(tmp_path / "none.json"))

    assert [(ran.exit_code, len(ran.stderr.splitlines())) for ran in (exposed, other, missing)] == [(1, 1)] * 3
    assert "others can read it" in exposed.stderr
