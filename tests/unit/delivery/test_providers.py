"""Settings of messages: what composes a sender, and what stops the start in one line."""

import os
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from cofactor_server.delivery.providers import DeliveryUnusable, composed
from cofactor_server.delivery.sending import Delivery
from cofactor_server.seams import SystemEntropy
from cofactor_server.settings import SettingsInvalid, load

from tests.support.world import MovableClock

ACCOUNT = "AC" + "0" * 32


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Settings of every provider; each test spoils one."""
    for name in [name for name in os.environ if name.startswith("COFACTOR_")]:
        monkeypatch.delenv(name)
    files = {"smtp": "hunter2", "twilio": "hunter2", "webhook": "hunter2" * 5, "fcm": "{}", "apns": "hunter2"}
    for name, content in files.items():
        (tmp_path / name).write_text(content + "\n")
    given = {
        "ISSUER": "https://mfa.example.com/",
        "KEYRING_FILE": str(tmp_path / "keyring.json"),
        "DATABASE_URL": "sqlite:///x",
        "SMTP_URL": "smtp://user@mail.example.com",
        "SMTP_PASSWORD_FILE": str(tmp_path / "smtp"),
        "MAIL_FROM": "Example <mfa@example.com>",
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_TOKEN_FILE": str(tmp_path / "twilio"),
        "TWILIO_FROM": "+15550006666",
        "WEBHOOK_URL": "https://sms.example.com/messages",
        "WEBHOOK_KEY_FILE": str(tmp_path / "webhook"),
        "FCM_ACCOUNT_FILE": str(tmp_path / "fcm"),
        "APNS_KEY_FILE": str(tmp_path / "apns"),
        "APNS_KEY_ID": "ABC123DEFG",
        "APNS_TEAM_ID": "TEAM123456",
        "APNS_TOPIC": "com.example.mfa",
        "DELIVERY": "email=smtp,sms=twilio,voice=webhook",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"COFACTOR_{name}", value)
    return given


def compose(**given: Any) -> Delivery:
    return composed(load(), "Example", MovableClock(), SystemEntropy(), **given)


def refusal(**given: Any) -> str:
    with pytest.raises((DeliveryUnusable, SettingsInvalid)) as caught:
        compose(**given)
    return str(caught.value)


def carried(delivery: Delivery) -> set[str]:
    return {channel for channel in ("sms", "voice", "email", "push", "pigeon") if delivery.carries(channel)}


def test_each_channel_has_the_provider_that_its_operator_names() -> None:
    assert carried(compose()) == {"email", "sms", "voice"}


def test_without_a_provider_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COFACTOR_DELIVERY")
    assert carried(compose()) == set()


@pytest.mark.requirement("S58")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COFACTOR_DELIVERY", "email"),
        ("COFACTOR_DELIVERY", "email=hunter2!"),
        ("COFACTOR_DELIVERY", "email=smtp,email=webhook"),
        ("COFACTOR_DELIVERY", "email=carrier"),
        ("COFACTOR_DELIVERY", "sms=smtp"),
        ("COFACTOR_DELIVERY", "push=twilio"),
        ("COFACTOR_SMTP_URL", ""),
        ("COFACTOR_SMTP_URL", "smtp://user:hunter2@mail.example.com"),
        ("COFACTOR_SMTP_URL", "smtp+plaintext://mail.example.com"),
        ("COFACTOR_SMTP_URL", "http://mail.example.com"),
        ("COFACTOR_SMTP_URL", "smtp://mail.example.com:hunter2"),
        ("COFACTOR_SMTP_PASSWORD_FILE", ""),
        ("COFACTOR_MAIL_FROM", ""),
        ("COFACTOR_MAIL_FROM", "hunter2"),
        ("COFACTOR_MAIL_FROM", "Example <mfa@example.com>\r\nBcc: hunter2@example.com"),
        ("COFACTOR_TWILIO_ACCOUNT_SID", ""),
        ("COFACTOR_TWILIO_ACCOUNT_SID", "hunter2"),
        ("COFACTOR_TWILIO_TOKEN_FILE", ""),
        ("COFACTOR_TWILIO_TOKEN_FILE", "/nowhere"),
        ("COFACTOR_TWILIO_URL", "http://api.example.com"),
        ("COFACTOR_WEBHOOK_URL", "http://sms.example.com/"),
        ("COFACTOR_WEBHOOK_URL", "https://u:hunter2@sms.example.com/"),
        ("COFACTOR_LANGUAGE", "tlh"),
        ("COFACTOR_TEXTS_FOLDER", "/nowhere"),
        ("COFACTOR_DELIVERY_CA_FILE", "/nowhere"),
        ("COFACTOR_DELIVERY_SECONDS", "0"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    line = refusal()
    assert name in line
    assert "\n" not in line
    assert "hunter2" not in line or name == "COFACTOR_DELIVERY"


@pytest.mark.parametrize(
    ("name", "provider", "content"),
    [
        ("COFACTOR_WEBHOOK_KEY_FILE", "sms=webhook", "hunter2"),
        ("COFACTOR_WEBHOOK_KEY_FILE", "sms=webhook", ""),
        ("COFACTOR_FCM_ACCOUNT_FILE", "push=fcm", "hunter2"),
        ("COFACTOR_FCM_ACCOUNT_FILE", "push=fcm", "[]"),
        ("COFACTOR_FCM_ACCOUNT_FILE", "push=fcm", '{"project_id": "hunter2"}'),
        ("COFACTOR_APNS_KEY_FILE", "push=apns", "hunter2"),
        ("COFACTOR_TWILIO_TOKEN_FILE", "sms=twilio", ""),
        ("COFACTOR_DELIVERY_CA_FILE", "sms=twilio", "hunter2"),
    ],
)
def test_a_bad_file_is_one_line_that_names_its_setting(
    name: str, provider: str, content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "bad"
    file.write_text(content)
    monkeypatch.setenv("COFACTOR_DELIVERY", provider)
    monkeypatch.setenv(name, str(file))
    line = refusal()
    assert line.startswith(name)
    assert "\n" not in line
    assert "hunter2" not in line


class Pigeon:
    """A plugin's provider."""

    channels = frozenset({"pigeon"})

    def __init__(self, environment: dict[str, str]) -> None:
        self.loft = environment["PIGEON_LOFT"]

    async def carry(self, outgoing: object) -> None:
        """Fly."""

    async def close(self) -> None:
        """Land."""


def point(name: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:Pigeon", "cofactor.delivery")


def test_a_plugin_carries_a_channel_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_DELIVERY", "sms=twilio,pigeon=homing")
    assert carried(compose(points=[point("homing")], environment={"PIGEON_LOFT": "3"})) == {"sms", "pigeon"}


def test_a_plugin_that_can_not_start_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_DELIVERY", "pigeon=homing")
    assert "PIGEON_LOFT" in refusal(points=[point("homing")], environment={})


def test_a_plugin_does_not_take_the_name_of_ours() -> None:
    assert "smtp" in refusal(points=[point("smtp")], environment={"PIGEON_LOFT": "3"})


def test_what_settings_hold_is_in_no_repr() -> None:
    assert "hunter2" not in repr(load()) + repr(compose())
