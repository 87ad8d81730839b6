"""Rules, by the command line."""

from tests.cli.conftest import Invoke, line_of, parsed


def test_a_rule_is_added_listed_and_removed(deployed: Invoke) -> None:
    client = parsed(deployed("clients", "create", "Shop", "--grant", "password", "--json"))["client_id"]
    added = parsed(
        deployed("policies", "add", "--client", client, "--scope", "pay", "--acr", "phr", "--max-age", "60", "--json")
    )
    assert (added["ask"], added["client_id"], added["acr"]) == ("always", client, "urn:cofactor:acr:phr")
    assert parsed(deployed("policies", "list", "--json")) == [added]
    assert "max_age 60" in deployed("policies", "list").stdout
    assert parsed(deployed("policies", "remove", added["id"], "--json")) == {"removed": added["id"]}
    assert parsed(deployed("policies", "list", "--json")) == []


def test_what_can_not_be_is_one_line(deployed: Invoke) -> None:
    assert "no such client or user" in line_of(deployed("policies", "add", "--user", "nobody"))
    assert "scope: can only add" in line_of(deployed("policies", "add", "--ask", "never", "--scope", "a"))
    assert "no rule" in line_of(deployed("policies", "remove", "pol_x"))


def test_browsers_of_nobody_are_not_forgotten(deployed: Invoke) -> None:
    assert "no user" in line_of(deployed("users", "forget-browsers", "nobody"))
