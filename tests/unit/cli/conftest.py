"""The command in this process and in others."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from typer.testing import CliRunner, Result

COMMAND = Path(sys.executable).with_name("cofactor")

Invoke = Callable[..., Result]
Start = Callable[..., "Process"]


class Process:
    """A running `cofactor`."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], errors: IO[str]) -> None:
        self._errors = errors
        self.running = subprocess.Popen(
            [COMMAND, *arguments], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )

    @property
    def stderr(self) -> str:
        return Path(self._errors.name).read_text()

    def until(self, ready: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            assert self.running.poll() is None, self.stderr
            assert time.monotonic() < deadline, self.stderr
            time.sleep(0.02)

    def says(self, text: str) -> None:
        self.until(lambda: text in self.stderr)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 60) -> int:
        self.running.send_signal(number)
        return self.running.wait(seconds)

    def end(self) -> None:
        """Leave nothing behind."""
        self.running.kill()
        self.running.communicate()

    def wait(self, seconds: float = 90) -> int:
        return self.running.wait(seconds)


def environment_in(folder: Path) -> dict[str, str]:
    """Return what a deployment on SQLite sets, before its keyring is made."""
    ours = {
        "COFACTOR_ISSUER": "https://mfa.example.com/",
        "COFACTOR_KEYRING_FILE": str(folder / "keyring.json"),
        "COFACTOR_DATABASE_URL": f"sqlite:///{folder / 'cofactor.sqlite3'}",
        "COFACTOR_HTTP_LISTEN": "127.0.0.1:0",
        "COFACTOR_GRPC_LISTEN": "127.0.0.1:0",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("COFACTOR_")} | ours


def run(environment: dict[str, str], *arguments: str, typed: str | None = None) -> Result:
    """Run a command in this process."""
    from cofactor_server.cli import app

    outside: dict[str, str | None] = {name: None for name in os.environ if name.startswith("COFACTOR_")}
    return CliRunner().invoke(app, list(arguments), input=typed, env=outside | environment)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return environment_in(tmp_path)


@pytest.fixture
def invoke(environment: dict[str, str]) -> Invoke:
    """Run a command of a deployment that has nothing yet."""
    return functools.partial(run, environment)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a keyring, and a database that was opened once."""
    folder = tmp_path_factory.mktemp("deployed")
    environment = environment_in(folder)
    for command in (("keys", "generate", environment["COFACTOR_KEYRING_FILE"]), ("migrate",), ("users", "list")):
        assert run(environment, *command).exit_code == 0
    return folder


@pytest.fixture
def deployed(invoke: Invoke, template: Path, tmp_path: Path) -> Invoke:
    """Run a command of a deployment that has a keyring and a schema."""
    for file in template.iterdir():
        shutil.copy2(file, tmp_path)
    return invoke


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start a command in a process of its own; it is killed with the test."""
    started: list[Process] = []

    def begin(*arguments: str, **settings: str) -> Process:
        errors = (tmp_path / f"stderr-{len(started)}").open("w")
        started.append(Process(arguments, environment | settings, errors))
        return started[-1]

    yield begin
    for process in started:
        process.end()
        process._errors.close()


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def line_of(result: Result) -> str:
    """Return the one line that a refused command says."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return str(line)
