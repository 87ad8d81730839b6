"""The check of words: where it looks, and what it says."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def words() -> ModuleType:
    spec = importlib.util.spec_from_file_location("words", ROOT / "tools" / "words.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE = '[words]\n"octets?" = "bytes"\n'


@pytest.mark.parametrize(
    ("path", "text", "lines"),
    [
        ("docs/a.md", "Octets.\n\n```sh\necho octets\n```\n`octets` and octets\n", [1, 6]),
        ("protos/a.proto", "// An octet.\nmessage M { bytes octets = 1; }  // octets\n", [1, 2]),
        ("server/a.py", '"""Octets."""\n\nx = "octets"  # octets\n"""Octets of x."""\n', [1, 3, 4]),
        ("server/a.py", "def read_octets() -> None:\n    ...\n", [1]),
        ("server/cli/a.py", 'HELP = "octets"\n', [1]),
    ],
)
def test_prose_is_looked_at_and_code_is_not(words: ModuleType, path: str, text: str, lines: list[int]) -> None:
    found = words.find_words(path, text, words.load_words(TABLE))

    assert sorted({finding.line for finding in found}) == lines
    assert str(found[0]) == f"{path}:{found[0].line}: {found[0].found!r}: write bytes"


def test_the_glossary_can_be_read(words: ModuleType) -> None:
    assert len(words.load_words((ROOT / "tools" / "words.toml").read_text())) > 15
