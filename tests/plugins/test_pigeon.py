"""A plugin, built and installed as a stranger's would be: the contract test, and a server that serves it."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import grpc
import pytest
from cofactor.v1 import authenticators_pb2, challenges_pb2, tokens_pb2
from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
from cofactor.v1.challenges_pb2_grpc import ChallengeServiceStub
from cofactor.v1.tokens_pb2_grpc import TokenServiceStub

from tests.unit.cli.conftest import Invoke, Start, deployed, environment, invoke, line_of, parsed, start, template

__all__ = ["deployed", "environment", "invoke", "start", "template"]  # fixtures

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PASSWORD = "correct horse battery staple"
pytestmark = pytest.mark.timeout(240)  # processes, on machines that do other things, too


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin's wheel in it, as an installer unpacks one."""
    folder = tmp_path_factory.mktemp("pigeon")
    shutil.copytree(HERE / "pigeon", folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=folder / "source", check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_factor_keeps_the_contract(site: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-q", "-k", "pigeon", "tests/unit/factors/test_contract.py"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed is not None
    assert int(passed[1]) >= 20


def test_a_provider_that_lacks_a_setting_stops_the_start(deployed: Invoke, start: Start, site: Path) -> None:
    served = {"PYTHONPATH": str(site), "COFACTOR_FACTORS": "totp,pigeon", "COFACTOR_DELIVERY": "pigeon=flight"}
    process = start("serve", **served)
    assert process.wait() == 1
    assert process.stderr == "cofactor: COFACTOR_DELIVERY: flight: 'PIGEON_LOFTS'\n"


def test_what_is_not_installed_is_not_served(deployed: Invoke, environment: dict[str, str]) -> None:
    environment["COFACTOR_FACTORS"] = "totp,pigeon"
    assert "no factor pigeon" in line_of(deployed("serve"))


def test_a_user_enrolls_and_logs_in_with_it(deployed: Invoke, start: Start, site: Path, tmp_path: Path) -> None:
    loft = tmp_path / "lofts" / "home"
    loft.mkdir(parents=True)
    client = parsed(deployed("clients", "create", "Shop", "--grant", "password", "--grant", "mfa", "--json"))
    assert deployed("users", "create", "jane", "--password-stdin", typed=PASSWORD).exit_code == 0
    process = start(
        "serve",
        PYTHONPATH=str(site),
        PIGEON_LOFTS=str(loft.parent),
        COFACTOR_FACTORS="totp,pigeon",
        COFACTOR_DELIVERY="pigeon=flight",
        COFACTOR_MFA_POLICY="always",
    )
    process.says('"serving"')
    told = next(json.loads(line) for line in process.stderr.splitlines() if '"serving"' in line)
    credentials = (("cofactor-client-id", client["client_id"]), ("cofactor-client-secret", client["client_secret"]))
    with grpc.insecure_channel(told["grpc"]) as channel:
        tokens = TokenServiceStub(channel)

        def log_in() -> str:
            grant = tokens_pb2.PasswordGrant(username="jane", password=PASSWORD)
            issued = tokens.IssueToken(tokens_pb2.IssueTokenRequest(password=grant), metadata=credentials)
            return issued.mfa_required.mfa_token

        def answer(mfa_token: str, oob_code: str, code: str) -> str | None:
            grant = tokens_pb2.MfaOobGrant(mfa_token=mfa_token, oob_code=oob_code, binding_code=code)
            issued = tokens.IssueToken(tokens_pb2.IssueTokenRequest(mfa_oob=grant), metadata=credentials)
            return issued.WhichOneof("outcome")

        mfa_token = log_in()
        wanted = authenticators_pb2.PluginEnrollment(kind="pigeon", destination="home")
        enrolled = AuthenticatorServiceStub(channel).EnrollAuthenticator(
            authenticators_pb2.EnrollAuthenticatorRequest(plugin=wanted),
            metadata=(("authorization", f"Bearer {mfa_token}"),),
        )
        assert answer(mfa_token, enrolled.oob.oob_code, landed(loft)) == "tokens"

        mfa_token = log_in()
        created = ChallengeServiceStub(channel).CreateChallenge(
            challenges_pb2.CreateChallengeRequest(),
            metadata=(*credentials, ("authorization", f"Bearer {mfa_token}")),
        )
        assert answer(mfa_token, created.oob_code, landed(loft)) == "tokens"


def landed(loft: Path) -> str:
    """Return the code of the one message in the loft, and take it out; notices are left to lie."""
    (letter,) = [file for file in loft.glob("*.json") if "verification code" in file.read_text()]
    text = str(json.loads(letter.read_text())["text"])
    letter.unlink()
    return text[:6]
