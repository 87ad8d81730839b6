from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey

from tests.support.flows.attacks import open_world
from tests.support.flows.fixtures import api, given, grpc_api, log, rest_api, scopes, traffic
from tests.support.world import MovableClock, World

__all__ = ["api", "given", "grpc_api", "log", "rest_api", "scopes", "traffic", "world"]


@pytest.fixture
async def world(prepared_url: str, root_keys: Sequence[RootKey], given: dict[str, Any]) -> AsyncIterator[World]:
    """A deployment with an authenticator app, recovery codes and two kinds whose codes are sent."""
    clock = MovableClock()
    async with open_world(prepared_url, clock=clock, keyring=Keyring(root_keys, clock), **given) as opened_world:
        yield opened_world
