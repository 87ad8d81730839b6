"""How fast, how big and how soon the clients of all languages are, against an empty handler: `make bench`."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cofactor_server.seams import SystemEntropy
from cofactor_server.vault.keyring import Keyring
from rich.table import Table

from benchmarks.__main__ import FOLDER, OTHER_CORE, SERVER_CORE, Bench, Failed, Target, console, process, target
from benchmarks.server import Task
from tests.clients.__main__ import CLIENTS, environment, languages

CALLERS = 32
ROUNDS = 3
LONGEST_ROUND = 5.0
"""Seconds."""
LONGEST_BUILD = 900.0
"""Seconds that a build, or a round with what is built for it, may take."""
TOKEN_LENGTH = 700
"""Of the empty handler's access token: about that of a token of ES256."""
COLUMNS = {
    "client": "client",
    "per_second": "a second",
    "ratio": "ratio",
    "first_call_ms": "first call ms",
    "size_kb": "kB",
    "with_dependencies_kb": "with dependencies",
}
NEEDED = {"java": ("java", "mvn"), "rust": ("cargo", "rustc")}
"""Commands that a client's Makefile does not install by itself."""


def make(language: str, goal: str, cores: set[int], **given: str) -> None:
    """Run a command of a client's Makefile on some of the processors.

    Raises:
        Failed: It did not succeed.
    """
    command = ["make", "--no-print-directory", "-C", str(CLIENTS / language), goal]
    command += [f"{name}={value}" for name, value in given.items()]
    log = FOLDER / f"{language}.log"
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # which a child inherits
    try:
        with log.open("a") as written:
            subprocess.run(
                command,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                timeout=LONGEST_BUILD,
                check=True,
            )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{language}: make {goal}: {error}; see {log}") from None
    finally:
        os.sched_setaffinity(0, before)


def missing(language: str) -> list[str]:
    """Return the commands that a language needs and this machine has not."""
    return [name for name in NEEDED.get(language, ()) if shutil.which(name) is None]


def measured(language: str, at: Target, seconds: float, folder: Path) -> dict[str, Any]:
    """Run a client's bench once, on the processor that the server leaves alone.

    Raises:
        Failed: It failed, or made no call.
    """
    out = folder / f"{language}.json"
    address = f"127.0.0.1:{at.ready.port}"
    # A whole number: not every program reads another.
    given = {"TARGET": address, "SECONDS": str(max(1, round(seconds))), "CALLERS": str(CALLERS), "OUT": str(out)}
    make(language, "bench", {OTHER_CORE}, **given)
    found: dict[str, Any] = json.loads(out.read_text())
    if found["calls"] <= 0:
        raise Failed(f"{language}: no call was made")
    console.print(f"{language:>10}: {found['per_second']:.0f} calls a second", style="dim")
    return found


def run(seconds: float, folder: Path) -> list[dict[str, Any]]:
    """Run the benchmark.

    Raises:
        Failed: A client that could be built was not, or its bench failed.
    """
    everywhere = os.sched_getaffinity(0)
    wanted = [language for language in languages() if not missing(language)]
    for language in languages():
        (FOLDER / f"{language}.log").unlink(missing_ok=True)
        if lacking := missing(language):
            console.print(f"{language}: not measured, needs {' and '.join(lacking)}")
        else:
            make(language, "build", everywhere)
    keyring_file = folder / "keyring.json"
    Keyring.write(keyring_file, Keyring.generate(SystemEntropy()))
    of: dict[str, list[dict[str, Any]]] = {language: [] for language in wanted}
    loaded = []
    with ExitStack() as stack:
        bench = Bench(stack.enter_context(process("loader", str(OTHER_CORE))), keyring_file)
        empty = stack.enter_context(target("empty", Task(core=SERVER_CORE, token_length=TOKEN_LENGTH)))
        for language in wanted:  # what the first round would otherwise build
            measured(language, empty, 1, folder)
        for _ in range(ROUNDS):
            loader = bench.round(empty, CALLERS, seconds)
            loaded.append(loader.calls / loader.seconds)
            for language in wanted:
                of[language].append(measured(language, empty, seconds, folder))
    fastest = statistics.median(loaded)
    return [
        {"client": "loader", "per_second": round(fastest), "ratio": 1.0},
        *(row(language, rounds, fastest) for language, rounds in of.items()),
    ]


def row(language: str, rounds: list[dict[str, Any]], fastest: float) -> dict[str, Any]:
    """Return the medians of a client's rounds; its sizes are those of the last."""
    per_second = statistics.median(each["per_second"] for each in rounds)
    return {
        "client": language,
        "per_second": round(per_second),
        "ratio": round(per_second / fastest, 2),
        "first_call_ms": round(statistics.median(each["first_call_ms"] for each in rounds)),
        "size_kb": rounds[-1]["size_kb"],
        "with_dependencies_kb": rounds[-1].get("with_dependencies_kb"),
    }


def show(found: list[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(
        title=f"Clients, {CALLERS} callers, an empty handler",
        caption="ratio: to the loader of the other benchmarks, which neither reads answers nor types errors",
    )
    for name, title in COLUMNS.items():
        table.add_column(title, justify="left" if name == "client" else "right")
    for r in found:
        table.add_row(*("" if r.get(name) is None else str(r[name]) for name in COLUMNS))
    console.print(table)


def main() -> int:
    """Run it, print the table and write the JSON."""
    seconds = min(float(os.environ.get("BENCH_SECONDS", "10")), LONGEST_ROUND)
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="clients-", dir=FOLDER)).absolute()
    try:
        found = run(seconds, folder)
    except Failed as problem:
        console.print(f"[red]Failed:[/red] {problem}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(found)
    (FOLDER / "clients.json").write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
