"""Resource servers of docs/resource-servers.md in Go and Java; `make test-clients` has their tools, and runs them."""

import os
import subprocess
from pathlib import Path

import httpx2
import pytest
from cofactor_server.domain.parties.apis import TokenProfile

from tests.resource_servers.issuer import EXAMPLES, issuing, judge, listening

pytestmark = pytest.mark.timeout(600)  # both are compiled first
GO = os.environ.get("GO", "go")
MVN = os.environ.get("MVN", "mvn")


@pytest.fixture(scope="module")
def classpath(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiled decoders, and what they need."""
    target = tmp_path_factory.mktemp("spring")
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath"
    command = [MVN, "-q", "-B", "--no-transfer-progress", f"-DbuildDirectory={target}", "compile", plugin]
    file = target / "classpath"
    subprocess.run([*command, f"-Dmdep.outputFile={file}"], cwd=EXAMPLES / "spring", check=True, timeout=500)
    return f"{target / 'classes'}:{file.read_text().strip()}"


@pytest.mark.parametrize("profile", [TokenProfile.RFC9068, TokenProfile.AUTH0])
async def test_spring_security_takes_an_access_token_and_nothing_else(
    tmp_path: Path, classpath: str, profile: TokenProfile
) -> None:
    async with issuing(tmp_path, profile) as issued:
        good, bad = await judge(("java", "-cp", classpath, "example.Decoders", profile), issued)

    assert good.startswith("ok usr_")
    assert {why: said.split()[0] for why, said in bad.items()} == dict.fromkeys(issued.bad, "refused"), bad


async def test_springs_default_decoder_refuses_the_type_of_rfc_9068(tmp_path: Path, classpath: str) -> None:
    async with issuing(tmp_path, TokenProfile.RFC9068) as issued:
        good, _ = await judge(("java", "-cp", classpath, "example.Decoders", "auth0"), issued)

    assert "typ" in good


@pytest.fixture
def program(tmp_path: Path) -> Path:
    built = tmp_path / "orders"
    subprocess.run([GO, "build", "-o", built, "."], cwd=EXAMPLES / "go", check=True, timeout=500)
    return built


async def test_go_jwt_middleware_takes_tokens_of_auth0s_profile_and_nothing_else(tmp_path: Path, program: Path) -> None:
    async with (
        issuing(tmp_path, TokenProfile.AUTH0) as issued,
        listening((str(program),), issued, tmp_path) as url,
        httpx2.AsyncClient() as http,
    ):

        async def status(token: str) -> int:
            return (await http.get(url, headers={"authorization": f"Bearer {token}"})).status_code

        assert await status(issued.good) == 200
        assert {why: await status(token) for why, token in issued.bad.items()} == dict.fromkeys(issued.bad, 401)
