"""The commands of the README do all set-up: what they need is got or named in one line."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.browser import chromium

ROOT = Path(__file__).parents[2]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=False)


def planned(target: str, **environment: str) -> str:
    """Return what `make` would do on a machine with nothing but the commands of a system."""
    found = run("make", "-n", "-B", target, PATH="/usr/bin:/bin", HOME=os.environ["HOME"], **environment)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.fixture
def no_chromium(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(chromium, "OWN_CHROMIUM", tmp_path / "own")
    return tmp_path


def test_make_test_gets_a_browser_where_there_is_none() -> None:
    assert "tools/browser/unpack.mjs" in planned("test", CHROMIUM=f"{ROOT}/.tools/browser/chromium")
    assert "tools/browser/unpack.mjs" not in planned("test", CHROMIUM="/opt/chromium")


def test_the_browser_that_is_named_comes_first_and_then_the_machines(
    no_chromium: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(pytest.fail.Exception, match="make test"):
        chromium.find_chromium()
    own, machines, named = (no_chromium / name for name in ("own", "chromium", "named"))
    own.touch()
    assert chromium.find_chromium() == str(own)
    machines.touch(mode=0o755)
    assert chromium.find_chromium() == str(machines)
    named.touch()
    monkeypatch.setenv("CHROMIUM", str(named))
    assert chromium.find_chromium() == str(named)


def test_who_may_not_install_is_told_in_one_line_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)

    done = run("/bin/sh", "tools/need.sh", "openjdk-17-jdk-headless", "maven", PATH=f"{tmp_path}:/usr/bin:/bin")

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        "This needs openjdk-17-jdk-headless maven of your system "
        "(on Debian, as root: apt-get install openjdk-17-jdk-headless maven)."
    )


def test_ci_calls_the_commands_and_installs_nothing() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd ", "export ", "exec "))]

    assert commands == ["make check", "make test", "make test-clients"]


@pytest.mark.parametrize("makefile", ["Makefile", "tools/go.mk", *(f"clients/{c}/Makefile" for c in ("java", "rust"))])
def test_no_makefile_makes_environments_by_itself(makefile: str) -> None:
    assert not re.search(r"python3 -m venv|apt-get", (ROOT / makefile).read_text())
