"""Whether time tells who there is: unknown users, wrong passwords and blocked users, interleaved, over both edges.

Every refusal is compared to the octet besides. Measured twice: with the argon2id that a deployment has, which is what a
stranger meets, and with one that costs next to nothing, under which a difference of microseconds would still show.
"""

import asyncio
import http.client
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import msgspec
import structlog
import uvloop
from cofactor.v1 import tokens_pb2 as pb
from cofactor_server.app import Configuration, opened
from cofactor_server.domain.parties.clients import GrantType
from cofactor_server.rpc.server import build_server, listen
from cofactor_server.seams import SystemClock, SystemEntropy
from cofactor_server.services.operators.users_and_clients import NewClient, NewUser
from cofactor_server.serving.http_server import HttpServer
from cofactor_server.serving.listening import Listening, bind
from cofactor_server.vault.keyring import Keyring
from grpc_health.v1 import health
from rich.table import Table

from benchmarks.__main__ import FOLDER, OTHER_CORE, Failed, Process, console, process
from benchmarks.loader import METHOD
from tests.support import postgres
from tests.support.world import CHEAP, PASSWORD, deployment

ROUNDS = int(os.environ.get("BENCH_SAMENESS", "1000"))
TRIES = 10
"""For a name, before its budget is empty."""
WARM_UP = 30
CASES = ("wrong password", "unknown user", "blocked user")
"""The first is what the others are compared with."""
TIMES = frozenset({"date", "x-ratelimit-reset"})
"""Headers that say when it is."""

Answer = tuple[int | str, bytes, tuple[tuple[str, str], ...]]
"""Status, body, and headers by name."""
Call = Callable[[str], Answer]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is to be."""

    database_url: str
    cheap: bool
    names: int
    """Of each case that there are users of."""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself once it listens."""

    grpc_port: int
    http_port: int
    client_id: str
    client_secret: str


def name(case: str, number: int) -> str:
    """Return one of the names of a case; all are of one length."""
    return f"{case.split(maxsplit=1)[0]:_<8}{number:04}@example.test"


# --- the process that is measured ---------------------------------------------------------------------------------


async def serve(task: Task) -> None:
    """Serve both edges until standard input ends."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output speaks to the parent
    configuration = Configuration(
        database_url=task.database_url,
        keyring=Keyring(Keyring.generate(SystemEntropy()), SystemClock()),
        deployment=deployment(),
        password_cost=CHEAP if task.cheap else None,
        access_log=False,
    )
    async with opened(configuration) as app:
        client, secret = await app.operators.create_client(
            NewClient("Bench", grant_types=frozenset({GrantType.PASSWORD}))
        )
        for case in ("wrong password", "blocked user"):
            for number in range(task.names):
                subject = name(case, number)
                await app.operators.create_user(NewUser("default", subject, PASSWORD, subject))
                if case == "blocked user":
                    await app.operators.set_blocked("default", subject, blocked=True)
        server = build_server(app.services, app.interceptor(), health_servicer=health.aio.HealthServicer())
        port = listen(server, "127.0.0.1:0")
        await server.start()
        sock = bind("127.0.0.1:0")
        http_port = sock.getsockname()[1]
        web = await HttpServer.started(app.http(), sock, Listening(http="127.0.0.1:0", grpc="127.0.0.1:0"))
        said = Ready(grpc_port=port, http_port=http_port, client_id=client.id, client_secret=secret)
        print(msgspec.json.encode(said).decode(), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await web.stop()
        await server.stop(0)


# --- the process that asks ----------------------------------------------------------------------------------------


def over_grpc(at: Ready) -> Call:
    """Return a call over one channel."""
    call: Any = grpc.insecure_channel(f"127.0.0.1:{at.grpc_port}").unary_unary(METHOD)
    credentials = (("cofactor-client-id", at.client_id), ("cofactor-client-secret", at.client_secret))

    def ask(username: str) -> Answer:
        grant = pb.PasswordGrant(username=username, password="wrong")
        request = pb.IssueTokenRequest(password=grant).SerializeToString()
        try:
            call(request, metadata=credentials, timeout=30)
        except grpc.RpcError as error:
            refused: Any = error  # a call as well, which its type does not say
            trailers = [(key, value) for key, value in refused.trailing_metadata() if key not in TIMES]
            details = [value for key, value in trailers if key == "grpc-status-details-bin"]
            others = tuple(sorted((key, str(value)) for key, value in trailers if key != "grpc-status-details-bin"))
            return refused.code().name, refused.details().encode() + b"".join(details), others
        raise Failed("a wrong password was taken")

    return ask


def over_rest(at: Ready) -> Call:
    """Return a call over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", at.http_port)
    body = {"grant_type": "password", "client_id": at.client_id, "client_secret": at.client_secret, "password": "wrong"}

    def ask(username: str) -> Answer:
        content = json.dumps({**body, "username": username})
        connection.request("POST", "/oauth/token", content, {"content-type": "application/json"})
        response = connection.getresponse()
        said = response.read()
        headers = tuple(
            sorted((key.lower(), value) for key, value in response.getheaders() if key.lower() not in TIMES)
        )
        return response.status, said, headers

    return ask


def measure(ask: Call, rounds: int, numbers: Sequence[int]) -> dict[str, list[float]]:
    """Return how long each case took, in milliseconds, round by round.

    Raises:
        Failed: Two answers of a round differ.
    """
    found: dict[str, list[float]] = {case: [] for case in CASES}
    order = list(CASES)
    for number in range(rounds + WARM_UP):
        random.shuffle(order)  # whoever comes first meets colder caches
        answers: dict[str, Answer] = {}
        for case in order:
            username = name(case, numbers[number // TRIES])
            began = time.perf_counter()
            answers[case] = ask(username)
            if number >= WARM_UP:
                found[case].append((time.perf_counter() - began) * 1_000)
        if len(set(answers.values())) != 1:
            raise Failed(f"answers differ: {answers}")
        if b"Wrong email or password." not in answers[CASES[0]][1]:
            raise Failed(f"no wrong password: {answers[CASES[0]]}")
    return found


def compared(found: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return medians in milliseconds, and of each pair the median difference with its 95 % interval in microseconds."""
    said: dict[str, Any] = {case: round(statistics.median(times), 3) for case, times in found.items()}
    for case in CASES[1:]:
        pairs = zip(found[case], found[CASES[0]], strict=True)
        apart = sorted((one - other) * 1_000 for one, other in pairs)
        # Order statistics hold whatever the distribution is: half the pairs lie either side, give or take sqrt(n).
        half, give = len(apart) / 2, 0.98 * len(apart) ** 0.5
        low, high = apart[max(0, int(half - give))], apart[min(len(apart) - 1, int(half + give))]
        said[f"{case} is later by"] = {
            "us": round(statistics.median(apart)),
            "from": round(low),
            "to": round(high),
            "noise": round(statistics.quantiles(apart, n=4)[2] - statistics.quantiles(apart, n=4)[0]),
        }
    return said


def run(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Run the benchmark."""
    found = []
    names = -(-(rounds + WARM_UP) // TRIES)
    with postgres.running(folder / "postgres") as maintenance:
        for cheap in (True, False):
            urls = {
                "sqlite": f"sqlite:///{folder / f'sameness-{cheap}.sqlite3'}",
                "postgresql": asyncio.run(postgres.create_database(maintenance, f"sameness_{cheap}".lower())),
            }
            # The cost of a hash is the same on both; without it PostgreSQL's own differences would show, too.
            for database, url in urls.items() if cheap else [("sqlite", urls["sqlite"])]:
                task = Task(database_url=url, cheap=cheap, names=2 * names)
                with process("sameness", msgspec.json.encode(task).decode()) as server:
                    found += _edges(server, rounds, names, {"database": database, "argon2id": not cheap})
    return found


def _edges(server: Process, rounds: int, names: int, what: dict[str, Any]) -> list[dict[str, Any]]:
    at = msgspec.json.decode(server.ask(""), type=Ready)
    found = []
    for place, (edge, ask) in enumerate({"grpc": over_grpc(at), "rest": over_rest(at)}.items()):
        numbers = range(place * names, (place + 1) * names)
        found.append({**what, "edge": edge, "rounds": rounds, **compared(measure(ask, rounds, numbers))})
        console.print(str(found[-1]), style="dim")
    return found


def show(found: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    table = Table(title="Refusals before the first factor: medians, and how much later than a wrong password's")
    for column in (
        "database",
        "edge",
        "argon2id",
        *(f"{case}, ms" for case in CASES),
        *(f"{c}, us" for c in CASES[1:]),
    ):
        table.add_column(column, justify="right" if "," in column else "left")
    for row in found:
        later = [row[f"{case} is later by"] for case in CASES[1:]]
        table.add_row(
            row["database"],
            row["edge"],
            "as deployed" if row["argon2id"] else "cheap",
            *(f"{row[case]:.2f}" for case in CASES),
            *(f"{one['us']:+} ({one['from']:+} to {one['to']:+})" for one in later),
        )
    console.print(table)
    console.print("One caller, cases in random order, in parentheses the 95 % interval of the median difference.")


def main() -> int:
    """Run it, print the table and write the JSON; or be the server that is measured."""
    if len(sys.argv) > 1:
        uvloop.run(serve(msgspec.json.decode(sys.argv[1], type=Task)))
        return 0
    os.sched_setaffinity(0, {OTHER_CORE})
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=FOLDER) as folder:
        try:
            found = run(ROUNDS, Path(folder).absolute())
        except Failed as problem:
            console.print(f"[red]Failed:[/red] {problem}")
            return 1
    show(found)
    (FOLDER / "sameness.json").write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
