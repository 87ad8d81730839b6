"""Frozen values, which do not print their secrets."""

import dataclasses
import importlib
import pkgutil
from typing import Generic, TypeVar

import pytest
from cofactor_server import domain
from cofactor_server.domain.foundation.values import Secret, Value, each, replace
from rich.pretty import pretty_repr

T = TypeVar("T")


class Badge(Value, frozen=True):
    """A value with a secret, one without a default and one with."""

    name: str
    pin: Secret[str]
    colors: list[str] = each(default_factory=list)
    puk: Secret[bytes | None] = None


class Engraved(Badge, Generic[T], frozen=True):
    """One that inherits them."""

    text: T | None = None


def test_a_secret_does_not_print() -> None:
    assert repr(Badge("a", "1234", puk=b"5678")) == "Badge(name='a', colors=[])"


def test_a_secret_does_not_print_by_rich_either() -> None:
    assert pretty_repr(Badge("a", "1234", puk=b"5678")) == "Badge(name='a', colors=[])"


def test_an_inherited_secret_does_not_print_either() -> None:
    assert repr(Engraved(name="a", pin="1234", text="b")) == "Engraved(name='a', colors=[], text='b')"


def test_a_value_does_not_change() -> None:
    badge = Badge("a", "1234")
    with pytest.raises(AttributeError):
        badge.name = "b"  # type: ignore[misc]
    assert replace(badge, name="b") == Badge("b", "1234")
    assert badge.name == "a"


def test_the_domain_is_made_of_values_alone() -> None:
    modules = [
        importlib.import_module(f"{domain.__name__}.{found.name}") for found in pkgutil.iter_modules(domain.__path__)
    ]
    assert not [value for module in modules for value in vars(module).values() if dataclasses.is_dataclass(value)]
