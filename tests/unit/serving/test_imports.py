"""A process holds what it uses: importing is most of a server's start and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

UNUSED_ON_SQLITE = ("alembic", "asyncpg", "fastapi", "mako", "pygments", "rich", "sqlalchemy.dialects.postgresql")
SERVE = """
import asyncio, json, sys
from cofactor_server import cli
from cofactor_server.seams import SystemClock, SystemEntropy
from cofactor_server.serving import running
from cofactor_server.store import schema
from cofactor_server.store.transactions.database import open_database

async def main():
    database = open_database(sys.argv[1])
    current = await database.read(schema.is_current)
    await database.close()
    print(json.dumps([current, sorted(sys.modules)]))

asyncio.run(main())
"""


def modules_of(*command: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=50, check=True, env=dict(os.environ)
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("unused", UNUSED_ON_SQLITE)
def test_serving_on_sqlite_imports_nothing_of_it(unused: str, sqlite_template: Path) -> None:
    current, modules = modules_of("-c", SERVE, f"sqlite:///{sqlite_template}")

    assert current
    assert [name for name in modules if name == unused or name.startswith(f"{unused}.")] == []


def test_help_waits_for_neither_grpc_nor_sqlalchemy() -> None:
    program = (
        "import contextlib, json, sys\nfrom cofactor_server.cli import app\n"
        "with contextlib.suppress(SystemExit):\n    app(['--help'])\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    )

    assert {"grpc", "sqlalchemy", "starlette"}.isdisjoint(modules_of("-c", program))
