"""What watching costs: memory a watcher, and how soon a watcher hears of an answer, with few watchers and with many."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from cofactor_server.seams import SystemEntropy
from cofactor_server.store import schema
from cofactor_server.store.transactions.database import open_database
from cofactor_server.vault.keyring import Keyring
from rich.table import Table

from benchmarks import watched
from benchmarks.__main__ import FOLDER, OTHER_CORE, SERVER_CORE, Failed, Process, console, process
from benchmarks.people import load_keyring
from benchmarks.server import Ready, Task
from benchmarks.watch_loader import Run, Watched
from tests.support import postgres

WATCHERS = (1, 5_000)
ANSWERS = 300
WARM_UP = 200
"""Watchers that come and go before anything is measured."""
LONGEST_MEDIAN = 20.0
"""Milliseconds from the commit of an answer to its watcher's message. What the commit itself takes is the disk's."""
IDLE = 5.0
COLUMNS = (
    "database",
    "watchers",
    "opened/s",
    "KB each",
    "idle CPU",
    "sent p50",
    "sent p99",
    "replied p50",
    "replied p99",
)


@dataclass
class Served:
    """A server, and the database it is on."""

    database: str
    url: str
    server: Process
    ready: Ready


@contextmanager
def served(database: str, url: str, keyring_file: Path) -> Iterator[Served]:
    """Run a server."""
    listen_url = url if database == "postgresql" else ""
    task = Task(
        core=SERVER_CORE,
        database_url=url,
        keyring=str(keyring_file),
        kinds=("totp", "recovery-code", "push"),
        listen_url=listen_url,
    )
    with process("server", msgspec.json.encode(task).decode()) as server:
        yield Served(database, url, server, msgspec.json.decode(server.ask(""), type=Ready))


class Bench:
    """Runs, one after the other; each has users of its own."""

    def __init__(self, loader: Process, keyring_file: Path) -> None:
        self._loader = loader
        self._keyring_file = keyring_file
        self._next = 0

    def run(self, at: Served, watchers: int, *, answers: int, idle: float) -> Watched:
        """Run one.

        Raises:
            Failed: A stream or an answer was refused.
        """
        first, begun_at = self._next, watched.now()
        self._next += watchers
        keyring, numbers = load_keyring(self._keyring_file), range(first, first + watchers)
        asyncio.run(watched.prompt(at.url, keyring, at.ready.client_id, numbers, begun_at))
        asked = Run(
            port=at.ready.port,
            pid=at.server.popen.pid,
            client_id=at.ready.client_id,
            client_secret=at.ready.client_secret,
            keyring=str(self._keyring_file),
            begun_at=begun_at,
            watchers=watchers,
            answers=answers,
            first=first,
            idle=idle,
        )
        found = msgspec.json.decode(self._loader.ask(msgspec.json.encode(asked).decode()), type=Watched)
        if found.errors:
            raise Failed(f"{at.database}, {watchers} watchers: {found.errors} heard what they should not")
        return found

    def latency_of_one(self, at: Served) -> Watched:
        """Return the median of runs with one watcher each."""
        runs = [self.run(at, 1, answers=1, idle=0) for _ in range(20)]
        return sorted(runs, key=lambda run: run.sent_ms[0])[len(runs) // 2]


def row(at: Served, found: Watched) -> dict[str, Any]:
    """Return what is written and shown of a run."""
    return {
        "database": at.database,
        "watchers": found.watchers,
        "opened_per_second": round(found.watchers / found.opened_in),
        "kilobytes_a_watcher": round(found.kilobytes, 1) if found.watchers > 1 else None,
        "idle_cpu": round(found.idle_cpu, 4) if found.watchers > 1 else None,
        "sent_to_message_p50_ms": round(found.sent_ms[0], 2),
        "sent_to_message_p99_ms": round(found.sent_ms[1], 2) if found.watchers > 1 else None,
        "replied_to_message_p50_ms": round(found.replied_ms[0], 2),
        "replied_to_message_p99_ms": round(found.replied_ms[1], 2) if found.watchers > 1 else None,
    }


def show(found: list[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(
        title="WatchChallenge, ms to the watcher's message",
        caption="sent: since AnswerChallenge was sent, its commit included; replied: since its reply",
    )
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "database" else "right")
    for r in found:
        table.add_row(*("" if value is None else str(value) for value in r.values()))
    console.print(table)


async def made(folder: Path, maintenance: str) -> dict[str, str]:
    """Return the URL of an empty database by engine."""
    urls = {
        "sqlite": f"sqlite:///{folder / 'watch.sqlite3'}",
        "postgresql": await postgres.create_database(maintenance, "watch"),
    }
    for url in urls.values():
        database = open_database(url)
        await database.transact(schema.migrate)
        await database.close()
    return urls


def run(folder: Path) -> list[dict[str, Any]]:
    """Run the benchmark."""
    keyring_file = folder / "keyring.json"
    Keyring.write(keyring_file, Keyring.generate(SystemEntropy()))
    found = []
    with ExitStack() as stack:
        maintenance = stack.enter_context(postgres.running(folder / "postgres"))
        bench = Bench(stack.enter_context(process("watch_loader", str(OTHER_CORE))), keyring_file)
        for name, url in asyncio.run(made(folder, maintenance)).items():
            with served(name, url, keyring_file) as at:
                bench.run(at, WARM_UP, answers=WARM_UP, idle=0)
                found.append(row(at, bench.latency_of_one(at)))
                found.append(row(at, bench.run(at, WATCHERS[-1], answers=ANSWERS, idle=IDLE)))
    return found


def main() -> int:
    """Run it, print the table and write the JSON."""
    os.sched_setaffinity(0, {OTHER_CORE})
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="watch-", dir=FOLDER)).absolute()
    try:
        found = run(folder)
    except Failed as problem:
        console.print(f"[red]Failed:[/red] {problem}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(found)
    (FOLDER / "watch.json").write_text(json.dumps(found, indent=2) + "\n")
    slow = [r for r in found if r["replied_to_message_p50_ms"] > LONGEST_MEDIAN]
    if slow:
        console.print(f"[red]Failed:[/red] a median of more than {LONGEST_MEDIAN} ms after the commit")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
