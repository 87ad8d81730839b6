"""Every reason that code, protos and docs cite is a page of this repository."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from cofactor_server.errors import TABLE

from tests.matrix import REQUIREMENTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SERVER = ROOT / "server" / "cofactor_server"
KINDS = {".go", ".java", ".js", ".md", ".proto", ".py", ".rs", ".sh", ".toml", ".ts", ".yaml", ".yml"}

# A citation may go on in the next line, behind the mark of a comment.
_GAP = r"[\s#/*]"
OLD = re.compile(
    rf"\bsecurity(\.md)?`?{_GAP}+\d"
    rf"|\b(contract(-2)?|design)(\.md)?`?(,|:)?{_GAP}+\(?((parts?|sections?|item|items){_GAP}+)?\d"
    r"|\(contract\b|\bcontract \(\d|\bcontract\.md|\bcontract-2\b|\bdesign\.md|\bdesign part\b",
    re.IGNORECASE,
)
CITED = {
    "ADR": re.compile(r"\bADR-(\d+)"),
    "W": re.compile(r"(?<![\w.])W(\d+(?:\.\d+)*)\b"),
    "S": re.compile(r"(?<![\w.-])S(\d{1,3})\b"),
}


@cache
def sources() -> dict[str, str]:
    """Return every text file of the repository but this one, by its path."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    named = {name: ROOT / name for name in listed if Path(name).suffix in KINDS}
    return {name: path.read_text() for name, path in named.items() if path.is_file() and path != Path(__file__)}


@cache
def known() -> dict[str, frozenset[str]]:
    """Return the names that may be cited, of each kind."""
    pages = "".join(path.read_text() for path in (DOCS / "wire").glob("*.md"))
    numbers = [int(path.name[:4]) for path in (DOCS / "decisions").glob("[0-9]*.md")]
    return {
        "ADR": frozenset(map(str, numbers)),
        "W": frozenset(re.findall(r'<a id="W([\d.]+)"></a>', pages)),
        "S": frozenset(name.removeprefix("S") for name in REQUIREMENTS),
    }


@pytest.mark.parametrize("kind", CITED)
def test_every_citation_opens(kind: str) -> None:
    lost = {
        f"{name}: {match[0]}"
        for name, text in sources().items()
        if kind != "S" or Path(name).suffix in {".md", ".proto", ".py"}
        for line in text.splitlines()
        if "noqa" not in line  # whose rules have names like those of requirements
        for match in CITED[kind].finditer(line)
        if match[1] not in known()[kind]
    }
    assert not lost


def test_nothing_cites_documents_outside_the_repository() -> None:
    assert not [f"{name}: {match[0]}" for name, text in sources().items() for match in OLD.finditer(text)]


def test_a_decisions_number_is_in_its_name_and_title() -> None:
    pages = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert page.read_text().startswith(f"# ADR-{int(page.name[:4])}: ")


def test_the_index_lists_every_decision() -> None:
    index = (DOCS / "decisions" / "README.md").read_text()
    assert sorted(re.findall(r"\]\((\d{4}-[^)]+)\)", index)) == sorted(
        page.name for page in (DOCS / "decisions").glob("[0-9]*.md")
    )


def test_numbers_are_given_once() -> None:
    pages = "".join(path.read_text() for path in (DOCS / "wire").glob("*.md"))
    anchors = re.findall(r'<a id="(W[\d.]+)"></a>', pages)
    assert len(anchors) == len(set(anchors))
    assert tuple(f"S{number}" for number in range(1, len(REQUIREMENTS) + 1)) == REQUIREMENTS


@pytest.mark.parametrize(
    "page",
    sorted([*ROOT.glob("*.md"), *(page for page in DOCS.rglob("*.md") if "node_modules" not in page.parts)]),
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors_of(path)):
            lost.append(link)
    assert not lost


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page: those it states, and those of its headings as forges make them."""
    text = page.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"', text))


PLACES = re.compile(r"`([\w/]+\.py)`(?: \(((?:`\w[\w.]*`(?:, )?)+)\))?")


@pytest.mark.parametrize(
    "page",
    [DOCS / "architecture.md", *sorted((DOCS / "decisions").glob("[0-9]*.md"))],
    ids=lambda page: page.stem,
)
def test_files_and_names_that_a_page_points_at_exist(page: Path) -> None:
    lost = []
    for name, symbols in PLACES.findall(page.read_text()):
        path = next((base / name for base in (SERVER, ROOT) if (base / name).is_file()), None)
        if path is None:
            lost.append(name)
            continue
        text = path.read_text()
        for symbol in re.findall(r"`([\w.]+)`", symbols):
            last = symbol.rpartition(".")[2]
            if not re.search(rf"(?:\b(?:class|def) {last}\b)|^\s*{last}\b.*[=:]", text, re.MULTILINE):
                lost.append(f"{name} ({symbol})")
    assert not lost


def test_the_catalogue_on_the_page_is_the_table() -> None:
    """docs/wire/errors.md, W8.1."""
    page = (DOCS / "wire" / "errors.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| `[A-Z_]+` \| \d", line)]
    assert rows == [
        f"| `{reason}` | {row.http} | `{row.oauth}` | {row.text} | `{row.grpc}` |" for reason, row in TABLE.items()
    ]
