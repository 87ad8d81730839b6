"""Supervision: the dead are replaced, unless too many die. In processes of their own: a test run has threads."""

import subprocess
import sys

IMPORTS = "import os, signal, sys, time; from cofactor_server.serving.workers import in_child, supervise; "


def exit_code(program: str) -> int:
    command = [sys.executable, "-c", IMPORTS + program]
    return subprocess.run(command, check=False, timeout=50, capture_output=True).returncode


def test_a_childs_exit_code_is_returned() -> None:
    assert exit_code("sys.exit(in_child(lambda: 3))") == 3


def test_deaths_in_a_row_end_the_service() -> None:
    assert exit_code("sys.exit(supervise(lambda number, parent: 0, 1, patience=40))") == 1


def test_being_told_to_stop_is_passed_on() -> None:
    work = "lambda number, parent: os.kill(os.getppid(), signal.SIGTERM) or time.sleep(60)"
    assert exit_code(f"sys.exit(supervise({work}, 2, patience=40))") == 0


def test_a_worker_that_does_not_stop_is_killed() -> None:
    deaf = "[signal.signal(15, signal.SIG_IGN), os.kill(os.getppid(), signal.SIGTERM), time.sleep(60)]"
    assert exit_code(f"sys.exit(supervise(lambda number, parent: {deaf}, 1, patience=1))") == 1
