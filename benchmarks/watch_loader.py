"""The process that watches and answers: the application servers and the devices of a run."""

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import msgspec
import psutil
import uvloop
from cofactor.v1 import challenges_pb2 as pb
from cofactor.v1.challenges_pb2_grpc import ChallengeServiceStub
from cofactor_server.vault.keyring import Keyring

from benchmarks.loader import cpu_of, quantile
from benchmarks.people import Clock
from benchmarks.watched import Prompted, Tokens

CHANNELS = 8
"""A connection carries a thousand streams at most."""
OPENING = 100
"""Streams that are opened at once."""
DEADLINE = 10.0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    port: int
    pid: int
    client_id: str
    client_secret: str
    keyring: str
    begun_at: int
    watchers: int
    answers: int
    first: int
    """Number of the first user of the run."""
    idle: float
    """Seconds to look at a server that only has watchers."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed."""

    watchers: int
    opened_in: float
    kilobytes: float
    """Of the server's memory, a watcher."""
    idle_cpu: float
    """Share of a processor that a server takes whose watchers hear nothing."""
    sent_ms: tuple[float, float]
    """From sending the answer to the watcher's message, median and 99th percentile; the commit is part of it."""
    replied_ms: tuple[float, float]
    """From the reply to the answer, which follows its commit."""
    errors: int


class Watchers:
    """The streams of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        clock = Clock()
        self._tokens = Tokens(Keyring.load(Path(run.keyring), clock), run.client_id, run.begun_at)
        self._credentials = (
            ("cofactor-client-id", run.client_id),
            ("cofactor-client-secret", run.client_secret),
        )
        self._errors = 0

    async def measured(self) -> Watched:
        """Open the streams, look at the server, and answer some of the challenges."""
        run = self._run
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{run.port}", options=options) for _ in range(CHANNELS)]
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        stubs: list[Any] = [ChallengeServiceStub(channel) for channel in channels]
        people = [Prompted(number) for number in range(run.first, run.first + run.watchers)]
        memory, began = self._memory(), time.perf_counter()
        turn = asyncio.Semaphore(OPENING)
        calls = await asyncio.gather(
            *(self._opened(stubs[n % CHANNELS], person, turn) for n, person in enumerate(people))
        )
        opened_in = time.perf_counter() - began
        await asyncio.sleep(0.5)
        kilobytes = (self._memory() - memory) / 1_000 / run.watchers
        before = cpu_of(run.pid)
        await asyncio.sleep(run.idle)
        idle_cpu = (cpu_of(run.pid) - before) / run.idle if run.idle else 0.0
        step = max(1, run.watchers // run.answers)
        sent, replied = [], []
        for n in range(0, run.watchers, step):
            after_sending, after_reply = await self._answered(stubs[(n + 1) % CHANNELS], people[n], calls[n])
            sent.append(after_sending)
            replied.append(max(0.0, after_reply))
        for call in calls:
            call.cancel()
        for channel in channels:
            await channel.close()
        return Watched(
            watchers=run.watchers,
            opened_in=opened_in,
            kilobytes=kilobytes,
            idle_cpu=idle_cpu,
            sent_ms=_summary(sent),
            replied_ms=_summary(replied),
            errors=self._errors,
        )

    async def _opened(self, stub: Any, person: Prompted, turn: asyncio.Semaphore) -> Any:
        async with turn:
            request = pb.WatchChallengeRequest(oob_code=self._tokens.oob_code(person))
            metadata = (*self._credentials, ("authorization", f"Bearer {self._tokens.mfa_token(person)}"))
            call = stub.WatchChallenge(request, metadata=metadata)
            await self._heard(call, pb.CHALLENGE_STATE_PENDING)
            return call

    async def _answered(self, stub: Any, person: Prompted, call: Any) -> tuple[float, float]:
        """Return the seconds from sending the answer, and from its reply, to the watcher's message."""
        payload, signature = person.approval()
        signed = pb.SignedAnswer(payload=payload, signature=signature)
        request = pb.AnswerChallengeRequest(challenge_id=person.challenge_id, signed=signed)
        heard = asyncio.create_task(self._heard(call, pb.CHALLENGE_STATE_APPROVED))
        await asyncio.sleep(0.002)  # one answer at a time, as devices have it, and not in step with the poll
        sent_at = time.perf_counter()
        reply = await stub.AnswerChallenge(request, timeout=DEADLINE)
        replied_at = time.perf_counter()
        self._errors += reply.state != pb.CHALLENGE_STATE_APPROVED
        heard_at = await heard
        return heard_at - sent_at, heard_at - replied_at

    async def _heard(self, call: Any, state: int) -> float:
        async with asyncio.timeout(DEADLINE):
            message = await call.read()
        self._errors += message is grpc.aio.EOF or message.state != state
        return time.perf_counter()

    def _memory(self) -> int:
        return int(psutil.Process(self._run.pid).memory_info().rss)


def _summary(seconds: Sequence[float]) -> tuple[float, float]:
    return statistics.median(seconds) * 1_000, quantile(sorted(seconds), 99)


def lines() -> Iterator[str]:
    """Yield the lines of standard input."""
    while line := sys.stdin.readline():
        yield line


def main() -> None:
    """Run what each line of standard input asks for."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    for line in lines():
        run = msgspec.json.decode(line, type=Run)
        print(msgspec.json.encode(uvloop.run(Watchers(run).measured())).decode(), flush=True)


if __name__ == "__main__":
    main()
