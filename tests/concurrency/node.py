"""One server process, for tests of several: `python -m tests.concurrency.node DATABASE_URL KEYRING CLOCK`.

Prints its port when it serves, and ends when its standard input does.
"""

import asyncio
import mmap
import struct
import sys
from pathlib import Path

import structlog
from cofactor_server.rpc.server import announce, build_server, listen
from cofactor_server.store.transactions.group_commit import Limits
from cofactor_server.vault.keyring import Keyring
from grpc_health.v1 import health

from tests.support.world import MovableClock, World, world_on

EIGHT_OCTETS = struct.Struct("<q")


class SharedClock(MovableClock):
    """A clock that several processes read, and the test alone moves."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        if not path.exists():
            path.write_bytes(EIGHT_OCTETS.pack(self._now))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), EIGHT_OCTETS.size)

    def now(self) -> int:
        """Return microseconds since the Unix epoch."""
        return int(EIGHT_OCTETS.unpack(self._memory[:])[0])

    def advance(self, seconds: float) -> None:
        """Move for everybody by `seconds`."""
        self._memory[:] = EIGHT_OCTETS.pack(self.now() + int(seconds * 1_000_000))


async def serve(world: World) -> None:
    servicer = health.aio.HealthServicer()
    following = asyncio.create_task(follow(world))
    server = build_server(world.app.services, world.app.interceptor(), health_servicer=servicer)
    port = listen(server, "127.0.0.1:0")
    await server.start()
    await announce(servicer, serving=True)
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    await server.stop(1)
    following.cancel()


async def follow(world: World) -> None:
    """Look at the keyring's file now and then, as a server's upkeep does."""
    while True:
        await world.app.upkeep.follow_keyring()
        await asyncio.sleep(0.2)


async def main(database_url: str, keyring: str, clock_path: str) -> None:
    clock = SharedClock(Path(clock_path))
    limits = Limits()
    async with world_on(database_url, clock=clock, keyring=Keyring.load(Path(keyring), clock), limits=limits) as world:
        await serve(world)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
