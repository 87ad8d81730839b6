"""A deployment over HTTP, and tokens that resource servers must take or refuse."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cofactor_server.domain.parties.apis import Api as ResourceServer
from cofactor_server.domain.parties.apis import TokenProfile
from cofactor_server.seams import SystemClock
from cofactor_server.serving.http_server import HttpServer
from cofactor_server.serving.listening import Listening, bind, name_of

from tests.support.flows.api import rest_edge
from tests.support.flows.steps import enrolled, shop
from tests.support.world import API, world_on

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "resource-servers"
SCOPE = "openid read:orders"
OTHER = "https://other.example.test/"


@dataclass(frozen=True)
class Issued:
    """Where a deployment is, and its tokens, of which a resource server takes the first and no other."""

    issuer: str
    good: str = field(repr=False)
    bad: dict[str, str] = field(repr=False)
    """By what is wrong with it."""

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of an example."""
        return {**os.environ, "ISSUER": self.issuer, "AUDIENCE": API, **more}


@asynccontextmanager
async def issuing(folder: Path, profile: TokenProfile) -> AsyncIterator[Issued]:
    """Serve a deployment whose API has tokens of a profile, with the time of the machine."""
    sock = bind("127.0.0.1:0")
    issuer = f"http://localhost:{sock.getsockname()[1]}/"
    async with world_on(f"sqlite:///{folder / 'issuer.sqlite3'}", issuer=issuer) as world:
        world.clock.advance((SystemClock().now() - world.clock.now()) / 1_000_000)
        for audience in (API, OTHER):
            api = ResourceServer(audience, "Orders", 0, ("read:orders",), token_profile=profile)
            await world.app.apis.create(api)
        async with rest_edge(world) as edge:
            client = await shop(world, audiences=(API, OTHER))
            names = iter("abcd")
            # The clock is moved a step ahead by each login; back it goes, so that no token is of the future.
            begun = world.clock.now()

            async def token(scope: str = SCOPE, audience: str = API) -> tuple[str, str]:
                tokens = (await enrolled(edge, world, client, next(names), scope=scope, audience=audience)).tokens
                world.clock.advance((begun - world.clock.now()) / 1_000_000)
                return tokens.access_token, tokens.id_token

            good, id_token = await token()
            bad = {
                "an id_token": id_token,
                "for another audience": (await token(audience=OTHER))[0],
                "without the scope": (await token(scope="openid"))[0],
                "altered": f"{good[:-6]}{'A' if good[-6] != 'A' else 'B'}{good[-5:]}",
            }
        server = await HttpServer.started(world.app.http(), sock, Listening(name_of(sock), None, drain_seconds=0))
        try:
            yield Issued(issuer, good, bad)
        finally:
            await server.stop()


async def judge(command: Sequence[str], issued: Issued, folder: Path = EXAMPLES) -> tuple[str, dict[str, str]]:
    """Run an example that reads tokens by line; return what it says of the good one and of the others."""
    program = shutil.which(command[0])
    assert program, f"{command[0]} is not there"
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        cwd=folder,
        env=issued.environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    tokens = "".join(f"{token}\n" for token in (issued.good, *issued.bad.values()))
    said, complaint = await asyncio.wait_for(process.communicate(tokens.encode()), 50)
    lines = [line for line in said.decode().splitlines() if line.startswith(("ok ", "refused "))]
    assert len(lines) == 1 + len(issued.bad), complaint.decode()
    return lines[0], dict(zip(issued.bad, lines[1:], strict=True))


@asynccontextmanager
async def listening(command: Sequence[str], issued: Issued, folder: Path) -> AsyncIterator[str]:
    """Run an example that listens; yield the address of what it protects."""
    with bind("127.0.0.1:0") as sock:
        port = str(sock.getsockname()[1])
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=issued.environment(PORT=port))
    try:
        for _ in range(300):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", int(port))
            except OSError:
                await asyncio.sleep(0.1)
                continue
            writer.close()
            await writer.wait_closed()
            break
        yield f"http://127.0.0.1:{port}/orders"
    finally:
        process.terminate()
        await process.wait()
