"""Users, clients and keys, by the command line."""

import sqlite3
import stat
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Invoke, line_of, parsed

PASSWORD = "correct horse battery staple"


def test_a_keyring_is_made_for_its_owner_alone(invoke: Invoke, environment: dict[str, str]) -> None:
    file = Path(environment["COFACTOR_KEYRING_FILE"])
    assert parsed(invoke("keys", "generate", str(file), "--json"))["file"] == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_keyring_that_exists_is_left_alone(deployed: Invoke, environment: dict[str, str]) -> None:
    file = Path(environment["COFACTOR_KEYRING_FILE"])
    before = file.read_bytes()
    assert "exists already" in line_of(deployed("keys", "generate", str(file)))
    assert file.read_bytes() == before


@pytest.mark.requirement("S78")
def test_no_command_makes_a_keyring_by_itself(invoke: Invoke, environment: dict[str, str]) -> None:
    for command in (("serve",), ("migrate",), ("users", "list")):
        assert "COFACTOR_KEYRING_FILE" in line_of(invoke(*command))
    assert not Path(environment["COFACTOR_KEYRING_FILE"]).exists()


def test_migrate_tells_before_and_after(invoke: Invoke, environment: dict[str, str]) -> None:
    invoke("keys", "generate", environment["COFACTOR_KEYRING_FILE"])
    first, second = parsed(invoke("migrate", "--json")), parsed(invoke("migrate", "--json"))
    assert first["before"] is None
    assert second == {"before": first["after"], "after": first["after"]}


def test_an_old_schema_is_refused_with_what_to_do(invoke: Invoke, environment: dict[str, str]) -> None:
    invoke("keys", "generate", environment["COFACTOR_KEYRING_FILE"])
    assert "cofactor migrate" in line_of(invoke("users", "list"))


@pytest.mark.requirement("S78")
def test_a_new_deployment_has_no_user_and_no_client(deployed: Invoke) -> None:
    assert parsed(deployed("users", "list", "--json")) == []
    assert parsed(deployed("clients", "list", "--json")) == []


@pytest.mark.requirement("S86")
def test_a_user_is_created_listed_blocked_reset_and_deleted(deployed: Invoke) -> None:
    created = parsed(deployed("users", "create", "jane", "--password-stdin", "--json", typed=f"{PASSWORD}\n"))
    assert (created["realm"], created["name"], created["has_password"]) == ("default", "jane", True)
    assert parsed(deployed("users", "block", "jane", "--json"))["blocked"] is True
    assert "blocked" in deployed("users", "list").stdout
    assert parsed(deployed("users", "unblock", "jane", "--json"))["blocked"] is False
    assert parsed(deployed("users", "reset-mfa", "jane", "--json")) == {"removed": 0, "enrollment": "ticket"}
    reset = deployed("users", "reset-mfa", "jane", "--allow-enrollment-at-login", "--json")
    assert parsed(reset)["enrollment"] == "at_login"
    assert parsed(deployed("users", "list", "--json"))[0]["enrollment"] == "at_login"
    assert parsed(deployed("users", "delete", "jane", "--json")) == {"deleted": created["id"]}
    assert parsed(deployed("users", "list", "--json")) == []


def test_a_profile_address_is_given_changed_and_taken_away(deployed: Invoke) -> None:
    create = ("users", "create", "jane", "--no-password", "--json")
    made = parsed(deployed(*create, "--email", "jane@example.com", "--email-verified"))
    assert (made["email"], made["email_verified"]) == ("jane@example.com", True)
    (listed,) = parsed(deployed("users", "list", "--json"))
    assert [(a["kind"], a["state"]) for a in listed["authenticators"]] == [("email", "active")]
    changed = parsed(deployed("users", "set-email", "jane", "doe@example.com", "--json"))
    assert (changed["email"], changed["email_verified"]) == ("doe@example.com", False)
    assert parsed(deployed("users", "list", "--json"))[0]["authenticators"] == []
    assert "no mail address" in deployed("users", "set-email", "jane", "").stdout


@pytest.mark.parametrize("given", [("--email", "jane"), ("--email-verified",)])
def test_a_profile_address_that_is_none_is_refused(given: tuple[str, ...], deployed: Invoke) -> None:
    assert "email" in line_of(deployed("users", "create", "jane", "--no-password", *given))
    assert parsed(deployed("users", "list", "--json")) == []


def test_a_password_is_typed_twice(deployed: Invoke) -> None:
    assert deployed("users", "create", "jane", typed=f"{PASSWORD}\n{PASSWORD}\n").exit_code == 0


def test_a_password_is_no_argument(deployed: Invoke) -> None:
    assert deployed("users", "create", "jane", "--password", PASSWORD).exit_code == 2
    assert deployed("users", "create", "jane", PASSWORD).exit_code == 2


def test_a_new_password_is_set(deployed: Invoke, environment: dict[str, str]) -> None:
    deployed("users", "create", "jane", "--no-password")
    assert deployed("users", "set-password", "jane", "--password-stdin", typed=f"{PASSWORD}\n").exit_code == 0
    assert parsed(deployed("users", "list", "--json"))[0]["has_password"] is True


def test_an_empty_password_is_refused(deployed: Invoke) -> None:
    assert "--password-stdin" in line_of(deployed("users", "create", "jane", "--password-stdin", typed="\n"))


@pytest.mark.requirement("S36")
def test_a_ticket_is_printed_once_for_a_user(deployed: Invoke, environment: dict[str, str]) -> None:
    deployed("users", "create", "jane", "--no-password")
    issue = ("users", "enroll-by-ticket", "jane", "--factor", "totp")
    ticket = parsed(deployed(*issue, "--json"))
    page = "https://mfa.example.com/mfa/enrollment?ticket="
    assert ticket["url"] == page + ticket["ticket"]
    assert deployed(*issue).stdout.startswith(page)
    assert "not served here" in line_of(deployed(*issue, "--send-mail"))
    assert "factor" in line_of(deployed("users", "enroll-by-ticket", "jane", "--factor", "pigeon")).lower()
    database = environment["COFACTOR_DATABASE_URL"].removeprefix("sqlite:///")
    with sqlite3.connect(database) as connection:
        kept = "\n".join(connection.iterdump())
    connection.close()
    assert ticket["ticket"] not in kept
    assert "ticket.issued" in kept


@pytest.mark.parametrize("command", ["delete", "reset-mfa", "enroll-by-ticket", "block", "unblock"])
def test_an_unknown_user_is_told_in_one_line(command: str, deployed: Invoke) -> None:
    assert "no user nobody" in line_of(deployed("users", command, "nobody"))


def test_a_user_exists_once_in_a_realm(deployed: Invoke) -> None:
    deployed("users", "create", "jane", "--no-password")
    assert "already" in line_of(deployed("users", "create", "jane", "--no-password"))
    assert deployed("users", "create", "jane", "--no-password", "--realm", "partners").exit_code == 0


@pytest.mark.requirement("S78")
def test_a_clients_secret_is_drawn_and_shown_once(deployed: Invoke, environment: dict[str, str]) -> None:
    created = parsed(deployed("clients", "create", "Shop", "--grant", "password", "--grant", "mfa", "--json"))
    assert len(created["client_secret"]) == 43
    (listed,) = parsed(deployed("clients", "list", "--json"))
    assert listed == {key: value for key, value in created.items() if key != "client_secret"}
    assert listed["grants"] == ["password", "mfa"]
    database = environment["COFACTOR_DATABASE_URL"].removeprefix("sqlite:///")
    with sqlite3.connect(database) as connection:
        assert created["client_secret"] not in "\n".join(connection.iterdump())
    connection.close()


@pytest.mark.requirement("S109")
def test_a_client_has_no_grant_by_default(deployed: Invoke) -> None:
    assert parsed(deployed("clients", "create", "Shop", "--json"))["grants"] == []


def test_a_public_client_has_no_secret(deployed: Invoke) -> None:
    created = parsed(deployed("clients", "create", "App", "--public", "--json"))
    assert created["public"]
    assert "client_secret" not in created


def test_a_client_that_vouches_takes_grant_capability_and_realms(deployed: Invoke) -> None:
    vouches = ("clients", "create", "Portal", "--grant", "vouched")
    assert "grant_types" in line_of(deployed(*vouches))
    assert "realms" in line_of(deployed(*vouches, "--capability", "vouch"))
    created = parsed(deployed(*vouches, "--capability", "vouch", "--realm", "staff", "--json"))
    assert (created["realms"], created["vouch_methods"]) == (["staff"], ["pwd"])


def test_a_client_is_deleted_once(deployed: Invoke) -> None:
    created = parsed(deployed("clients", "create", "Shop", "--json"))
    assert deployed("clients", "delete", created["client_id"]).exit_code == 0
    assert "no client" in line_of(deployed("clients", "delete", created["client_id"]))


def test_another_issuers_database_is_refused(deployed: Invoke, environment: dict[str, str]) -> None:
    environment["COFACTOR_ISSUER"] = "https://other.example.com/"
    assert "another issuer" in line_of(deployed("users", "list"))


def test_another_keyring_is_refused(deployed: Invoke, environment: dict[str, str], tmp_path: Path) -> None:
    environment["COFACTOR_KEYRING_FILE"] = str(tmp_path / "other.json")
    deployed("keys", "generate", environment["COFACTOR_KEYRING_FILE"])
    assert "does not fit the database" in line_of(deployed("users", "list"))


def test_an_unknown_factor_is_named(deployed: Invoke, environment: dict[str, str]) -> None:
    environment["COFACTOR_FACTORS"] = "totp,palmistry"
    assert "COFACTOR_FACTORS: no factor palmistry" in line_of(deployed("users", "list"))


@pytest.mark.requirement("S16", "S80", "S94")
@pytest.mark.parametrize(
    ("factors", "profile", "problem"),
    [
        ("totp,duo", "compatible", "COFACTOR_FACTORS: duo is of the past; there is push"),
        ("totp,google-authenticator", "compatible", "there is an authenticator app"),
        ("totp,email", "strict", "COFACTOR_FACTORS: the strict profile serves no email"),
        ("totp,sms", "strict", "COFACTOR_FACTORS: the strict profile serves no sms"),
        ("sms,voice,recovery-code", "compatible", "need something stronger beside them"),
    ],
)
def test_factors_that_may_not_be_served_stop_the_start(
    deployed: Invoke, environment: dict[str, str], factors: str, profile: str, problem: str
) -> None:
    environment |= {"COFACTOR_FACTORS": factors, "COFACTOR_PROFILE": profile}
    assert problem in line_of(deployed("users", "list"))


@pytest.mark.parametrize("arguments", [("users",), ("clients", "create"), ("serve", "--only", "smtp"), ("fly",)])
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...], invoke: Invoke) -> None:
    assert invoke(*arguments).exit_code == 2


def test_a_client_that_is_known_by_its_certificate_has_no_secret(deployed: Invoke) -> None:
    created = parsed(deployed("clients", "create", "Payments", "--tls-san", "dns:payments.example.com", "--json"))
    assert "client_secret" not in created
    assert (created["authentication"], created["tls_san"]) == ("tls_client_auth", "dns:payments.example.com")
    assert "dns:payments.example.com" in deployed("clients", "list").stdout


def test_a_name_with_a_wildcard_is_refused(deployed: Invoke) -> None:
    assert "tls_san" in line_of(deployed("clients", "create", "Payments", "--tls-san", "dns:*.example.com"))


def test_an_api_is_registered_listed_changed_and_deleted(deployed: Invoke) -> None:
    audience = "https://api.example.com/"
    create = ("apis", "create", audience, "--scope", "read:orders", "--access-token-seconds", "300", "--json")
    created = parsed(deployed(*create))
    assert (created["name"], created["scopes"], created["access_token_seconds"]) == (audience, ["read:orders"], 300)
    assert parsed(deployed("apis", "list", "--json")) == [created]
    assert "read:orders" in deployed("apis", "list").stdout
    assert "already" in line_of(deployed(*create))
    client = parsed(deployed("clients", "create", "Shop", "--audience", audience, "--json"))
    scopes = ("--add-scope", "write:orders", "--remove-scope", "read:orders")
    changed = parsed(deployed("apis", "update", audience, *scopes, "--token-profile", "auth0", "--json"))
    assert (created["token_profile"], changed["token_profile"]) == ("rfc9068", "auth0")
    assert changed == {**created, "scopes": ["write:orders"], "token_profile": "auth0"}
    assert "access_token_seconds" in line_of(deployed("apis", "update", audience, "--access-token-seconds", "0"))
    assert "Shop" in line_of(deployed("apis", "delete", audience, "--yes"))
    deployed("clients", "delete", client["client_id"], "--yes")
    assert parsed(deployed("apis", "delete", audience, "--yes", "--json")) == {"deleted": audience}
    assert "no API" in line_of(deployed("apis", "delete", audience, "--yes"))
    assert "no API" in line_of(deployed("apis", "update", audience, "--name", "Orders"))
