"""Several processes that do one thing: the dead are replaced, unless they die like flies."""

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable

import structlog

DEATHS = 3
WITHIN = 10.0
"""This many deaths in so many seconds end the service."""

_WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM)

log = structlog.get_logger("cofactor")


def in_child(work: Callable[[], int]) -> int:
    """Run `work` in a process of its own and return its exit code: what it starts is not there when we fork again."""
    _, status = os.waitpid(_fork(work), 0)
    return abs(os.waitstatus_to_exitcode(status))


def supervise(work: Callable[[int, int], int], count: int, *, patience: float) -> int:
    """Keep `count` processes running until told to stop, and return the exit code.

    The caller must not have started threads, a loop or gRPC: none of them outlives a fork.

    Args:
        work: Gets the worker's number, from 0, and a descriptor that is readable once this process is gone; returns
            an exit code.
        count: How many.
        patience: Seconds between SIGTERM, which is passed on, and SIGKILL.
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
        os._exit(code)  # and never return into the caller's stack
