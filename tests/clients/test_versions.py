"""All clients bear the version that stands in clients/python/pyproject.toml."""

import importlib.metadata
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

CLIENTS = Path(__file__).parents[2] / "clients"
VERSION = str(tomllib.loads((CLIENTS / "python" / "pyproject.toml").read_text())["project"]["version"])
MAVEN = "{http://maven.apache.org/POM/4.0.0}"


def of_npm(folder: Path) -> set[str]:
    return {json.loads((folder / file).read_text())["version"] for file in ("package.json", "package-lock.json")}


def of_cargo(folder: Path) -> set[str]:
    lock = tomllib.loads((folder / "Cargo.lock").read_text())["package"]
    package = tomllib.loads((folder / "Cargo.toml").read_text())["package"]
    return {package["version"], *(each["version"] for each in lock if each["name"] == package["name"])}


def of_maven(folder: Path) -> set[str]:
    poms = [ElementTree.parse(file).getroot() for file in folder.rglob("pom.xml") if "target" not in file.parts]
    said = [pom.findtext(f"{MAVEN}version") or pom.findtext(f"{MAVEN}parent/{MAVEN}version") for pom in poms]
    return {version for version in said if version}


def of_go(folder: Path) -> set[str]:
    """Of Go modules tags say the version; the package tells its own to servers, if at all."""
    told = (re.findall(r'Version = "([^"]+)"', file.read_text()) for file in folder.rglob("*.go"))
    return {version for found in told for version in found} or {VERSION}


def of_python(folder: Path) -> set[str]:
    return {importlib.metadata.version("cofactor")}


READ: Mapping[str, Callable[[Path], set[str]]] = {
    "python": of_python,
    "typescript": of_npm,
    "rust": of_cargo,
    "java": of_maven,
    "go": of_go,
}


@pytest.mark.parametrize("language", [name for name in READ if (CLIENTS / name).is_dir()])
def test_a_client_has_the_version_of_all(language: str) -> None:
    assert READ[language](CLIENTS / language) == {VERSION}


def test_no_client_is_left_out() -> None:
    assert {folder.name for folder in CLIENTS.iterdir() if folder.is_dir()} <= set(READ)
