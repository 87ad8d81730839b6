"""The README's commands, run as a stranger runs them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
COFACTOR = Path(sys.executable).with_name("cofactor")


pytestmark = pytest.mark.timeout(240)  # processes, on machines that do other things, too


@pytest.fixture
def beside_a_demo(tmp_path: Path) -> Iterator[Path]:
    """A folder with a running demo's state in it, as `make run` leaves one."""
    state = tmp_path / ".cofactor"
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(COFACTOR.parent)
    with (tmp_path / "demo.log").open("wb") as log:
        demo = subprocess.Popen(
            [COFACTOR, "demo", "--http-port", "0", "--grpc-port", "0", "--state-dir", state],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        deadline = time.monotonic() + 60
        while not (state / "demo.json").exists():
            assert demo.poll() is None, (tmp_path / "demo.log").read_text()
            assert time.monotonic() < deadline, "the demo was not ready within a minute"
            time.sleep(0.1)
        yield tmp_path
    finally:
        demo.send_signal(signal.SIGTERM)
        demo.wait(timeout=20)


def test_the_readme_s_shell_blocks_work_pasted_one_after_the_other(beside_a_demo: Path) -> None:
    script = "\n".join(re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL))

    # One block shows that a code works once: both tries have to fall into one time step.
    time.sleep(30 - time.time() % 30 if time.time() % 30 > 10 else 0)
    ran = subprocess.run(
        ["bash", "-eu", "-c", script], cwd=beside_a_demo, capture_output=True, text=True, timeout=180, check=False
    )

    assert ran.returncode == 0, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith(("{", "["))]
    assert answers[0]["error"] == "mfa_required"
    assert answers[1] == []
    assert len(answers[2]["recovery_codes"]) == 1
    assert answers[3]["token_type"] == "Bearer"
    assert answers[4] == {"challenge_type": "otp"}
    assert answers[5] == {"error": "invalid_grant", "error_description": "Invalid otp_code."}
    assert answers[6]["token_type"] == "Bearer"
    assert answers[7]["recovery_code"] != answers[2]["recovery_codes"][0]
    assert answers[8][0]["active"] is True
    assert answers[9]["name"] == "My phone"
    assert "204" in ran.stdout.splitlines()
    assert (answers[10]["oob_channel"], answers[10]["binding_method"]) == ("sms", "prompt")
    assert (answers[11][-1]["channel"], answers[11][-1]["to"]) == ("sms", "+12025550123")
    assert answers[12]["token_type"] == "Bearer"
    assert answers[13]["binding_method"] == "prompt"
    assert answers[14]["token_type"] == "Bearer"
    assert answers[15]["token_type"] == "Bearer"
    assert answers[16].keys() == {"challenge_type", "oob_code", "number"}
    assert answers[17]["error"] == "authorization_pending"
    assert answers[18]["token_type"] == "Bearer"


def test_the_readme_s_grpc_example_ends_with_tokens(beside_a_demo: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)

    ran = subprocess.run(
        [sys.executable, "-c", example],
        cwd=beside_a_demo,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["mfa_required enroll", "tokens Bearer"]
