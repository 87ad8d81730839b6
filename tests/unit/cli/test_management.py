"""`cofactor management`, and what `serve --management` serves."""

import httpx2
import pytest
from cofactor_server.cli.output import instant

from tests.unit.cli.conftest import Invoke, Start, line_of, parsed
from tests.unit.cli.test_serve import where


def test_a_token_is_printed_and_nothing_else(deployed: Invoke) -> None:
    result = deployed("management", "token", "--role", "support")
    assert result.exit_code == 0
    assert len(result.stdout.split()) == 1


def test_a_token_is_told_with_what_it_is_good_for(deployed: Invoke) -> None:
    told = parsed(deployed("management", "token", "--role", "read", "--scope", "read:users", "--for", "30m", "--json"))
    assert told["id"].startswith("opt_")
    assert (told["role"], told["scopes"]) == ("read", ["read:users"])
    assert told["expires_at"] > instant(0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--role", "read", "--for", "25h"), "for: must be from one minute to 24 hours"),
        (("--role", "read", "--scope", "update:users"), "scope: is not of the role read: update:users"),
    ],
)
def test_what_no_token_may_be_is_one_line(given: tuple[str, ...], said: str, deployed: Invoke) -> None:
    assert line_of(deployed("management", "token", *given)) == f"cofactor: {said}"


@pytest.mark.parametrize(
    "given", [(), ("--role", "root"), ("--role", "read", "--for", "1d"), ("--role", "read", "--for", "0m")]
)
def test_wrong_usage_is_told(given: tuple[str, ...], deployed: Invoke) -> None:
    assert deployed("management", "token", *given).exit_code == 2


def test_without_its_keyring_nobody_mints(invoke: Invoke) -> None:
    assert "COFACTOR_KEYRING_FILE" in line_of(invoke("management", "token", "--role", "read"))


@pytest.mark.timeout(240)
def test_a_token_of_the_command_line_opens_what_serve_serves(deployed: Invoke, start: Start) -> None:
    token = deployed("management", "token", "--role", "admin").stdout.strip()
    assert deployed("users", "create", "jane", "--no-password").exit_code == 0
    shop = parsed(deployed("clients", "create", "Shop", "--grant", "password", "--json"))["client_id"]
    process = start("serve", "--only", "http", "--management", "127.0.0.1:0")
    told = where(process)
    headers = {"authorization": f"Bearer {token}"}
    path = "/api/v2/guardian/policies"
    assert httpx2.get(f"http://{told['management']}{path}", headers=headers).json() == ["confidence-score"]
    assert httpx2.get(f"http://{told['http']}{path}", headers=headers).status_code == 404
    explain = ("policies", "explain", "jane", "--client", shop, "--json")
    assert httpx2.put(f"http://{told['management']}{path}", json=["all-applications"], headers=headers).is_success
    assert parsed(deployed(*explain))["kinds"] == ["totp"]
    otp = f"http://{told['management']}/api/v2/guardian/factors/otp"
    assert httpx2.put(otp, json={"enabled": False}, headers=headers).json() == {"enabled": False}
    assert parsed(deployed(*explain))["kinds"] == []
    assert process.stop() == 0
    assert token not in process.stderr
