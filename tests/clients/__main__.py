"""Builds and tests the clients of all languages against one live server: `make test-clients`.

Each language's tests write down which rows of the table passed (`COFACTOR_ROWS`); a row that is missing fails the run.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cofactor.testing import servers

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "clients"
LOGS = ROOT / ".bench" / "clients"
ROWS = (
    "enroll_otp",
    "verify",
    "recovery",
    "push_watch",
    "webauthn",
    "retry_delay",
    "deadline",
    "mtls",
    "reconnect",
    "vectors",
)
LONGEST = 900.0
"""Seconds that a language may take to build, and again to be tested."""
SHOWN = 150
"""Lines of a log that are shown where something failed."""


@dataclass(frozen=True)
class Result:
    """What became of one language."""

    built: bool
    tested: bool
    rows: frozenset[str]
    seconds: tuple[float, float]
    """To build and to test."""

    @property
    def good(self) -> bool:
        return self.built and self.tested and self.rows >= set(ROWS)


def languages() -> list[str]:
    """Return the languages that there is a client for, those last that take longest to build."""
    slow = ("java", "rust")
    return sorted((file.parent.name for file in CLIENTS.glob("*/Makefile")), key=lambda name: (name in slow, name))


def environment(**more: str) -> dict[str, str]:
    """Return what commands are run with: not what `make` tells its own children, nor another demo's settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "COFACTOR_"))}
    return {**ours, **more}


def make(language: str, target: str, env: Mapping[str, str]) -> tuple[bool, float]:
    """Run one command of a client; return whether it succeeded, and the seconds it took."""
    began = time.monotonic()
    with (LOGS / f"{language}.log").open("a") as log:
        command = ["make", "--no-print-directory", "-C", str(CLIENTS / language), target]
        try:
            code = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=LONGEST, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
            log.write(f"\n{target}: not done after {LONGEST:.0f} seconds\n")
    took = time.monotonic() - began
    print(f"{language}: {target} {'done' if code == 0 else 'FAILED'} in {took:.0f} s", flush=True)
    return code == 0, took


def run(wanted: Sequence[str]) -> dict[str, Result]:
    """Build the clients, two at a time, and meanwhile test what is built, one after the other: they share a clock."""
    for language in wanted:
        (LOGS / f"{language}.log").unlink(missing_ok=True)
        (LOGS / f"{language}.rows").unlink(missing_ok=True)
    with ThreadPoolExecutor(2) as pool:
        builds = {language: pool.submit(make, language, "build", environment()) for language in wanted}
        with servers.started() as server:
            return {language: tested(language, server.file, *build.result()) for language, build in builds.items()}


def tested(language: str, demo: Path, built: bool, seconds: float) -> Result:
    """Test a client that was built."""
    if not built:
        return Result(False, False, frozenset(), (seconds, 0))
    file = LOGS / f"{language}.rows"
    command = str(Path(sys.executable).with_name("cofactor"))
    good, took = make(
        language,
        "test",
        environment(COFACTOR_DEMO=str(demo), COFACTOR_COMMAND=command, COFACTOR_ROWS=str(file)),
    )
    lines = file.read_text().splitlines() if file.exists() else []
    return Result(True, good, frozenset(json.loads(line)["row"] for line in lines), (seconds, took))


def table(results: Mapping[str, Result]) -> str:
    """Return rows by languages."""
    width = max(map(len, (*ROWS, "seconds"))) + 2
    lines = ["".ljust(width) + "".join(language.ljust(12) for language in results)]
    lines += [
        row.ljust(width) + "".join(("ok" if row in result.rows else "MISSING").ljust(12) for result in results.values())
        for row in ROWS
    ]
    seconds = (f"{result.seconds[0]:.0f} + {result.seconds[1]:.0f}" for result in results.values())
    return "\n".join([*lines, "seconds".ljust(width) + "".join(each.ljust(12) for each in seconds)])


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("languages", nargs="*", help="default: all of clients/ that have a Makefile")
    wanted = options.parse_args().languages or languages()
    LOGS.mkdir(parents=True, exist_ok=True)
    os.environ["COFACTOR_COMMAND"] = str(Path(sys.executable).with_name("cofactor"))
    results = run(wanted)
    for language, result in results.items():
        if not result.good:
            log = (LOGS / f"{language}.log").read_text(errors="replace").splitlines()
            print(f"\n----- {language}: the end of {LOGS / f'{language}.log'}", *log[-SHOWN:], sep="\n")
    print("\n" + table(results))
    return 0 if all(result.good for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
