"""An empty PostgreSQL database, for what only that engine does."""

import uuid
from collections.abc import AsyncIterator

import pytest

from tests.support import postgres


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncIterator[str]:
    """URL of an empty PostgreSQL database."""
    name = f"store_{uuid.uuid4().hex}"
    try:
        yield await postgres.create_database(postgres_url, name)
    finally:
        await postgres.drop_database(postgres_url, name)
