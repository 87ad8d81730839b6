"""What a login costs: requests for each second of processor, against an empty handler behind the same transport."""

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from cofactor_server.seams import MINUTE, SystemEntropy
from cofactor_server.vault.keyring import Keyring
from rich.console import Console
from rich.table import Table

from benchmarks.loader import WARM_UP, Measured, Round
from benchmarks.people import enroll, load_keyring
from benchmarks.server import Ready, Task
from tests.support import postgres

CALLERS = (1, 32, 128)
ROUNDS = 3
MOST_A_SECOND = {1: 1_500, 32: 3_500, 128: 3_500}
"""How many users are prepared for each second; where they do not suffice, a round ends sooner."""
LONGEST_ROUND = 20.0
"""Seconds; the codes are prepared before, and are accepted for 30 seconds at least."""
SERVER_CORE, OTHER_CORE = 0, 1
FOLDER = Path(".bench")  # on a disk: what synchronous=FULL costs is not seen in memory

console = Console()


class Failed(Exception):
    """A call was refused: the numbers mean nothing."""


@dataclass
class Process:
    """A child that answers a line with a line."""

    popen: "subprocess.Popen[str]"

    def ask(self, line: str) -> str:
        """Send a line, if it is one, and return the next that it says."""
        stdin, stdout = self.popen.stdin, self.popen.stdout
        assert stdin is not None
        assert stdout is not None
        if line:
            stdin.write(line + "\n")
            stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise Failed(f"{self.popen.args!r} ended")
        return answer


@contextmanager
def process(module: str, argument: str) -> Iterator[Process]:
    """Run a module of this package."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", f"benchmarks.{module}", argument]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as popen:
        try:
            yield Process(popen)
        finally:
            if popen.stdin is not None:
                popen.stdin.close()
            try:
                popen.wait(10)
            except subprocess.TimeoutExpired:
                popen.kill()


@dataclass
class Target:
    """A server, and what was measured of it."""

    database: str
    server: Process
    ready: Ready
    database_pid: int = 0
    measured: dict[int, list[Measured]] = field(default_factory=dict)


@contextmanager
def target(database: str, task: Task, database_pid: int = 0) -> Iterator[Target]:
    """Run a server."""
    with process("server", msgspec.json.encode(task).decode()) as server:
        yield Target(database, server, msgspec.json.decode(server.ask(""), type=Ready), database_pid)


class Bench:
    """Rounds, one after the other."""

    def __init__(self, loader: Process, keyring: Path) -> None:
        self._loader = loader
        self._keyring = keyring
        self._ahead = 0

    def round(self, at: Target, callers: int, seconds: float) -> Measured:
        """Run one round.

        Raises:
            Failed: A call was refused.
        """
        self._ahead += 2 * MINUTE
        at.server.ask(str(self._ahead))
        fresh = at.database != "empty"
        asked = Round(
            port=at.ready.port,
            pid=at.server.popen.pid,
            database_pid=at.database_pid,
            client_id=at.ready.client_id,
            client_secret=at.ready.client_secret,
            keyring=str(self._keyring),
            ahead=self._ahead,
            callers=callers,
            people=people_for(callers, seconds) if fresh else 1_000,
            seconds=seconds,
            fresh=fresh,
        )
        measured = msgspec.json.decode(self._loader.ask(msgspec.json.encode(asked).decode()), type=Measured)
        if measured.errors:
            raise Failed(
                f"{at.database}, {callers} callers: {measured.errors} refused, the first with {measured.error}"
            )
        at.measured.setdefault(callers, []).append(measured)
        console.print(
            f"{at.database:>10} {callers:>4} callers: {measured.calls} calls in {measured.seconds:.1f} s and "
            f"{measured.cpu:.2f} s of processor (loader {measured.loader_cpu:.2f}), {measured.calls / measured.cpu:.0f}"
            " a processor second",
            style="dim",
        )
        return measured


def people_for(callers: int, seconds: float) -> int:
    """Return how many users a round may need."""
    return int(MOST_A_SECOND[callers] * (seconds + WARM_UP))


def row(at: Target, empty: Target, callers: int) -> dict[str, Any]:
    """Return medians over the rounds; the ratio is that of neighbouring rounds."""
    rounds, floor = at.measured[callers], empty.measured[callers]
    rates = [r.calls / r.cpu for r in rounds]
    ratios = [(r.calls / r.cpu) / (f.calls / f.cpu) for r, f in zip(rounds, floor, strict=True)]
    return {
        "database": at.database,
        "callers": callers,
        "per_cpu_second": round(statistics.median(rates)),
        "ratio": round(statistics.median(ratios), 3),
        "p50_ms": round(statistics.median(r.p50_ms for r in rounds), 2),
        "p99_ms": round(statistics.median(r.p99_ms for r in rounds), 2),
        "rss_mb": round(statistics.median(r.rss_mb for r in rounds), 1),
        "per_second": round(statistics.median(r.calls / r.seconds for r in rounds)),
        "database_cpu": round(statistics.median(r.database_cpu / r.calls for r in rounds) * 1_000_000),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def show(found: list[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title="IssueToken, mfa-otp grant", caption="us: microseconds of PostgreSQL's own processor a call")
    for name in (
        "database",
        "callers",
        "a CPU second",
        "ratio",
        "a second",
        "p50 ms",
        "p99 ms",
        "RSS MB",
        "database us",
    ):
        table.add_column(name, justify="left" if name == "database" else "right")
    for r in found:
        table.add_row(
            r["database"],
            str(r["callers"]),
            str(r["per_cpu_second"]),
            f"{r['ratio']:.2f}",
            str(r["per_second"]),
            f"{r['p50_ms']:.2f}",
            f"{r['p99_ms']:.2f}",
            f"{r['rss_mb']:.0f}",
            str(r["database_cpu"]),
        )
    console.print(table)
    console.print(
        "Access log off. SQLite with synchronous=FULL. Server pinned to a core, loader (and PostgreSQL) to the other; "
        f"medians of {ROUNDS} interleaved rounds."
    )


async def prepared(folder: Path, maintenance: str, keyring: Keyring, people: int) -> dict[str, str]:
    """Return the URL of a database with users in it, by engine."""
    from cofactor_server.store import schema
    from cofactor_server.store.transactions.database import open_database

    urls = {
        "sqlite": f"sqlite:///{folder / 'cofactor.sqlite3'}",
        "postgresql": await postgres.create_database(maintenance, "bench"),
    }
    for url in urls.values():
        database = open_database(url)
        await database.transact(schema.migrate)
        await database.close()
        await enroll(url, keyring, people)
    return urls


def postmaster(folder: Path) -> int:
    """Return the process id of the PostgreSQL whose data is in a folder."""
    return int((folder / "postmaster.pid").read_text().splitlines()[0])


def run(seconds: float, folder: Path) -> list[dict[str, Any]]:
    """Run the benchmark."""
    keyring_file = folder / "keyring.json"
    Keyring.write(keyring_file, Keyring.generate(SystemEntropy()))
    with ExitStack() as stack:
        maintenance = stack.enter_context(postgres.running(folder / "postgres"))
        people = max(people_for(callers, seconds) for callers in CALLERS)
        console.print(f"Enrolling {people} users in each database ...", style="dim")
        began = time.perf_counter()
        urls = asyncio.run(prepared(folder, maintenance, load_keyring(keyring_file), people))
        console.print(f"... done in {time.perf_counter() - began:.0f} s", style="dim")
        loader = stack.enter_context(process("loader", str(OTHER_CORE)))
        bench = Bench(loader, keyring_file)
        real = [
            stack.enter_context(
                target(
                    name,
                    Task(core=SERVER_CORE, database_url=url, keyring=str(keyring_file)),
                    postmaster(folder / "postgres") if name == "postgresql" else 0,
                )
            )
            for name, url in urls.items()
        ]
        octets = bench.round(real[0], 1, 0.5).answer_octets
        real[0].measured.clear()
        around = Task(core=SERVER_CORE, token_length=octets - 40)
        empty = stack.enter_context(target("empty", around))
        for callers in CALLERS:
            for _ in range(ROUNDS):
                for at in (empty, *real):
                    bench.round(at, callers, seconds)
        return [row(at, empty, callers) for callers in CALLERS for at in (empty, *real)]


def main() -> int:
    """Run it, print the table and write the JSON."""
    seconds = min(float(os.environ.get("BENCH_SECONDS", "10")), LONGEST_ROUND)
    os.sched_setaffinity(0, {OTHER_CORE})
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=FOLDER)).absolute()
    try:
        found = run(seconds, folder)
    except Failed as problem:
        console.print(f"[red]Failed:[/red] {problem}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(found)
    (FOLDER / "verify.json").write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
