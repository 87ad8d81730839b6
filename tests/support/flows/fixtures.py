"""Fixtures of the flows: a deployment, its log and traffic, and both edges."""

import io
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import structlog
from cofactor_server.vault.keyring import Keyring
from cofactor_server.vault.root_keys import RootKey

from tests.support.flows.api import Api, GrpcApi, RestApi, Traffic, grpc_edge, rest_edge
from tests.support.flows.steps import ORDERS
from tests.support.world import API, MovableClock, World, world_on


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, before anything is redacted."""
    text = io.StringIO()
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.BoundLogger,
        logger_factory=structlog.PrintLoggerFactory(text),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("sqlalchemy").setLevel(logging.WARNING)
    yield text
    root.setLevel(level)
    root.removeHandler(handler)
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def traffic(log: io.StringIO) -> Iterator[Traffic]:
    """What passes over the edges; nothing secret of it may be logged, or quoted where something is refused (S113)."""
    passed = Traffic()
    yield passed
    assert passed.spilled_in(log.getvalue()) == set()
    assert [text for text in passed.texts if passed.spilled_in(text)] == []


@pytest.fixture
def given() -> dict[str, Any]:
    """What a deployment is given beside the defaults; a test's parameter of this name replaces it."""
    return {}


@pytest.fixture
async def world(
    prepared_url: str, root_keys: Sequence[RootKey], traffic: Traffic, given: dict[str, Any]
) -> AsyncIterator[World]:
    """A deployment that holds nobody yet and logs every call: MFA always, TOTP and recovery codes on."""
    clock = MovableClock()
    keyring = Keyring(root_keys, clock)
    async with world_on(prepared_url, clock=clock, keyring=keyring, access_log=True, **given) as opened:
        yield opened


@pytest.fixture
async def scopes(world: World) -> None:
    """The two APIs of tests are registered, with what may be done there."""
    for audience in (API, ORDERS):
        await world.api("read:cart", "write:cart", "pay", audience=audience)


@pytest.fixture(params=["grpc", "rest"])
async def api(request: pytest.FixtureRequest, world: World, traffic: Traffic) -> AsyncIterator[Api]:
    """The world, over either edge."""
    async with grpc_edge(world, traffic) if request.param == "grpc" else rest_edge(world, traffic) as found:
        yield found


@pytest.fixture
async def grpc_api(world: World, traffic: Traffic) -> AsyncIterator[GrpcApi]:
    """The world over gRPC, for what only that edge carries."""
    async with grpc_edge(world, traffic) as found:
        yield found


@pytest.fixture
async def rest_api(world: World, traffic: Traffic) -> AsyncIterator[RestApi]:
    """The world over HTTP, for what only that edge carries."""
    async with rest_edge(world, traffic) as found:
        yield found
