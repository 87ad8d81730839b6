"""What a request's body says: JSON or form, read with a limit and looked at with distrust."""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from starlette.requests import Request

from cofactor_server import errors

MAX_BODY = 64 * 1024
MAX_DEPTH = 32  # a WebAuthn credential is 4 deep
MAX_FORM_FIELDS = 200
MOST_DIGITS = 10  # of a number that means seconds

_JSON = frozenset({"", "application/json"})
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Body:
    """The members of one body. `null` and "" are absent, and members nobody asks for do not matter (S147)."""

    members: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def has(self, name: str) -> bool:
        """Tell whether the member is present."""
        return self.members.get(name) not in (None, "", [])

    def text(self, name: str) -> str:
        """Return a string, "" where absent; raise InvalidRequest for another type."""
        value = self.members.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise malformed(name, "must be a string")
        return value

    def required(self, name: str) -> str:
        """Return a string; raise MissingParameter where absent."""
        value = self.text(name)
        if not value:
            raise errors.MissingParameter(parameter=name)
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean, False where absent; a form, having only strings, says `true` or `false`."""
        value = self.members.get(name)
        if value in (None, ""):
            return False
        if isinstance(value, bool):
            return value
        if value not in ("true", "false"):
            raise malformed(name, "must be true or false")
        return bool(value == "true")

    def object(self, name: str) -> "Body":
        """Return a required JSON object; raise MissingParameter where absent, InvalidRequest for another type."""
        if not self.has(name):
            raise errors.MissingParameter(parameter=name)
        value = self.members[name]
        if not isinstance(value, dict):
            raise malformed(name, "must be an object")
        return Body(value)

    def whole_number(self, name: str) -> int | None:
        """Return a number from 0 on, None where absent; a form, having only strings, holds its digits."""
        value = self.members.get(name)
        if value in (None, ""):
            return None
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value) if len(value) <= MOST_DIGITS else -1
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**MOST_DIGITS:
            raise malformed(name, "must be a whole number from 0 on")
        return value

    def words(self, *names: str) -> list[str]:
        """Return the words of the first member present: a list, a form's repeated field, or commas and spaces."""
        name = next((name for name in names if self.has(name)), None)
        if name is None:
            return []
        value = self.members[name]
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in items):
            raise malformed(name, "must be a list of strings")
        return [word for item in items for word in item.replace(",", " ").split()]

    def document(self, name: str) -> str:
        """Return a required JSON object as text; a form, having only strings, holds the text itself."""
        if not self.has(name):
            raise errors.MissingParameter(parameter=name)
        value = self.members[name]
        if isinstance(value, str):
            return value
        if not isinstance(value, dict):
            raise malformed(name, "must be an object")
        return json.dumps(value, separators=(",", ":"))


async def read(request: Request, limit: int, lists: Collection[str] = ()) -> Body:
    """Read the body.

    Parameters:
        limit: In bytes. `serving.lingering` reads the rest of a longer body and throws it away.
        lists: members that a form may repeat, also spelled `name[]`.

    Raises:
        RequestTooLarge, InvalidRequest: nothing of the body is in their texts.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _JSON and media_type != _FORM:
        raise malformed("Content-Type", f"must be application/json or {_FORM}")
    octets = await _octets(request, limit)
    try:
        text = octets.decode()
        members = _form(text, lists) if media_type == _FORM else _json(text)
        _check(members)
    except (ValueError, RecursionError):
        # from None: the cause quotes the body
        raise malformed("body", "cannot be read as what Content-Type says") from None
    return Body(members)


async def read_list(request: Request, limit: int) -> list[Any]:
    """Read a body that is a JSON array.

    Raises:
        RequestTooLarge, InvalidRequest: nothing of the body is in their texts.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _JSON:
        raise malformed("Content-Type", "must be application/json, since the body is an array")
    octets = await _octets(request, limit)
    try:
        value = _parsed(octets.decode())
        _check({"": value})
    except (ValueError, RecursionError):
        raise malformed("body", "cannot be read as what Content-Type says") from None
    if not isinstance(value, list):
        raise malformed("body", "must be an array")
    return value


def malformed(name: str, why: str) -> errors.InvalidRequest:
    """Return the refusal of a parameter; `why` is ours and never quotes the request."""
    return errors.InvalidRequest(violations=((name, why),))


async def _octets(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise errors.RequestTooLarge
    octets = bytearray()
    async for chunk in request.stream():
        octets += chunk
        if len(octets) > limit:
            raise errors.RequestTooLarge
    return bytes(octets)


def _json(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    value = _parsed(text)
    if not isinstance(value, dict):
        raise malformed("body", "must be an object")
    return value


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once, parse_float=_finite, parse_constant=_refuse)


def _form(text: str, lists: Collection[str]) -> dict[str, Any]:
    pairs: list[tuple[str, Any]] = []
    repeated: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FORM_FIELDS):
        plain = name.removesuffix("[]")
        if plain in lists:
            repeated.setdefault(plain, []).append(value)
        else:
            pairs.append((name, value))
    return _once([*pairs, *repeated.items()])


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict, unless a name is given twice: two readers may disagree on which one counts (S146)."""
    pairs = list(pairs)
    members = dict(pairs)
    if len(members) < len(pairs):
        raise malformed("body", "holds a parameter twice")
    return members


def _finite(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise ValueError
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN, Infinity: no JSON


def _check(members: Mapping[str, Any]) -> None:
    """Refuse what no one downstream can store or print: NUL, lone surrogates, deep nesting."""
    pending: list[tuple[Any, int]] = [(members, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise malformed("body", "is nested too deeply")
        if isinstance(value, str):
            value.encode()  # a UnicodeEncodeError is a ValueError
            if "\0" in value:
                raise malformed("body", "holds a NUL character")
        elif isinstance(value, Mapping):
            pending += ((part, depth + 1) for pair in value.items() for part in pair)
        elif isinstance(value, list):
            pending += ((part, depth + 1) for part in value)
