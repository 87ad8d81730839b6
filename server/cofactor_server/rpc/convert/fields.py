"""What a field may hold: limits and characters, checked before anything reaches a transaction (ADR-19).

Protobuf refuses text that is not UTF-8 while parsing, lone surrogates among it.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf import duration_pb2, timestamp_pb2

from cofactor_server.errors import InvalidRequest, MissingParameter
from cofactor_server.seams import SECOND

TOKEN_LENGTH = 4096
ID_LENGTH = 128
CODE_LENGTH = 32
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799  # seconds: the years 1 to 9999, as timestamp.proto has it


class Shape(NamedTuple):
    """Which characters a text may hold."""

    fits: Callable[[str], Any]
    problem: str


# Bidirectional overrides and line separators count as control characters: a name is shown beside others.
NAME = Shape(
    re.compile("[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*").fullmatch, "holds a control character"
)
SECRET = Shape(re.compile("[^\x00]*").fullmatch, "holds a NUL")
VISIBLE = Shape(
    lambda text: text.isascii() and text.isprintable() and " " not in text,
    "holds a character that is not visible ASCII",
)
# RFC 6749 appendix A.4
SCOPE = Shape(re.compile(r"[ !#-\[\]-~]*").fullmatch, "holds a character that RFC 6749 section 3.3 does not allow")
BASE64URL = Shape(re.compile("[A-Za-z0-9_-]*").fullmatch, "holds an id that is not base64url")
WORD = Shape(re.compile("[a-z0-9_-]*").fullmatch, "holds other characters than a-z, 0-9, _ and -")


class Fields:
    """Collects what is wrong with one request."""

    __slots__ = ("_violations",)

    def __init__(self) -> None:
        self._violations: list[tuple[str, str]] = []

    def refuse(self, name: str, problem: str) -> None:
        """Note a problem."""
        self._violations.append((name, problem))

    def text(self, name: str, value: str, limit: int, shape: Shape) -> str:
        """Return a text that may be empty; `limit` counts characters."""
        if value:
            if len(value) > limit:
                self.refuse(name, f"is longer than {limit} characters")
            elif not shape.fits(value):
                self.refuse(name, shape.problem)
        return value

    def required(self, name: str, value: str, limit: int, shape: Shape) -> str:
        """Return a text that must not be empty.

        Raises:
            MissingParameter: It is.
        """
        if not value:
            raise MissingParameter(parameter=name)
        return self.text(name, value, limit, shape)

    def done(self) -> None:
        """Raise InvalidRequest if anything was noted."""
        if self._violations:
            raise InvalidRequest(violations=tuple(self._violations))


def instant(fields: Fields, name: str, value: timestamp_pb2.Timestamp) -> int:
    """Return microseconds since the Unix epoch."""
    if not (EARLIEST <= value.seconds <= LATEST and 0 <= value.nanos < 1_000_000_000):
        fields.refuse(name, "is not a valid timestamp")
    return value.seconds * SECOND + value.nanos // 1_000


def timestamp(microseconds: int) -> timestamp_pb2.Timestamp:
    """Return the wire's form of an instant."""
    return timestamp_pb2.Timestamp(seconds=microseconds // SECOND, nanos=microseconds % SECOND * 1_000)


def duration(microseconds: int) -> duration_pb2.Duration:
    """Return the wire's form of a length of time, which is not negative."""
    return duration_pb2.Duration(seconds=microseconds // SECOND, nanos=microseconds % SECOND * 1_000)
