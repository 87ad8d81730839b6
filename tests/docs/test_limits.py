"""docs/limits.md states the limits that the code has."""

import re
from pathlib import Path

import pytest
from cofactor_server.domain.foundation import budgets
from cofactor_server.domain.foundation.budgets import Bucket

PAGE = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
BUCKETS = {
    "login-attempts": budgets.LOGINS,
    "login-attempts-of-source": budgets.SOURCE_LOGINS,
    "failed-codes": budgets.FAILED_CODES,
    "failed-codes-of-source": budgets.SOURCE_FAILED_CODES,
    "phone-messages": budgets.PHONE_SENDS,
    "mails": budgets.EMAIL_SENDS,
    "prompts": budgets.PUSH_SENDS,
    "messages-of-client": budgets.CLIENT_SENDS,
}


@pytest.mark.requirement("S76")
@pytest.mark.parametrize(("name", "bucket"), BUCKETS.items(), ids=BUCKETS)
def test_a_limit_is_written_down_as_it_is(name: str, bucket: Bucket) -> None:
    (limit,) = re.findall(rf"^\| `{name}`[^|]*\| ([^|]*) \|", PAGE, re.MULTILINE)
    assert re.match(r"[\d,]+", limit)[0].replace(",", "") == str(bucket.size)  # type: ignore[index]


@pytest.mark.requirement("S76")
def test_how_malicious_lockout_is_avoided_is_written_down() -> None:
    (explained,) = re.findall(r"^\*\*Malicious lockout\.\*\* (.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert f"{budgets.DISABLE_AFTER} *consecutive* failures at {budgets.STRANGER_FAILURES_PER_DAY} a day" in explained
    assert "the owner's own budget is another one" in " ".join(explained.split())
