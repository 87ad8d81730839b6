"""Databases and deployments for every test."""

import asyncio
import functools
import logging
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import structlog
from cofactor_server.seams import SystemEntropy
from cofactor_server.store.transactions.statements import Statements
from cofactor_server.vault import signing_keys
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey

from tests.support import postgres
from tests.support.world import MovableClock, World, world_on

TEMPLATE = "cofactor_template"
KEPT = frozenset({"alembic_version", "settings", "signing_keys"})
"""Tables that say whose a database is, and not who is in it."""


@pytest.fixture(scope="session", autouse=True)
def _read_once() -> Iterator[None]:
    """What every world of a run has alike.

    OpenSSL takes 40 ms to read an RSA key, SQLAlchemy 20 to write the statements, Python 20 to look for plugins.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cofactor_server.store.transactions.database.Statements", functools.cache(Statements))
        patch.setattr(signing_keys, "_private", functools.cache(signing_keys._private))
        patch.setattr("cofactor_server.factors.registry.entry_points", functools.cache(entry_points))
        yield


@pytest.fixture(autouse=True)
def _logs_of_none() -> Iterator[None]:
    """Commands that run in this process set up its logs; the next test finds them as the run began."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a running PostgreSQL's maintenance database, one server for each worker of the suite."""
    # Not below pytest's folder: as root, PostgreSQL runs as a user of its own, and the next pytest that starts shuts
    # that folder to all but root. Its socket's path has to be short besides.
    with (
        tempfile.TemporaryDirectory(prefix="cofactor-") as folder,
        postgres.running(Path(folder) / "data", durable=False) as url,
    ):
        yield url


@pytest.fixture(scope="session")
def root_keys() -> Sequence[RootKey]:
    """The keys of every world of this run."""
    return Keyring.generate(SystemEntropy())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory, root_keys: Sequence[RootKey]) -> Path:
    """A database that was opened once: it has its tables and signing keys."""
    file = tmp_path_factory.mktemp("sqlite") / "template.sqlite3"
    asyncio.run(_prepare(f"sqlite:///{file}", root_keys))
    return file


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str, root_keys: Sequence[RootKey]) -> str:
    """Name of a database that was opened once: it has its tables and signing keys."""

    async def prepare() -> None:
        await _prepare(await postgres.create_database(postgres_url, TEMPLATE), root_keys)

    asyncio.run(prepare())
    return TEMPLATE


@pytest.fixture(scope="session")
def postgres_lender(postgres_url: str, postgres_template: str) -> postgres.Lender:
    """Lends copies of that database."""
    return postgres.Lender(postgres_url, postgres_template, KEPT)


async def _prepare(url: str, root_keys: Sequence[RootKey]) -> None:
    clock = MovableClock()
    async with world_on(url, clock=clock, keyring=Keyring(root_keys, clock)):
        pass


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """Name of the engine that this run of the test is on."""
    return str(request.param)


@pytest.fixture
def prepared(engine: str, request: pytest.FixtureRequest) -> Path | postgres.Lender:
    """Where a world's database comes from: a file to copy, or a lender."""
    source: Path | postgres.Lender = request.getfixturevalue(
        "sqlite_template" if engine == "sqlite" else "postgres_lender"
    )
    return source


@pytest.fixture
async def database_url(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """URL of an empty database, which is not the one of `world`."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path / 'test.sqlite3'}"
        return
    maintenance: str = request.getfixturevalue("postgres_url")
    name = f"test_{uuid.uuid4().hex}"
    try:
        yield await postgres.create_database(maintenance, name)
    finally:
        await postgres.drop_database(maintenance, name)


@pytest.fixture
async def prepared_url(prepared: Path | postgres.Lender, tmp_path: Path) -> AsyncIterator[str]:
    """URL of a database that was opened before with `root_keys`, and holds nobody yet."""
    match prepared:
        case postgres.Lender() as lender:
            async with lender.lent() as url:
                yield url
        case template:
            file = tmp_path / "world.sqlite3"
            shutil.copyfile(template, file)
            yield f"sqlite:///{file}"


@pytest.fixture
async def world(prepared_url: str, root_keys: Sequence[RootKey]) -> AsyncIterator[World]:
    """A deployment that holds nobody yet: MFA always, TOTP and recovery codes on."""
    clock = MovableClock()
    async with world_on(prepared_url, clock=clock, keyring=Keyring(root_keys, clock)) as opened_world:
        yield opened_world
