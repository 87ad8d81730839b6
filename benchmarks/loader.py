"""The process that calls: so many callers, each sending its next request when the last is answered."""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec
import psutil
import uvloop
from cofactor.v1 import tokens_pb2 as pb
from cofactor_server.vault.keyring import Keyring

from benchmarks.people import Clock, requests

METHOD = "/cofactor.v1.TokenService/IssueToken"
CHANNELS = 4
"""As many as there are application servers in front of a deployment of this size, say."""
WARM_UP = 1.0
DEADLINE = 10.0


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One round to be run."""

    port: int
    pid: int
    """The server's."""
    database_pid: int = 0
    client_id: str
    client_secret: str
    keyring: str
    ahead: int
    """Of the clock."""
    callers: int
    people: int
    seconds: float
    fresh: bool
    """Whether each request serves once; otherwise they are sent round and round."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a round showed."""

    calls: int
    errors: int
    error: str
    seconds: float
    cpu: float
    database_cpu: float
    loader_cpu: float
    p50_ms: float
    p99_ms: float
    rss_mb: float
    answer_octets: int


def cpu_of(*pids: int) -> float:
    """Return the seconds of processor that processes, their threads and their children took so far."""
    total = 0.0
    for pid in filter(None, pids):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            used = process.cpu_times()
            total += used.user + used.system
    return total


def quantile(ascending: Sequence[float], percent: int) -> float:
    """Return a percentile of seconds in milliseconds; 0 where every call failed."""
    return ascending[len(ascending) * percent // 100] * 1_000 if ascending else 0.0


class Load:
    """One round."""

    def __init__(self, task: Round) -> None:
        self._task = task
        clock = Clock()
        clock.ahead = task.ahead
        prepared = list(requests(Keyring.load(Path(task.keyring), clock), clock, task.client_id, task.people))
        self._next: Iterator[tuple[bytes, str]] = iter(prepared) if task.fresh else itertools.cycle(prepared)
        self._credentials = (
            ("cofactor-client-id", task.client_id or "0" * 32),
            ("cofactor-client-secret", task.client_secret or "0" * 43),
        )
        self._answers: list[bytes] = []
        self._latencies: list[float] = []
        self._errors: list[str] = []
        self._until = 0.0

    async def run(self) -> Measured:
        """Run it, the first second unmeasured."""
        task = self._task
        channels = [
            grpc.aio.insecure_channel(f"127.0.0.1:{task.port}", options=[("grpc.use_local_subchannel_pool", 1)])
            for _ in range(min(CHANNELS, task.callers))
        ]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        calls: list[Any] = [channel.unary_unary(METHOD) for channel in channels]
        self._until = time.perf_counter() + WARM_UP + task.seconds
        callers = asyncio.gather(*(self._caller(calls[n % len(calls)]) for n in range(task.callers)))
        await asyncio.sleep(WARM_UP)
        unmeasured = len(self._latencies)
        began, before = time.perf_counter(), self._cpu()
        await asyncio.wait([callers], timeout=task.seconds)
        ended, after = time.perf_counter(), self._cpu()
        latencies = sorted(self._latencies[unmeasured:])
        rss = psutil.Process(task.pid).memory_info().rss
        await callers
        for channel in channels:
            await channel.close()
        self._check()
        server, database, loader = (b - a for a, b in zip(before, after, strict=True))
        return Measured(
            calls=len(latencies),
            errors=len(self._errors),
            error=self._errors[0] if self._errors else "",
            seconds=ended - began,
            cpu=server,
            database_cpu=database,
            loader_cpu=loader,
            p50_ms=quantile(latencies, 50),
            p99_ms=quantile(latencies, 99),
            rss_mb=rss / 1_000_000,
            answer_octets=sum(map(len, self._answers)) // max(1, len(self._answers)),
        )

    async def _caller(self, call: Any) -> None:
        for request, source in self._next:
            began = time.perf_counter()
            metadata = (*self._credentials, ("cofactor-forwarded-for", source))
            try:
                answer = await call(request, metadata=metadata, timeout=DEADLINE)
            except grpc.aio.AioRpcError as error:
                self._errors.append(f"{error.code().name}: {error.details()}")
            else:
                self._answers.append(answer)
                ended = time.perf_counter()
                self._latencies.append(ended - began)
            if time.perf_counter() >= self._until:
                return

    def _check(self) -> None:
        for answer in self._answers:
            if (outcome := pb.IssueTokenResponse.FromString(answer).WhichOneof("outcome")) != "tokens":
                self._errors.append(f"{outcome} instead of tokens")

    def _cpu(self) -> tuple[float, float, float]:
        return cpu_of(self._task.pid), cpu_of(self._task.database_pid), time.process_time()


async def main() -> None:
    """Run the rounds that standard input asks for, a line each."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    for line in sys.stdin:
        measured = await Load(msgspec.json.decode(line, type=Round)).run()
        print(msgspec.json.encode(measured).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
