from collections.abc import AsyncIterator

import pytest

from tests.unit.rpc.worlds import Edge, in_process, on_a_socket


@pytest.fixture(params=["socket", "in-process"])
async def edge(request: pytest.FixtureRequest) -> AsyncIterator[Edge]:
    async with on_a_socket() if request.param == "socket" else in_process() as found:
        yield found
