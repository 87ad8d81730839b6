"""The providers of a deployment: those its settings name, ours and those of plugins."""

import json
import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from cofactor_server.delivery import number_checks
from cofactor_server.delivery.apns import Apns
from cofactor_server.delivery.fcm import Fcm
from cofactor_server.delivery.number_checks import NumberCheck, NumberChecks
from cofactor_server.delivery.provider import Provider
from cofactor_server.delivery.sending import Delivery
from cofactor_server.delivery.settings import NEEDED, DeliverySettings, sender, smtp_server
from cofactor_server.delivery.smtp import Smtp
from cofactor_server.delivery.texts import Texts, TextsInvalid
from cofactor_server.delivery.twilio import Twilio
from cofactor_server.delivery.webhook import Webhook
from cofactor_server.seams import Clock, Entropy

GROUP = "cofactor.delivery"
"""Entry points of this group name what takes the process's environment and returns a `Provider`. A plugin's own
settings have names that do not begin with `COFACTOR_`."""


class DeliveryUnusable(Exception):
    """The settings of messages can't be used: the text names the variable, and no secret."""


def composed(
    settings: DeliverySettings,
    friendly_name: str,
    clock: Clock,
    entropy: Entropy,
    *,
    points: Iterable[EntryPoint] | None = None,
    check_points: Iterable[EntryPoint] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Delivery:
    """Return what sends this deployment's messages; connects to nothing yet.

    Args:
        settings: Which provider carries what.
        friendly_name: The deployment's, for texts.
        clock: Dates messages and times breakers.
        entropy: Names messages.
        points: Plugins; None for the installed ones.
        check_points: Plugins that check telephone numbers; likewise.
        environment: What plugins read their settings from.

    Raises:
        DeliveryUnusable: A file can't be read, a provider does not exist or does not carry the channel.
    """
    trust = _trust(settings.delivery_ca_file)
    try:
        texts = Texts(friendly_name, language=settings.language, folder=settings.texts_folder)
    except TextsInvalid as problem:
        name = "COFACTOR_TEXTS_FOLDER" if settings.texts_folder else "COFACTOR_LANGUAGE"
        raise DeliveryUnusable(f"{name}: {problem}") from None
    plugins = {point.name: point for point in (entry_points(group=GROUP) if points is None else points)}
    if taken := sorted(plugins.keys() & NEEDED.keys()):
        raise DeliveryUnusable(f"a plugin calls itself {taken[0]}, which is a provider of ours")
    made: dict[str, Provider] = {}
    providers: dict[str, tuple[str, Provider]] = {}
    for route in settings.delivery:
        channel, _, name = route.partition("=")
        if name not in made:
            made[name] = _made(name, settings, trust, clock, plugins, environment)
        channel = f"push:{name}" if channel == "push" and f"push:{name}" in made[name].channels else channel
        if channel not in made[name].channels:
            raise DeliveryUnusable(f"COFACTOR_DELIVERY: {name} does not carry {channel.partition(':')[0]}")
        providers[channel] = (name, made[name])
    checks = entry_points(group=number_checks.GROUP) if check_points is None else check_points
    check = NumberChecks(_check(settings.number_check, checks, environment))
    return Delivery(providers, texts, clock, entropy, deadline=settings.delivery_seconds, number_checks=check)


def _check(name: str, points: Iterable[EntryPoint], environment: Mapping[str, str]) -> NumberCheck | None:
    if not name:
        return None
    plugins = {point.name: point for point in points}
    if name not in plugins:
        known = ", ".join(sorted(plugins)) or "none"
        raise DeliveryUnusable(f"COFACTOR_NUMBER_CHECK: no check {name} is installed; there are {known}")
    check: NumberCheck = _plugin("COFACTOR_NUMBER_CHECK", plugins[name], environment)
    return check


def _made(
    name: str,
    settings: DeliverySettings,
    trust: ssl.SSLContext,
    clock: Clock,
    plugins: Mapping[str, EntryPoint],
    environment: Mapping[str, str],
) -> Provider:
    ours: dict[str, Callable[[], Provider]] = {
        "smtp": lambda: _smtp(settings, trust, clock),
        "twilio": lambda: _twilio(settings, trust),
        "webhook": lambda: _webhook(settings, trust, clock),
        "fcm": lambda: _fcm(settings, trust, clock),
        "apns": lambda: _apns(settings, trust, clock),
    }
    if name in ours:
        return ours[name]()
    if name not in plugins:
        known = ", ".join(sorted({*ours, *plugins}))
        raise DeliveryUnusable(f"COFACTOR_DELIVERY: no provider {name}; there are {known}")
    provider: Provider = _plugin("COFACTOR_DELIVERY", plugins[name], environment)
    return provider


def _plugin(setting: str, point: EntryPoint, environment: Mapping[str, str]) -> Any:
    """Return what a plugin makes of the environment, or raise DeliveryUnusable with the setting that asked for it."""
    try:
        return point.load()(environment)
    except Exception as error:
        raise DeliveryUnusable(f"{setting}: {point.name}: {error}") from None


def _smtp(settings: DeliverySettings, trust: ssl.SSLContext, clock: Clock) -> Provider:
    password = _secret("smtp_password_file", settings.smtp_password_file) if settings.smtp_password_file else ""
    server = smtp_server(settings.smtp_url or "", password)
    if bool(server.user) != bool(password):
        raise DeliveryUnusable("COFACTOR_SMTP_PASSWORD_FILE: a user in COFACTOR_SMTP_URL takes this, and this a user")
    return Smtp(server, sender(settings.mail_from or ""), trust, clock)


def _twilio(settings: DeliverySettings, trust: ssl.SSLContext) -> Provider:
    token = _secret("twilio_token_file", settings.twilio_token_file)
    try:
        return Twilio(
            settings.twilio_account_sid or "",
            token,
            settings.twilio_from or "",
            trust,
            key=settings.twilio_api_key_sid or "",
            base=settings.twilio_url,
        )
    except ValueError as problem:
        raise DeliveryUnusable(f"COFACTOR_TWILIO_ACCOUNT_SID: {problem}") from None


def _webhook(settings: DeliverySettings, trust: ssl.SSLContext, clock: Clock) -> Provider:
    key = _secret("webhook_key_file", settings.webhook_key_file).encode()
    try:
        return Webhook(settings.webhook_url or "", key, trust, clock)
    except ValueError as problem:
        raise DeliveryUnusable(f"COFACTOR_WEBHOOK_KEY_FILE: {problem}") from None


def _fcm(settings: DeliverySettings, trust: ssl.SSLContext, clock: Clock) -> Provider:
    try:
        account = json.loads(_secret("fcm_account_file", settings.fcm_account_file))
        if not isinstance(account, dict):
            raise ValueError("must be the JSON of a service account")
        return Fcm(account, trust, clock, base=settings.fcm_url)
    except ValueError as problem:
        text = "must be JSON" if isinstance(problem, json.JSONDecodeError) else problem
        raise DeliveryUnusable(f"COFACTOR_FCM_ACCOUNT_FILE: {text}") from None


def _apns(settings: DeliverySettings, trust: ssl.SSLContext, clock: Clock) -> Provider:
    key = _secret("apns_key_file", settings.apns_key_file)
    try:
        return Apns(
            key,
            settings.apns_key_id or "",
            settings.apns_team_id or "",
            settings.apns_topic or "",
            trust,
            clock,
            base=settings.apns_url,
        )
    except ValueError as problem:
        raise DeliveryUnusable(f"COFACTOR_APNS_KEY_FILE: {problem}") from None


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            reason = getattr(error, "strerror", None) or "no certificates"
            raise DeliveryUnusable(f"COFACTOR_DELIVERY_CA_FILE: {ca_file}: {reason}") from None
    return context


def _secret(name: str, file: Path | None) -> str:
    variable = f"COFACTOR_{name.upper()}"
    if file is None:
        raise DeliveryUnusable(f"{variable}: is required")
    try:
        content = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DeliveryUnusable(f"{variable}: {file}: {getattr(error, 'strerror', None) or 'not text'}") from None
    if not content:
        raise DeliveryUnusable(f"{variable}: {file}: is empty")
    return content
