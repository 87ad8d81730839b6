"""docs/clients.md shows code that runs: lines of the examples, as they stand there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "clients.md").read_text()
SECTION = re.compile(r"^\[[^\]]+\]\(\.\./(clients/\S+)\)\n((?:\n```\w+\n.*?```\n)+)", re.DOTALL | re.MULTILINE)
SHOWN = {file: re.findall(r"```\w+\n(.*?)```", blocks, re.DOTALL) for file, blocks in SECTION.findall(DOCUMENT)}


@pytest.mark.parametrize("file", SHOWN)
def test_what_is_shown_is_what_runs(file: str) -> None:
    example = (ROOT / file).read_text()

    assert SHOWN[file]
    for block in SHOWN[file]:
        assert block in example


def test_an_example_is_less_than_sixty_lines() -> None:
    assert {file: lines for file in SHOWN if (lines := len((ROOT / file).read_text().splitlines())) >= 60} == {}
