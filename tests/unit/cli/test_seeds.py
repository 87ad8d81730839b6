"""`cofactor authenticators import-hotp`: all of a delivery, or none of it."""

import base64
import sqlite3
from pathlib import Path

import pytest
from typer.testing import Result

from tests.unit.cli.conftest import Invoke, line_of, parsed

SEED = b"12345678901234567890"
HEX, BASE32 = SEED.hex(), base64.b32encode(SEED).decode()
SHORT = SEED[:10].hex()
HEADER = "serial,user,secret\n"


@pytest.fixture
def delivered(deployed: Invoke, environment: dict[str, str]) -> Invoke:
    """Run a command of a deployment that serves tokens, and has two users."""
    environment["COFACTOR_FACTORS"] = "totp,hotp,recovery-code"
    for name in ("jane", "joe"):
        assert deployed("users", "create", name, "--no-password").exit_code == 0
    return deployed


def imported(invoke: Invoke, text: str, *options: str) -> Result:
    """Import from standard input."""
    return invoke("authenticators", "import-hotp", "-", *options, typed=text)


def authenticators(invoke: Invoke) -> dict[str, list[tuple[str, str]]]:
    """Return what every user has."""
    return {
        user["name"]: [(a["kind"], a["state"]) for a in user["authenticators"]]
        for user in parsed(invoke("users", "list", "--json"))
    }


@pytest.mark.requirement("S193")
def test_a_delivery_is_bound_to_users_who_exist(delivered: Invoke, tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text(f"﻿Serial, User, Secret, Digits, Counter\r\nT-1,jane,{HEX},8,7\r\n\r\nT-2,joe,{BASE32},,\r\n")

    result = delivered("authenticators", "import-hotp", str(file), "--json")

    assert parsed(result) == {"imported": 2}
    assert authenticators(delivered) == {"jane": [("hotp", "active")], "joe": [("hotp", "active")]}


def test_users_are_told_and_the_secret_is_sealed(delivered: Invoke, environment: dict[str, str]) -> None:
    parsed(imported(delivered, f"{HEADER}T-1,jane,{HEX}\n", "--json"))

    with sqlite3.connect(environment["COFACTOR_DATABASE_URL"].removeprefix("sqlite:///")) as connection:
        dump = "\n".join(connection.iterdump())
        told = connection.execute("select name from notices").fetchall()
    connection.close()
    assert told == [("authenticator_added",)]
    assert SEED.hex().upper() not in dump.upper()
    assert "T-1" in dump


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("T-2,nobody,{hex}", "line 3: user: there is none of this name in default"),
        ("T-1,joe,{hex}", "line 3: serial: is that of line 2"),
        (",joe,{hex}", "line 3: serial: must have 1 to 64 visible characters"),
        ("T-2,,{hex}", "line 3: user: must not be empty"),
        ("T-2,joe,{short}", "line 3: secret: must have at least 128 bits"),
        ("T-2,joe,not base32!", "line 3: secret: is not base32"),
        ("T-2,joe,", "line 3: secret: must have at least 128 bits"),
        ("T-2,joe,{hex},5", "line 3: has 4 values for 3 columns"),
    ],
)
@pytest.mark.requirement("S51")
def test_one_bad_line_stops_the_whole_and_is_named_without_its_secret(
    delivered: Invoke, line: str, problem: str
) -> None:
    bad = line.format(hex=HEX, short=SHORT)

    result = imported(delivered, f"{HEADER}T-1,jane,{HEX}\n{bad}\n")

    assert result.exit_code == 1
    assert problem in result.stderr.splitlines()
    assert "nothing was imported: 1 line to mend" in result.stderr
    assert HEX not in result.output
    assert SHORT not in result.output
    assert authenticators(delivered) == {"jane": [], "joe": []}


def test_every_bad_line_is_named(delivered: Invoke) -> None:
    result = imported(delivered, f"serial,user,secret,digits,counter\nA,jane,{HEX},5,0\nB,joe,{HEX},6,x\nC,x,??,,\n")

    assert [line.split(":")[0] for line in result.stderr.splitlines()[:2]] == ["line 3", "line 4"]
    assert "2 lines to mend" in result.stderr


@pytest.mark.parametrize("digits", ["5", "9"])
@pytest.mark.requirement("S50")
def test_digits_that_no_token_shows_are_refused(delivered: Invoke, digits: str) -> None:
    result = imported(delivered, f"serial,user,secret,digits\nA,jane,{HEX},{digits}\n")

    assert "line 2: digits: must be 6, 7 or 8" in result.stderr


@pytest.mark.parametrize("header", ["", "T-1,jane,3132333435", "serial,user", "serial,serial,user,secret"])
def test_a_first_line_that_names_no_columns_is_refused_without_quoting_it(delivered: Invoke, header: str) -> None:
    result = imported(delivered, f"{header}\nT-1,jane,{HEX}\n")

    assert "the first line" in line_of(result)
    assert "3132333435" not in result.output


def test_a_serial_that_is_bound_is_not_bound_again(delivered: Invoke) -> None:
    parsed(imported(delivered, f"{HEADER}T-1,jane,{HEX}\n", "--json"))

    result = imported(delivered, f"{HEADER}T-2,jane,{HEX}\nT-1,joe,{HEX}\n")

    assert "line 3: serial: is bound already" in result.stderr
    assert authenticators(delivered) == {"jane": [("hotp", "active")], "joe": []}


def test_a_user_holds_five_at_most(delivered: Invoke) -> None:
    lines = "".join(f"T-{number},jane,{HEX}\n" for number in range(6))

    result = imported(delivered, HEADER + lines)

    assert "line 7: user: has 5 authenticators, which is the most" in result.stderr
    assert authenticators(delivered)["jane"] == []


def test_short_secrets_are_taken_where_they_are_asked_for(delivered: Invoke) -> None:
    assert parsed(imported(delivered, f"{HEADER}T-1,jane,{SHORT}\n", "--allow-short", "--json")) == {"imported": 1}


def test_an_encoding_that_is_named_is_the_only_one_taken(delivered: Invoke) -> None:
    assert (
        "line 2: secret: is not hexadecimal"
        in imported(delivered, f"{HEADER}T-1,jane,{BASE32}\n", "--encoding", "hex").stderr
    )
    assert imported(delivered, f"{HEADER}T-1,jane,{BASE32}\n", "--encoding", "base32").exit_code == 0


def test_tokens_that_could_not_be_used_are_not_imported(delivered: Invoke, environment: dict[str, str]) -> None:
    environment["COFACTOR_FACTORS"] = "totp,recovery-code"

    assert "hotp is not switched on" in line_of(imported(delivered, f"{HEADER}T-1,jane,{HEX}\n"))


def test_a_file_that_is_not_there_is_named(delivered: Invoke, tmp_path: Path) -> None:
    assert "tokens.csv" in line_of(delivered("authenticators", "import-hotp", str(tmp_path / "tokens.csv")))
