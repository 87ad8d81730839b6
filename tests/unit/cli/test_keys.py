"""`cofactor keys`: a new root key in the old one's place, by the command line."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Invoke, line_of, parsed

pytestmark = pytest.mark.requirement("S158")


@pytest.fixture
def file(environment: dict[str, str]) -> Path:
    return Path(environment["COFACTOR_KEYRING_FILE"])


def listed(deployed: Invoke) -> list[tuple[str, int]]:
    return [(key["state"], key["values"]) for key in parsed(deployed("keys", "list", "--json"))]


def wait_over(file: Path) -> None:
    """Let the keys have been what they are for decades."""
    content: dict[str, Any] = json.loads(file.read_text())
    for key in content["keys"]:
        key["since"] = key.get("since", 0) // 2
    file.write_text(json.dumps(content))


def test_a_rotation_from_the_first_step_to_the_last(deployed: Invoke, file: Path) -> None:
    (before,) = parsed(deployed("keys", "list", "--json"))
    rotated = parsed(deployed("keys", "rotate", "--json"))
    assert rotated["active"] != before["id"]
    values = before["values"]
    assert (rotated["new_key"], rotated["resealed"], rotated["left"], rotated["broken"]) == (True, values, 0, {})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert listed(deployed) == [("previous", 0), ("active", values)]

    again = parsed(deployed("keys", "rotate", "--json"))
    assert (again["active"], again["new_key"], again["resealed"]) == (rotated["active"], False, 0)

    assert "in 11 minutes they are over" in line_of(deployed("keys", "retire"))
    wait_over(file)
    assert parsed(deployed("keys", "retire", "--json")) == {"retired": [before["id"]]}
    assert listed(deployed) == [("retired", 0), ("active", values)]
    assert parsed(deployed("keys", "forget", "--json")) == {"forgotten": [before["id"]]}
    assert listed(deployed) == [("active", values)]
    assert "no key is previous" in deployed("keys", "retire").stdout
    assert "no key is retired" in deployed("keys", "forget").stdout


def test_a_key_that_is_prepared_seals_nothing_before_the_rotation(deployed: Invoke) -> None:
    prepared = parsed(deployed("keys", "rotate", "--prepare", "--json"))
    assert parsed(deployed("keys", "rotate", "--prepare", "--json")) == prepared
    assert [state for state, _ in listed(deployed)] == ["active", "next"]
    assert parsed(deployed("keys", "rotate", "--json"))["active"] == prepared["next"]
    assert [state for state, _ in listed(deployed)] == ["previous", "active"]


def test_a_leaked_key_is_retired_at_once_and_forgotten_only_when_nothing_needs_it(deployed: Invoke, file: Path) -> None:
    """As if the rotation had been killed before it sealed anything again."""
    content = json.loads(file.read_text())
    content["keys"][0]["state"] = "previous"
    file.write_text(json.dumps(content))
    new = file.with_name("new.json")
    deployed("keys", "generate", str(new))
    content["keys"] += json.loads(new.read_text())["keys"]
    file.write_text(json.dumps(content))

    assert "values are still under" in line_of(deployed("keys", "retire"))
    assert deployed("keys", "retire", "--leaked").exit_code == 0
    assert "values are still under" in line_of(deployed("keys", "forget"))
    rotated = parsed(deployed("keys", "rotate", "--json"))
    assert rotated["new_key"] is False
    assert rotated["resealed"] > 0
    assert deployed("keys", "forget").exit_code == 0
    assert [state for state, _ in listed(deployed)] == ["active"]


def test_no_command_prints_a_secret(deployed: Invoke, file: Path) -> None:
    said = "".join(
        deployed("keys", *arguments).output
        for arguments in (("list",), ("rotate",), ("list", "--json"), ("retire", "--leaked"), ("forget", "--json"))
    )
    content = json.loads(file.read_text())
    assert said
    assert [key for key in content["keys"] if key["secret"] in said] == []


def states(deployed: Invoke) -> list[tuple[str, str]]:
    return sorted((key["algorithm"], key["state"]) for key in parsed(deployed("keys", "list-signing", "--json")))


def test_new_signing_keys_are_published_before_they_sign(deployed: Invoke) -> None:
    deployed("users", "list")
    assert states(deployed) == [("ES256", "active"), ("RS256", "active")]

    rotated = parsed(deployed("keys", "rotate-signing", "--notice", "30", "--json"))

    assert len(rotated["kids"]) == 2
    assert rotated["active_from"] < rotated["old_until"]
    assert states(deployed) == [("ES256", "next"), ("ES256", "retiring"), ("RS256", "next"), ("RS256", "retiring")]
    assert "do not sign yet" in line_of(deployed("keys", "rotate-signing"))
    assert deployed("keys", "rotate-signing", "--notice", "5").exit_code == 2


def test_leaked_signing_keys_are_retired_at_once(deployed: Invoke) -> None:
    deployed("users", "list")
    deployed("keys", "rotate-signing")

    replaced = parsed(deployed("keys", "rotate-signing", "--leaked", "--json"))

    assert len(replaced["kids"]) == 2
    assert states(deployed) == [
        *[("ES256", "active"), ("ES256", "retired"), ("ES256", "retired")],
        *[("RS256", "active"), ("RS256", "retired"), ("RS256", "retired")],
    ]
