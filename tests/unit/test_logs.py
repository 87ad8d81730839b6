"""What is logged."""

import json
import logging

import pytest
import structlog
from cofactor_server import logs


@pytest.mark.requirement("S113")
def test_what_sounds_secret_is_replaced_at_any_depth(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger("t").info("e", otp="492039", headers={"Authorization": "Basic eDp5"}, list=[{"Code": "1"}])
    line = capsys.readouterr().err
    assert json.loads(line)["otp"] == logs.REDACTED
    assert not [secret for secret in ("492039", "eDp5", '"1"') if secret in line]


def test_the_name_of_a_status_is_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    structlog.get_logger("t").info("rpc", code="RESOURCE_EXHAUSTED")
    assert json.loads(capsys.readouterr().err)["code"] == "RESOURCE_EXHAUSTED"


@pytest.mark.requirement("S113")
def test_an_exceptions_message_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure()
    try:
        raise ValueError("492039")
    except ValueError:
        logging.getLogger("t").exception("failed")
        structlog.get_logger("t").exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["exception"] == second["exception"] == "builtins.ValueError"
    assert "492039" not in str((first, second))
