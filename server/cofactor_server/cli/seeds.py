"""`cofactor authenticators import-hotp`: a delivery of hardware tokens, as their maker lists them."""

import base64
import binascii
import csv
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer

from cofactor_server.cli.output import Json, Problem, dump, say

if TYPE_CHECKING:
    from cofactor_server.services.authenticators.imports import Seed
    from cofactor_server.services.operators.users_and_clients import Operators
    from cofactor_server.settings import Settings

HOTP = "hotp"
COLUMNS = ("serial", "user", "secret", "digits", "counter", "algorithm")
REQUIRED = COLUMNS[:3]
LONGEST_LINE = 4_096

_hexadecimal = re.compile(r"(?:[0-9A-Fa-f]{2})+").fullmatch


class Encoding(StrEnum):
    """How secrets are written."""

    AUTO = "auto"
    HEX = "hex"
    BASE32 = "base32"


class Unreadable(Exception):
    """A line says something else than it should; quotes no secret."""


def import_hotp(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header line; - for standard input.")],
    realm: Annotated[str, typer.Option(help="Of the users. Default: COFACTOR_DEFAULT_REALM.")] = "",
    encoding: Annotated[
        Encoding, typer.Option(help="Of the secrets; auto takes what can be read as hexadecimal for that.")
    ] = Encoding.AUTO,
    allow_short: Annotated[
        bool, typer.Option("--allow-short", help="Take secrets of 80 to 127 bits, as old tokens have them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bind counter-based hardware tokens (RFC 4226) to users who exist, on the database.

    The first line names the columns, in any order: serial, user and secret, and where they differ from 6, 0 and SHA1
    also digits, counter and algorithm. Every token is usable at once, and its user is told. Either the whole file is
    imported or nothing, and every line that stands in the way is named. Delete the file afterwards: who reads it has
    the second factor of everybody in it.
    """
    from cofactor_server.cli.opening import operate
    from cofactor_server.services.authenticators.imports import ImportRefused

    seeds = _read(file, encoding)

    async def imported(operators: "Operators", settings: "Settings") -> int:
        if HOTP not in settings.factors:  # their owners would count as enrolled, with nothing to log in with
            raise Problem("COFACTOR_FACTORS: hotp is not switched on")
        return await operators.import_tokens(realm or settings.default_realm, seeds, allow_short=allow_short)

    try:
        count = operate(imported)
    except ImportRefused as refused:
        _refuse(refused.problems)
    if as_json:
        dump({"imported": count})
    else:
        say(f"{count} token{'' if count == 1 else 's'} imported; delete {file} now")


def _read(file: Path, encoding: Encoding) -> "list[Seed]":
    try:
        if str(file) == "-":
            return _seeds(typer.get_text_stream("stdin"), encoding)
        with file.open(encoding="utf-8-sig", newline="") as text:
            return _seeds(text, encoding)
    except UnicodeDecodeError:
        raise Problem(f"{file}: is not text in UTF-8") from None
    except csv.Error as error:
        raise Problem(f"{file}: {error}") from None


def _seeds(text: TextIO, encoding: Encoding) -> "list[Seed]":
    csv.field_size_limit(LONGEST_LINE)
    lines = csv.reader(text, strict=True)
    header = [name.strip().lower() for name in next(lines, [])]
    if unknown := [name for name in header if name not in COLUMNS]:
        # Not quoted: where the header is missing, this is the first token.
        raise Problem(f"the first line has {len(unknown)} names that are none of {', '.join(COLUMNS)}")
    if missing := [name for name in REQUIRED if header.count(name) != 1]:
        raise Problem(f"the first line has to name {', '.join(missing)} once")
    seeds, problems = [], []
    for line in lines:
        place = f"line {lines.line_num}"
        if not any(cell.strip() for cell in line):
            continue
        try:
            if len(line) != len(header):
                raise Unreadable(f"has {len(line)} values for {len(header)} columns")
            seeds.append(_seed(place, dict(zip(header, (cell.strip() for cell in line), strict=True)), encoding))
        except Unreadable as problem:
            problems.append(f"{place}: {problem}")
    if problems:
        _refuse(problems)
    if not seeds:
        raise Problem("there is no token in it")
    return seeds


def _seed(place: str, said: Mapping[str, str], encoding: Encoding) -> "Seed":
    from cofactor_server.services.authenticators.imports import Seed

    return Seed(
        place=place,
        serial=said["serial"],
        user=said["user"],
        secret=_secret(said["secret"], encoding),
        digits=_whole("digits", said.get("digits") or "6"),
        counter=_whole("counter", said.get("counter") or "0"),
        algorithm=(said.get("algorithm") or "SHA1").upper().replace("-", ""),
    )


def _secret(text: str, encoding: Encoding) -> bytes:
    written = text.replace(" ", "")
    if encoding is Encoding.HEX or (encoding is Encoding.AUTO and _hexadecimal(written)):
        if not _hexadecimal(written):
            raise Unreadable("secret: is not hexadecimal")
        return bytes.fromhex(written)
    bare = written.upper().rstrip("=")
    try:
        return base64.b32decode(bare + "=" * (-len(bare) % 8))
    except (binascii.Error, ValueError):
        raise Unreadable("secret: is not base32") from None


def _whole(name: str, text: str) -> int:
    # Not int(): it takes signs, underscores and digits of other scripts.
    if len(text) > 20 or not text.isascii() or not text.isdigit():
        raise Unreadable(f"{name}: is no number")
    return int(text)


def _refuse(problems: Sequence[str]) -> NoReturn:
    for problem in problems:
        typer.echo(problem, err=True)
    raise Problem(f"nothing was imported: {len(problems)} line{'' if len(problems) == 1 else 's'} to mend")
