"""Every promise of the requirements is kept by a test, or named with the reason why not."""

import re
from pathlib import Path

from tests import matrix

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests", "clients/python/cofactor_tests")


def cited() -> set[str]:
    """Return the requirements that tests cite."""
    found: set[str] = set()
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            for marker in re.findall(r"mark\.requirement\(([^)]*)\)", file.read_text()):
                found.update(re.findall(r'"(S\d+)"', marker))
    return found


def test_each_promise_is_cited_by_a_test_or_named_as_not_applicable() -> None:
    assert set(matrix.REQUIREMENTS) - cited() == set(matrix.NOT_APPLICABLE)


def test_what_is_not_applicable_has_a_reason() -> None:
    assert all(len(reason.split()) >= 5 for reason in matrix.NOT_APPLICABLE.values())
