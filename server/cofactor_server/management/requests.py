"""What a request says: closed bodies, queries, paths; whatever else is there is refused."""

from collections.abc import Collection, Sequence
from typing import Any

from starlette.requests import Request

from cofactor_server.management.errors import wrong_path, wrong_query
from cofactor_server.rest import bodies
from cofactor_server.rest.bodies import Body, malformed

LONGEST_ID = 128
DEFAULT_PER_PAGE = 50
MOST_PER_PAGE = 100
_MOST_DIGITS = 9


async def body(request: Request, limit: int, members: Collection[str]) -> Body:
    """Return a body, JSON or form, that has no other members.

    Raises:
        RequestTooLarge, InvalidRequest
    """
    return closed(await bodies.read(request, limit), members)


async def objects(request: Request, limit: int, members: Collection[str]) -> list[Body]:
    """Return the objects of a body that is an array of them.

    Raises:
        RequestTooLarge, InvalidRequest
    """
    found = await bodies.read_list(request, limit)
    if not all(isinstance(item, dict) for item in found):
        raise malformed("body", "must be an array of objects")
    return [closed(Body(item), members) for item in found]


async def words(request: Request, limit: int) -> list[str]:
    """Return the strings of a body that is an array of them.

    Raises:
        RequestTooLarge, InvalidRequest
    """
    return _strings("body", await bodies.read_list(request, limit))


def closed(found: Body, members: Collection[str]) -> Body:
    """Return a body; refuse members that nobody asks for, and do not repeat their names."""
    if not members >= found.members.keys():  # type: ignore[operator]  # a set
        raise malformed("body", f"may have no other members than {', '.join(sorted(members))}")
    return found


def listed(found: Body, name: str) -> list[str]:
    """Return a required member that is an array of strings, which a form repeats."""
    value = found.members.get(name)
    if value is None:
        raise malformed(name, "is required")
    return _strings(name, value)


def flag(found: Body, name: str) -> bool:
    """Return a required boolean."""
    if not found.has(name):
        raise malformed(name, "is required")
    return found.flag(name)


def text(found: Body, name: str, *, longest: int) -> str:
    """Return a string, empty where absent."""
    value = found.text(name)
    if len(value) > longest:
        raise malformed(name, f"must have at most {longest} characters")
    return value


def path(request: Request, name: str = "id") -> str:
    """Return an id of the path, decoded once."""
    value: str = request.path_params[name]
    if not 0 < len(value) <= LONGEST_ID or not all("!" <= character <= "~" for character in value):
        raise wrong_path("the id has other than 1 to 128 visible ASCII characters")
    return value


def query(request: Request, *known: str) -> dict[str, str]:
    """Return what a query says; refuse parameters that nobody asks for, and those given twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise wrong_query(f"there are no other parameters than {', '.join(known)}" if known else "there are none")
        if name in found:
            raise wrong_query(f"{name} is given twice")
        found[name] = value
    return found


def truth(found: dict[str, str], name: str) -> bool:
    """Return a boolean of a query, False where absent."""
    value = found.get(name, "false")
    if value not in ("true", "false"):
        raise wrong_query(f"{name} must be true or false")
    return value == "true"


def page(found: dict[str, str], items: Sequence[Any]) -> tuple[Sequence[Any], int, int]:
    """Return the page that a query asks for, where it starts, and how many it may have."""
    number = _number(found, "page", 0, 10**_MOST_DIGITS)
    size = _number(found, "per_page", DEFAULT_PER_PAGE, MOST_PER_PAGE)
    if not size:
        raise wrong_query("per_page must be at least 1")
    start = number * size
    return items[start : start + size], start, size


def _number(found: dict[str, str], name: str, default: int, most: int) -> int:
    value = found.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS and int(value) <= most):
        raise wrong_query(f"{name} must be a whole number up to {most}")
    return int(value)


def _strings(name: str, value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in items):
        raise malformed(name, "must be an array of strings")
    return items
