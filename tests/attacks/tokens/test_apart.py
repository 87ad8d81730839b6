"""Security decision 12: a demo's database is no server's, and a server's no demo's."""

import pytest
from cofactor_server.app import Configuration, Unfit, opened
from cofactor_server.seams import SystemEntropy
from cofactor_server.vault.keyring import Keyring, KeyringInvalid

from tests.support.flows.attacks import open_world
from tests.support.world import CHEAP, MovableClock, deployment


@pytest.mark.requirement("S78")
@pytest.mark.parametrize("first", [True, False], ids=["demo first", "server first"])
async def test_a_demo_and_a_server_never_share_a_database(first: bool, database_url: str) -> None:
    clock = MovableClock()
    keyring = Keyring(Keyring.generate(SystemEntropy()), clock)

    def configuration(*, demo: bool) -> Configuration:
        return Configuration(database_url, keyring, deployment(), demo=demo, clock=clock, password_cost=CHEAP)

    async with opened(configuration(demo=first)):
        pass
    with pytest.raises(Unfit):
        async with opened(configuration(demo=not first)):
            pass
    async with opened(configuration(demo=first)):
        pass


async def test_another_issuer_does_not_open_the_database(database_url: str) -> None:
    async with open_world(database_url) as world:
        clock, keyring = world.clock, world.keyring

    with pytest.raises(Unfit):
        async with open_world(database_url, clock=clock, keyring=keyring, issuer="https://other.example.test/"):
            pass


async def test_another_keyring_does_not_open_the_database(database_url: str) -> None:
    async with open_world(database_url) as world:
        clock = world.clock

    with pytest.raises(KeyringInvalid):
        async with open_world(database_url, clock=clock):
            pass
