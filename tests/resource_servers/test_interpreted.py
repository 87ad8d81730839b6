"""Resource servers of docs/resource-servers.md in Python and JavaScript, against tokens of a live deployment."""

import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from cofactor_server.domain.parties.apis import TokenProfile

from tests.resource_servers.issuer import EXAMPLES, ROOT, Issued, issuing, judge, listening

NODE = os.environ.get("NODE", "node")


@pytest.fixture
async def issued(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Issued]:
    async with issuing(tmp_path, request.param) as found:
        yield found


RFC9068 = pytest.mark.parametrize("issued", [TokenProfile.RFC9068], indirect=True)
AUTH0 = pytest.mark.parametrize("issued", [TokenProfile.AUTH0], indirect=True)


@RFC9068
@pytest.mark.parametrize(
    "command",
    [(sys.executable, "pyjwt_check.py"), (sys.executable, "authlib_check.py"), (NODE, "node/jose.mjs")],
    ids=["PyJWT", "Authlib", "jose"],
)
async def test_a_library_takes_an_access_token_and_nothing_else(issued: Issued, command: tuple[str, ...]) -> None:
    good, bad = await judge(command, issued)

    assert good.startswith("ok usr_")
    assert {why: said.split()[0] for why, said in bad.items()} == dict.fromkeys(issued.bad, "refused"), bad


@AUTH0
async def test_express_oauth2_jwt_bearer_takes_tokens_of_auth0s_profile_and_nothing_else(issued: Issued) -> None:
    async with listening((NODE, "express.mjs"), issued, EXAMPLES / "node") as url, httpx2.AsyncClient() as http:

        async def status(token: str) -> int:
            return (await http.get(url, headers={"authorization": f"Bearer {token}"})).status_code

        assert await status(issued.good) == 200
        assert {why: await status(token) for why, token in issued.bad.items()} == {
            "an id_token": 401,
            "for another audience": 401,
            "without the scope": 403,
            "altered": 401,
        }


def test_the_page_shows_the_files_that_are_run() -> None:
    page = (ROOT / "docs" / "resource-servers.md").read_text()
    shown = set(re.findall(r"```\w+\n(.*?)```", page, re.DOTALL))
    found = 0
    for file in sorted(EXAMPLES.rglob("*")):
        if file.is_file() and "node_modules" not in file.parts and file.suffix in {".py", ".mjs", ".go", ".java"}:
            for part in re.findall(r"[#/]+ \[(\w+)\]\n(.*?)[ \t]*[#/]+ \[/\1\]", file.read_text(), re.DOTALL):
                found += 1
                lines = part[1].splitlines()
                indent = min(len(line) - len(line.lstrip()) for line in lines if line)
                text = "".join(f"{line[indent:]}\n" for line in lines).rstrip() + "\n"
                assert text in shown, f"{file.name} [{part[0]}]"
    assert found == 7
