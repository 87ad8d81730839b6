"""`cofactor keys rotate` beside servers under load, killed in the middle and begun again."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cofactor_server.store import resealing
from cofactor_server.store.tables import metadata
from cofactor_server.vault import rotation
from cofactor_server.vault.columns import Columns
from cofactor_server.vault.root_keys import RootKey, edit
from sqlalchemy import Connection, insert, select

from tests.concurrency.nodes import A_DAY_AND_MORE, Node, Town, node
from tests.crash.test_kill import Loader, Person, locked_out, vouching_town
from tests.support.world import ISSUER

pytestmark = pytest.mark.timeout(180)

OLD_ROWS = 20 * resealing.ROWS
COMMAND = Path(sys.executable).with_name("cofactor")


def add_many(connection: Connection, columns: Columns) -> None:
    """Copy somebody's authenticator to many who do not exist, each sealed to its place."""
    table = metadata.tables["authenticators"]
    one = connection.execute(select(table).where(table.c.kind == "totp")).mappings().first()
    assert one is not None
    place = ("authenticators", "credential")
    credential = columns.open(*place, one["user_id"], one["id"], one["credential"])
    rows = [
        {**one, "user_id": f"usr_{number}", "credential": columns.seal(*place, f"usr_{number}", one["id"], credential)}
        for number in range(OLD_ROWS)
    ]
    connection.execute(insert(table), rows)


async def begin_rotation(url: str, folder: Path) -> asyncio.subprocess.Process:
    """Start `cofactor keys rotate`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COFACTOR_")}
    environment |= {
        "COFACTOR_ISSUER": ISSUER,
        "COFACTOR_KEYRING_FILE": str(folder / "keyring.json"),
        "COFACTOR_DATABASE_URL": url,
    }
    arguments = ("keys", "rotate", "--json")
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(COMMAND, *arguments, env=environment, stdout=pipe, stderr=pipe)


async def rotate(url: str, folder: Path) -> Any:
    """Run it to the end, and return what it says."""
    process = await begin_rotation(url, folder)
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    return json.loads(said)


async def killed_in_the_middle(town: Town, url: str, folder: Path) -> None:
    """Begin a rotation, and kill it when a part of the old rows is sealed again."""
    first = town.world.keyring.active_id
    process = await begin_rotation(url, folder)
    async with asyncio.timeout(60):
        while True:
            town.world.keyring.follow()
            totals = await town.world.app.rotation.totals()
            if town.world.keyring.active_id != first and totals[town.world.keyring.active_id] > resealing.ROWS:
                break
            await asyncio.sleep(0.05)
    process.kill()
    await process.communicate()
    assert process.returncode == -signal.SIGKILL
    totals = await town.world.app.rotation.totals()
    assert totals[first] > resealing.ROWS


@asynccontextmanager
async def loaded(town: Town, nodes: Sequence[Node]) -> AsyncIterator[list[Person]]:
    """Enroll people and log them in while the block runs; whatever fails, fails the test."""
    stop = asyncio.Event()
    loaders = [Loader(town, at, number) for number, at in enumerate(nodes)]
    people: list[Person] = []

    async def load(loader: Loader) -> None:
        while not stop.is_set():
            person = Person(f"person-{loader.number}-{len(loader.people)}")
            loader.people.append(person)
            await loader._live(person)

    tasks = [asyncio.create_task(load(loader)) for loader in loaders]
    yield people
    stop.set()
    await asyncio.gather(*tasks)
    people.extend(person for loader in loaders for person in loader.people)


@pytest.mark.requirement("S158", "S23", "S73")
async def test_root_keys_are_replaced_under_load_and_after_a_kill(
    prepared_url: str, engine: str, tmp_path: Path, root_keys: Sequence[RootKey]
) -> None:
    count = 2 if engine == "postgresql" else 1  # to SQLite one process writes, beside the one that rotates
    async with vouching_town(prepared_url, tmp_path, root_keys) as town, AsyncExitStack() as stack:
        entering = (stack.enter_async_context(node(town, prepared_url, tmp_path)) for _ in range(count))
        serving = await asyncio.gather(*entering)
        await Loader(town, serving[0], 9)._live(witness := Person("witness"))
        await town.world.app.database.transact(lambda c: add_many(c, Columns(town.world.keyring)))
        async with loaded(town, serving) as people:
            await killed_in_the_middle(town, prepared_url, tmp_path)
            finished = await rotate(prepared_url, tmp_path)
        assert (finished["new_key"], finished["left"], finished["broken"]) == (False, 0, {})
        assert finished["resealed"] > resealing.ROWS
        assert len(people) > len(serving)

        file = tmp_path / "keyring.json"
        edit(file, lambda keys: rotation.retired(keys, 0))
        edit(file, lambda keys: rotation.without(keys, keys))
        town.world.keyring.follow()
        assert len(town.world.keyring.keys) == 1
        town.world.clock.advance(A_DAY_AND_MORE)
        for at in serving:
            out = [line for person in (witness, *people[-5:]) for line in await locked_out(town, at, person)]
            assert out == []
            town.world.clock.advance(A_DAY_AND_MORE)
