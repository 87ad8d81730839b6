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


def test_a_login_is_explained_that_nobody_attempts(deployed: Invoke) -> None:
    client = parsed(deployed("clients", "create", "Shop", "--grant", "password", "--json"))["client_id"]
    created = deployed("users", "create", "jane", "--password-stdin", typed="correct horse battery staple\n")
    assert created.exit_code == 0
    rule = parsed(deployed("policies", "add", "--client", client, "--acr", "mfa", "--json"))["id"]

    told = parsed(deployed("policies", "explain", "jane", "--client", client, "--source", "203.0.113.7", "--json"))

    assert (told["outcome"], told["policy"], told["decided_by"]) == ("enrollment_required", "always", [rule])
    assert (told["acr"], told["wanted_by"], told["hook"]) == ("urn:cofactor:acr:mfa", [rule], "absent")
    assert told["unlocked_at"] is None
    assert [b["name"] for b in told["budgets"] if b["applies"] and b["remaining"] == b["limit"]][:2] == [
        "login-attempts-of-strangers",
        "login-attempts-of-source",
    ]
    people = deployed("policies", "explain", "jane", "--client", client).stdout
    assert f"policy      always, by {rule}" in people
    assert "10 of 10" in people


def test_what_can_not_be_explained_is_one_line(deployed: Invoke) -> None:
    client = parsed(deployed("clients", "create", "Shop", "--grant", "password", "--json"))["client_id"]
    explain = ("policies", "explain", "jane", "--client")
    assert "no such client or user" in line_of(deployed(*explain, client))
    assert "is no address" in line_of(deployed(*explain, client, "--source", "nowhere"))
    assert deployed("users", "create", "jane", "--password-stdin", typed="correct horse battery\n").exit_code == 0
    assert "The audience is not allowed" in line_of(deployed(*explain, client, "--audience", "https://else.example/"))
