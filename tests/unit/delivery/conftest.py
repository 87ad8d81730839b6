import io
import ssl
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from cofactor_server.delivery.provider import Outgoing, Provider
from cofactor_server.delivery.sending import Delivery
from cofactor_server.delivery.texts import Texts
from cofactor_server.seams import SystemEntropy

from tests.support.world import MovableClock
from tests.unit.delivery.gateway import Gateway, gateway

NUMBER = "+447700900123"
CODE = "492039"


@pytest.fixture
async def peer() -> AsyncIterator[Gateway]:
    """The provider's side of the wire."""
    async with gateway() as found:
        yield found


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def trust() -> ssl.SSLContext:
    return ssl.create_default_context()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged, before anything is redacted."""
    text = io.StringIO()
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.BoundLogger,
        logger_factory=structlog.PrintLoggerFactory(text),
        cache_logger_on_first_use=False,
    )
    yield text
    structlog.configure(**before)


def outgoing(channel: str = "sms", to: str = NUMBER, **given: object) -> Outgoing:
    """Return a message as a provider gets it."""
    defaults: dict[str, object] = {
        "id": "7d9f4c1e-0f5b-4f0e-9d5b-4a1f0b8c2d3e",
        "channel": channel,
        "to": to,
        "subject": "",
        "text": f"{CODE} is your code & more",
    }
    return Outgoing(**{**defaults, **given})  # type: ignore[arg-type]


def delivery(clock: MovableClock, deadline: float = 2.0, **providers: Provider) -> Delivery:
    """Return what sends over these providers, by channel."""
    named = {channel: ("the provider", provider) for channel, provider in providers.items()}
    return Delivery(named, Texts("Example"), clock, SystemEntropy(), deadline=deadline)
