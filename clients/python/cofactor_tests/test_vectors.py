"""The cases that all languages share."""

from collections.abc import Iterator

import pytest
from cofactor.client import Client
from cofactor.testing.servers import Server

from cofactor_tests.vectors import CASES, Case, connected, fits


@pytest.fixture(scope="module")
def clients(server: Server) -> Iterator[dict[str, Client]]:
    connections = connected(server)
    yield connections
    for connection in connections.values():
        connection.close()


@pytest.mark.parametrize("name", CASES)
def test_vectors(name: str, server: Server, clients: dict[str, Client]) -> None:
    Case(server, clients).run(name)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("*", ""),
        ("a", "b"),
        ({"a": None}, {"a": "x"}),
        ({"a": "*"}, {}),
        ([1], []),
        ([1], [2]),
        ({"a": {"b": True}}, {"a": {"b": 1.5}}),
    ],
    ids=str,
)
def test_a_response_that_differs_does_not_fit(wanted: object, found: object) -> None:
    with pytest.raises(AssertionError):
        fits(wanted, found, "response")
