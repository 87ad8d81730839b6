"""A migrated database with users in it, small decisions, and a network that breaks when told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cofactor_server.domain.parties.users import User
from cofactor_server.seams import SystemEntropy
from cofactor_server.store import schema
from cofactor_server.store.repositories import accounts
from cofactor_server.store.transactions.database import (
    Database,
    PostgresDatabase,
    SqliteDatabase,
    deciding,
    open_database,
)
from cofactor_server.store.transactions.needs import Needs
from cofactor_server.store.transactions.work import Work
from sqlalchemy import event
from sqlalchemy.engine import Engine

ENTROPY = SystemEntropy()
NOW = 1_800_000_000_000_000


def user(user_id: str, **given: Any) -> User:
    return User(
        **{
            "id": user_id,
            "realm": "default",
            "subject": user_id,
            "label": "",
            "epoch": 1,
            "blocked": False,
            "created_at": NOW,
            **given,
        }
    )


@asynccontextmanager
async def opened(url: str, users: int = 0) -> AsyncIterator[Database]:
    """Open a database, migrate it, and add users u0, u1, …"""
    database = open_database(url)
    try:
        await database.transact(schema.migrate)
        for number in range(users):
            await database.transact(partial(accounts.add_user, user=user(f"u{number}")))
        yield database
    finally:
        await database.close()


async def decide(database: Database, needs: list[Needs], decide: Callable[[Work], Any]) -> Any:
    """Run `decide` in a transaction that locked and read what `needs` names."""

    def loaded(work: Work) -> Any:
        work.load(needs)
        return decide(work)

    return await database.transact(deciding(database.statements, ENTROPY, loaded))


def writing_engine(database: Database) -> Engine:
    """Return the engine under `transact`, for listening to its events."""
    if isinstance(database, SqliteDatabase):
        return database._writer
    assert isinstance(database, PostgresDatabase)
    return database._engine.sync_engine


@dataclass
class Counted:
    """What an engine was asked to do."""

    commits: int = 0
    statements: list[str] = field(default_factory=list)


def counting(database: Database) -> Counted:
    """Count the transactions that `database` commits from now on, and note its statements."""
    engine, counted = writing_engine(database), Counted()

    def committed(_connection: Any) -> None:
        counted.commits += 1

    def executed(_conn: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool) -> None:
        counted.statements.append(statement)

    event.listen(engine, "commit", committed)
    event.listen(engine, "before_cursor_execute", executed)
    return counted


class Network:
    """A proxy in front of a PostgreSQL's socket, that can be cut."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cut_at: bytes = b""
        """Everything is cut when a client sends this, before any answer; the server still gets it if `deliver`."""
        self.deliver = True
        self._answers = True

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse new connections and drop the open ones."""
        if self._server is not None:
            self._server.close()
        self.drop()
        tasks, self._server = tuple(self._tasks), None
        await asyncio.gather(*tasks, return_exceptions=True)

    def drop(self) -> None:
        """Drop the open connections, as a restarted server does."""
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(self._socket)
        self._open |= {writer, there_writer}
        for task in (
            asyncio.ensure_future(self._pump(reader, there_writer, watch=True)),
            asyncio.ensure_future(self._pump(there_reader, writer, watch=False)),
        ):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watch: bool) -> None:
        try:
            while octets := await reader.read(65_536):
                if watch and self.cut_at and self.cut_at in octets:
                    self.cut_at = b""
                    if self.deliver:
                        self._answers = False
                        writer.write(octets)
                        await asyncio.sleep(0.1)
                        self._answers = True
                    self.drop()
                    return
                if watch or self._answers:
                    writer.write(octets)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            with contextlib.suppress(RuntimeError):
                writer.close()


@asynccontextmanager
async def behind_a_network(postgres_url: str) -> AsyncIterator[tuple[Network, str]]:
    """Yield a network in front of the PostgreSQL at `postgres_url`, and the URL through it."""
    parts = urlsplit(postgres_url)
    folder = parse_qs(parts.query)["host"][0]
    network = Network(f"{folder}/.s.PGSQL.{parts.port or 5432}")
    await network.up()
    try:
        yield network, f"postgresql://{parts.username}:x@127.0.0.1:{network.port}{parts.path}?ssl=disable"
    finally:
        await network.down()
