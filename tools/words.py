"""Finds words that stop a reader, in prose that people read: docs, docstrings, comments, protos and command help.

Usage: python tools/words.py [FILE ...]; without files, the pages, the protos and the server. Exits with 1 if it
finds any.
The words and what to write instead are in `tools/words.toml`.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")


class Word(NamedTuple):
    """A word or phrase to avoid, and what to write instead."""

    pattern: re.Pattern[str]
    instead: str


class Finding(NamedTuple):
    """One place where an avoided word stands; `line` counts from 1."""

    path: str
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.found!r}: write {self.instead}"


def load_words(table: str) -> list[Word]:
    """Return the words of a glossary in TOML: a table `words`, from a regular expression to what to write instead."""
    words: dict[str, str] = tomllib.loads(table)["words"]
    return [Word(re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), instead) for pattern, instead in words.items()]


def find_words(path: str, text: str, words: list[Word]) -> list[Finding]:
    """Return the avoided words of one file; `path` decides by its ending which parts of it are prose."""
    return [
        Finding(path, number, match[0], word.instead)
        for number, line in _prose(path, text)
        for word in words
        for match in word.pattern.finditer(line)
    ]


def _prose(path: str, text: str) -> Iterator[tuple[int, str]]:
    if path.endswith(".py"):
        yield from _python(text, every_string="/cli/" in path)
    elif path.endswith(".proto"):
        for number, line in enumerate(text.splitlines(), 1):
            _, mark, comment = line.partition("//")
            if mark:
                yield number, comment
    elif path.endswith(".md"):
        yield from _markdown(text)


def _markdown(text: str) -> Iterator[tuple[int, str]]:
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"`[^`]*`", "", line)


def _python(text: str, *, every_string: bool) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(prose)) as constant):  # a docstring, of an attribute too
                yield from _numbered(constant.lineno, prose)
            case ast.Constant(value=str(prose)) if every_string:
                yield from _numbered(node.lineno, prose)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name.replace("_", " ")
            case _:
                pass


def _numbered(first: int, prose: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(prose.splitlines(), first):
        yield number, re.sub(r"`[^`]*`", "", line)


def _tracked() -> list[str]:
    found = subprocess.run(
        ["git", "ls-files", "--", "*.md", "docs", "protos", "server"],  # noqa: S607 - git comes from the PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in found.stdout.split() if path.endswith((".md", ".proto", ".py"))]


def main(paths: list[str]) -> int:
    """Print the findings in `paths`, or in every tracked file, and return the exit status."""
    words = load_words((ROOT / "tools" / "words.toml").read_text())
    findings = {
        finding
        for path in paths or _tracked()
        if not GENERATED.search(path)
        for finding in find_words(path, (ROOT / path).read_text(), words)
    }
    for finding in sorted(findings):
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
