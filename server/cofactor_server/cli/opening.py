"""What the commands that work on the database share: settings, configuration, one piece of work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cofactor_server.app import Application, Configuration, opened
from cofactor_server.delivery import providers
from cofactor_server.delivery.providers import DeliveryUnusable
from cofactor_server.domain.authenticators.kinds import (
    EMAIL,
    PHONE_KINDS,
    RECOVERY_CODE,
    RESTRICTED,
    RETIRED,
    SMS,
    VOICE,
)
from cofactor_server.factors import registry
from cofactor_server.hooks.target import HookUnusable
from cofactor_server.seams import SystemClock, SystemEntropy
from cofactor_server.services.operators.users_and_clients import Operators
from cofactor_server.settings import Settings, SettingsInvalid, load
from cofactor_server.vault.keyring import Keyring, KeyringInvalid

R = TypeVar("R")

CHANNELS = frozenset({SMS, VOICE, EMAIL})
"""Kinds that are nothing without a channel of their name. A push reaches devices that watch, without any."""


def configured(settings: Settings) -> Configuration:
    """Return what settings compose.

    Raises:
        SettingsInvalid: The keyring or a provider's file can't be read, or a factor does not exist or can't be served.
    """
    clock, entropy = SystemClock(), SystemEntropy()
    try:
        keyring = Keyring.load(settings.keyring_file, clock, entropy)
    except KeyringInvalid as problem:
        raise SettingsInvalid(f"COFACTOR_KEYRING_FILE: {problem}") from None
    deployment = settings.deployment()
    known = registry.load(entropy, deployment.relying_party, strict=deployment.strict)
    if retired := sorted(deployment.kinds & RETIRED.keys()):
        raise SettingsInvalid(f"COFACTOR_FACTORS: {retired[0]} is of the past; there is {RETIRED[retired[0]]}")
    if deployment.strict and (restricted := sorted(deployment.kinds & RESTRICTED)):
        raise SettingsInvalid(f"COFACTOR_FACTORS: the strict profile serves no {restricted[0]}")
    if deployment.kinds & PHONE_KINDS and not deployment.kinds - RESTRICTED - {RECOVERY_CODE}:
        raise SettingsInvalid("COFACTOR_FACTORS: sms and voice need something stronger beside them, such as totp")
    if unknown := sorted(deployment.kinds - known.keys()):
        raise SettingsInvalid(f"COFACTOR_FACTORS: no factor {', '.join(unknown)}; there are {', '.join(known)}")
    try:
        sender = providers.composed(settings, settings.friendly_name, clock, entropy)
    except DeliveryUnusable as problem:
        raise SettingsInvalid(str(problem)) from None
    unsent = sorted(kind for kind in deployment.kinds & known.keys() & CHANNELS if not sender.carries(kind))
    if unsent:
        raise SettingsInvalid(f"COFACTOR_FACTORS: nothing carries {unsent[0]}; name a provider in COFACTOR_DELIVERY")
    try:
        hook = settings.hook()
        if hook is not None:
            hook.credentials()
    except HookUnusable as problem:
        raise SettingsInvalid(f"COFACTOR_HOOK_TARGET: {problem}") from None
    return Configuration(
        database_url=settings.database(),
        listen_url=settings.listens(),
        keyring=keyring,
        deployment=deployment,
        clock=clock,
        entropy=entropy,
        sender=sender,
        hook=hook,
        trusted_proxies=settings.trusted_proxies,
        push_rejected=settings.push_rejected,
        access_log=settings.access_log,
    )


def operate(work: Callable[[Operators, Settings], Awaitable[R]]) -> R:
    """Do one piece of work on the database that the settings name, with the authority of its keyring.

    Raises:
        SettingsInvalid: The settings can't be used.
        Unfit: The database is another deployment's, a demo's, or of another schema.
        Unavailable: The database is away.
    """
    return within(lambda application, settings: work(application.operators, settings))


def within(work: Callable[[Application, Settings], Awaitable[R]]) -> R:
    """Do one piece of work with the whole application, as `operate` does.

    Raises:
        SettingsInvalid: The settings can't be used.
        Unfit: The database is another deployment's, a demo's, or of another schema.
        Unavailable: The database is away.
    """
    settings = load()

    async def opening() -> R:
        async with opened(configured(settings), migrate=False) as application:
            return await work(application, settings)

    return asyncio.run(opening())
