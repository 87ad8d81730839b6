from collections.abc import AsyncIterator

import pytest

from tests.flows.attacks.tools import open_world
from tests.world import World


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A deployment with an authenticator app, recovery codes and two kinds whose codes are sent."""
    async with open_world(database_url) as opened_world:
        yield opened_world
