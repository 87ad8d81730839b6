"""What the commands that work on the database share: settings, configuration, one piece of work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cofactor_server.app import Configuration, opened
from cofactor_server.factors import registry
from cofactor_server.seams import SystemClock, SystemEntropy
from cofactor_server.services.operators import Operators
from cofactor_server.settings import Settings, SettingsInvalid, load
from cofactor_server.vault.keyring import Keyring, KeyringInvalid

R = TypeVar("R")


def configured(settings: Settings) -> Configuration:
    """Return what settings compose.

    Raises:
        SettingsInvalid: The keyring can't be read, or a factor does not exist.
    """
    clock, entropy = SystemClock(), SystemEntropy()
    try:
        keyring = Keyring.load(settings.keyring_file, clock, entropy)
    except KeyringInvalid as problem:
        raise SettingsInvalid(f"COFACTOR_KEYRING_FILE: {problem}") from None
    deployment = settings.deployment()
    known = registry.load(entropy, strict=deployment.strict)
    if unknown := sorted(deployment.kinds - known.keys()):
        raise SettingsInvalid(f"COFACTOR_FACTORS: no factor {', '.join(unknown)}; there are {', '.join(known)}")
    return Configuration(
        database_url=settings.database(),
        keyring=keyring,
        deployment=deployment,
        clock=clock,
        entropy=entropy,
        trusted_proxies=settings.trusted_proxies,
        access_log=settings.access_log,
    )


def operate(work: Callable[[Operators, Settings], Awaitable[R]]) -> R:
    """Do one piece of work on the database that the settings name, with the authority of its keyring.

    Raises:
        SettingsInvalid: The settings can't be used.
        Unfit: The database is another deployment's, a demo's, or of another schema.
        Unavailable: The database is away.
    """
    settings = load()

    async def opening() -> R:
        async with opened(configured(settings), migrate=False) as application:
            return await work(application.operators, settings)

    return asyncio.run(opening())
