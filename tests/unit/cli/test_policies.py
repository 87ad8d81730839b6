"""Rules, by the command line."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from cofactor.hooks.v1 import decisions_pb2 as pb
from cofactor.hooks.v1.decisions_pb2_grpc import (
    PolicyDecisionServiceServicer,
    add_PolicyDecisionServiceServicer_to_server,
)

from tests.unit.cli.conftest import Invoke, line_of, parsed


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


def test_a_rule_keeps_the_last_authenticator(deployed: Invoke) -> None:
    created = deployed("users", "create", "jane", "--password-stdin", typed="correct horse battery staple\n")
    assert created.exit_code == 0
    client = parsed(deployed("clients", "create", "Shop", "--grant", "password", "--json"))["client_id"]
    explain = ("policies", "explain", "jane", "--client", client)
    assert parsed(deployed(*explain, "--json"))["keeps_last_authenticator"] is False

    added = parsed(deployed("policies", "add", "--user", "jane", "--keep-one", "--json"))

    assert (added["ask"], added["keep_one"]) == ("always", True)
    assert "keep one" in deployed("policies", "list").stdout
    told = parsed(deployed(*explain, "--json"))
    assert (told["keeps_last_authenticator"], told["enrollment_way"]) == (True, "at_login")
    assert "enrollment  at_login" in deployed(*explain).stdout


def test_what_can_not_be_is_one_line(deployed: Invoke) -> None:
    assert "keep_one: is for everybody" in line_of(deployed("policies", "add", "--audience", "a", "--keep-one"))
    assert "no such client or user" in line_of(deployed("policies", "add", "--user", "nobody"))
    assert "scope: can only add" in line_of(deployed("policies", "add", "--ask", "never", "--scope", "a"))
    assert "no rule" in line_of(deployed("policies", "remove", "pol_x"))


def test_browsers_of_nobody_are_not_forgotten(deployed: Invoke) -> None:
    assert "no user" in line_of(deployed("users", "forget-browsers", "nobody"))


def test_a_user_is_signed_out_everywhere(deployed: Invoke) -> None:
    assert deployed("users", "create", "jane", "--password-stdin", typed="correct horse battery\n").exit_code == 0

    nothing = {"ended_refresh_tokens": 0, "ended_browsers": 0}
    assert parsed(deployed("users", "sign-out", "jane", "--json")) == nothing
    said = deployed("users", "sign-out", "jane").stdout
    assert "jane: signed out everywhere; ended: 0 refresh tokens, 0 remembered browsers" in said
    assert "no user" in line_of(deployed("users", "sign-out", "nobody"))


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


def test_the_hook_of_the_settings_is_asked_on_demand(deployed: Invoke, environment: dict[str, str]) -> None:
    client = parsed(deployed("clients", "create", "Shop", "--grant", "password", "--json"))["client_id"]
    assert deployed("users", "create", "jane", "--password-stdin", typed="correct horse battery\n").exit_code == 0
    asked: list[pb.DecideRequest] = []

    class Hook(PolicyDecisionServiceServicer):
        def Decide(self, request: pb.DecideRequest, context: Any) -> pb.DecideResponse:
            asked.append(request)
            return pb.DecideResponse(deny=pb.Deny())

    server = grpc.server(ThreadPoolExecutor(1))
    add_PolicyDecisionServiceServicer_to_server(Hook(), server)
    environment["COFACTOR_HOOK_TARGET"] = f"dns:///127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        explain = ("policies", "explain", "jane", "--client", client, "--json")
        unasked = parsed(deployed(*explain))
        tries = (parsed(deployed(*explain, "--ask-hook")) for _ in range(5))
        told = next(told for told in tries if told["hook"] != "no_answer")  # 300 ms are short on a busy machine
    finally:
        server.stop(None).wait()

    assert unasked["hook"] == "not_asked"
    assert (told["hook"], told["outcome"]) == ("denies", "denied")
    assert {request.dry_run for request in asked} == {True}


def test_a_file_of_the_hook_that_is_not_there_is_named(deployed: Invoke, environment: dict[str, str]) -> None:
    environment["COFACTOR_HOOK_TARGET"] = "dns:///hook.example.com:443"
    environment["COFACTOR_HOOK_CA_FILE"] = "/nowhere/ca.pem"
    assert "/nowhere/ca.pem" in line_of(deployed("serve"))


def test_what_can_not_be_explained_is_one_line(deployed: Invoke) -> None:
    client = parsed(deployed("clients", "create", "Shop", "--grant", "password", "--json"))["client_id"]
    explain = ("policies", "explain", "jane", "--client")
    assert "no such client or user" in line_of(deployed(*explain, client))
    assert "is no address" in line_of(deployed(*explain, client, "--source", "nowhere"))
    assert deployed("users", "create", "jane", "--password-stdin", typed="correct horse battery\n").exit_code == 0
    assert "The audience is not allowed" in line_of(deployed(*explain, client, "--audience", "https://else.example/"))
