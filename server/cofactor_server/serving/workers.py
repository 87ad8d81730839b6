"""Supervises worker processes: replaces those that die, with a crash-loop limit."""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable

import structlog

DEATHS = 3
WITHIN = 10.0
"""`DEATHS` deaths within `WITHIN` seconds end the service."""

_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM)

log = structlog.get_logger("cofactor")


def in_child(work: Callable[[], int]) -> int:
    """Run `work` in a child process and return its exit code, so that its threads don't exist at the next fork."""
    _, status = os.waitpid(_fork(work), 0)
    return abs(os.waitstatus_to_exitcode(status))


def supervise(work: Callable[[int, int], int], count: int, *, patience: float) -> int:
    """Keep `count` processes running until SIGTERM or SIGINT, and return the exit code.

    The caller must not have started threads, an event loop or gRPC: none of them survives a fork.

    Args:
        work: Called with the worker's number, from 0, and a file descriptor that becomes readable when this process has
            ended; returns an exit code.
        count: The number of workers.
        patience: Seconds between SIGTERM, which is forwarded to the workers, and SIGKILL.
    """
    alive, held = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)

    def started(number: int) -> int:
        def run() -> int:
            os.close(held)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
            return work(number, alive)

        return _fork(run)

    try:
        return _watch(started, count, patience)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        os.close(alive)
        os.close(held)


def _watch(started: Callable[[int], int], count: int, patience: float) -> int:
    workers = {started(number): number for number in range(count)}
    deaths: deque[float] = deque(maxlen=DEATHS)
    stopping, code = False, 0
    while workers:
        match signal.sigwait(_WATCHED):
            case signal.SIGALRM:
                _send(workers, signal.SIGKILL)
                code = 1
            case signal.SIGCHLD:
                for pid in _ended(workers):
                    number = workers.pop(pid)
                    if stopping:
                        continue
                    deaths.append(time.monotonic())
                    log.error("worker died", number=number, pid=pid)
                    if len(deaths) == DEATHS and deaths[-1] - deaths[0] < WITHIN:
                        log.error("too many workers died: the service ends", deaths=DEATHS, seconds=WITHIN)
                        stopping, code = True, 1
                        _stop(workers, patience)
                    else:
                        workers[started(number)] = number
            case _ if not stopping:
                stopping = True
                _stop(workers, patience)
    signal.alarm(0)
    return code


def _ended(workers: dict[int, int]) -> list[int]:
    ended = []
    for pid in list(workers):
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            log.info("worker ended", pid=pid, code=os.waitstatus_to_exitcode(status))
            ended.append(pid)
    return ended


def _stop(workers: dict[int, int], patience: float) -> None:
    _send(workers, signal.SIGTERM)
    signal.alarm(max(1, round(patience)))


def _send(workers: dict[int, int], number: signal.Signals) -> None:
    for pid in workers:
        os.kill(pid, number)


def _fork(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        code = work()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # never return into the caller's stack
