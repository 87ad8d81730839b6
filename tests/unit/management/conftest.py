from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.support.flows.api import RestApi, Traffic
from tests.support.flows.fixtures import log, rest_api, traffic, world  # noqa: F401 - fixtures
from tests.support.world import World
from tests.unit.management.desk import Desk, Recorded

KINDS = frozenset({"totp", "sms", "voice", "email", "push", "webauthn", "recovery-code"})


@pytest.fixture
def given() -> dict[str, Any]:
    """Every factor, since an operator sees them all."""
    return {"kinds": KINDS}


@pytest.fixture
async def desk(world: World, rest_api: RestApi, traffic: Traffic) -> AsyncIterator[Desk]:  # noqa: F811 - fixtures
    """An operator at a deployment that holds nobody yet."""
    transport = Recorded(world.app.management(), traffic)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield Desk(world, http, rest_api)
