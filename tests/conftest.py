"""Databases and deployments for every test."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.world import World, world_on


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a running PostgreSQL's maintenance database, one server for each worker of the suite."""
    folder = tmp_path_factory.mktemp("postgres") / "data"
    with postgres.running(folder) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """Name of the engine that this run of the test is on."""
    return str(request.param)


@pytest.fixture
async def database_url(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """URL of an empty database."""
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
async def world(database_url: str) -> AsyncIterator[World]:
    """A deployment on an empty database: MFA always, TOTP and recovery codes on."""
    async with world_on(database_url) as opened_world:
        yield opened_world
