"""Settings: what is refused, in one line that names the variable and never shows a secret."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from cofactor_server.domain.foundation.budgets import Bucket, Pumping
from cofactor_server.domain.foundation.values import replace
from cofactor_server.seams import MINUTE
from cofactor_server.settings import Settings, SettingsInvalid, load

URL = "postgresql://cofactor:hunter2@db/cofactor"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("COFACTOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COFACTOR_ISSUER", "https://mfa.example.com")
    monkeypatch.setenv("COFACTOR_KEYRING_FILE", str(tmp_path / "keyring.json"))
    monkeypatch.setenv("COFACTOR_DATABASE_URL", URL)


def refusal() -> str:
    with pytest.raises(SettingsInvalid) as caught:
        load().database()
    return str(caught.value)


def test_the_issuer_gets_the_slash_that_its_tokens_have() -> None:
    assert load().issuer == "https://mfa.example.com/"


@pytest.mark.requirement("S58")
@pytest.mark.parametrize("issuer", ["http://localhost:8080/", "http://127.0.0.1:8080", "http://[::1]:8080/x/"])
def test_an_issuer_without_tls_is_on_loopback(issuer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_ISSUER", issuer)
    assert load().issuer.startswith(issuer)


@pytest.mark.requirement("S78")
@pytest.mark.parametrize("name", ["COFACTOR_ISSUER", "COFACTOR_KEYRING_FILE", "COFACTOR_DATABASE_URL"])
def test_what_would_be_unsafe_has_no_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(name)
    assert refusal().startswith(f"{name}: ")


@pytest.mark.requirement("S58")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("COFACTOR_ISSUER", "http://mfa.example.com/"),
        ("COFACTOR_ISSUER", "mfa.example.com"),
        ("COFACTOR_ISSUER", "https://hunter2@mfa.example.com/"),
        ("COFACTOR_ISSUER", "https://mfa.example.com/?hunter2"),
        ("COFACTOR_ISSUER", "https://mfa.example.com:hunter2/"),
        ("COFACTOR_DATABASE_URL", "mysql://cofactor:hunter2@db/cofactor"),
        ("COFACTOR_DATABASE_URL", "hunter2"),
        ("COFACTOR_MFA_POLICY", "sometimes-hunter2"),
        ("COFACTOR_PROFILE", "hunter2"),
        ("COFACTOR_EVENTS_RETENTION_DAYS", "-1"),
        ("COFACTOR_EVENTS_RETENTION_DAYS", "forever"),
        ("COFACTOR_KEEP_LAST_AUTHENTICATOR", "hunter2"),
        ("COFACTOR_SUPPORT_CONTACT", 'hunter2"'),
        ("COFACTOR_SUPPORT_CONTACT", "hunter2\nhunter2"),
        ("COFACTOR_SUPPORT_CONTACT", "hunter2é"),
        ("COFACTOR_SUPPORT_CONTACT", "hunter2" * 20),
        ("COFACTOR_MFA_TOKEN_MINUTES", "0"),
        ("COFACTOR_MFA_TOKEN_MINUTES", "hunter2"),
        ("COFACTOR_HTTP_LISTEN", "8080"),
        ("COFACTOR_HTTP_LISTEN", "::1:8080"),
        ("COFACTOR_HTTP_LISTEN", "127.0.0.1:65536"),
        ("COFACTOR_GRPC_LISTEN", "unix:relative"),
        ("COFACTOR_METRICS_LISTEN", "0.0.0.0:9464"),
        ("COFACTOR_MANAGEMENT_LISTEN", "0.0.0.0:8081"),
        ("COFACTOR_MANAGEMENT_LISTEN", "unix:relative"),
        ("COFACTOR_ADMIN_LISTEN", "0.0.0.0:50052"),
        ("COFACTOR_MANAGEMENT_CLIENT_CA_FILE", "/etc/cofactor/ca.pem"),
        ("COFACTOR_TRUSTED_PROXIES", "10.0.0.0/8,proxy.hunter2.example"),
        ("COFACTOR_WEBAUTHN_RP_ID", "https://hunter2.example"),
        ("COFACTOR_WEBAUTHN_RP_ID", "hunter2.example:443"),
        ("COFACTOR_WEBAUTHN_RP_ID", "192.0.2.1"),
        ("COFACTOR_WEBAUTHN_RP_ID", "Hunter2.example"),
        ("COFACTOR_WEBAUTHN_ORIGINS", "https://hunter2.example"),
        ("COFACTOR_WEBAUTHN_ORIGINS", "http://app.mfa.example.com"),
        ("COFACTOR_WEBAUTHN_ORIGINS", "https://app.mfa.example.com/hunter2"),
        ("COFACTOR_WEBAUTHN_ORIGINS", "https://app.mfa.example.com:443"),
        ("COFACTOR_WEBAUTHN_ORIGINS", "https://hunter2mfa.example.com"),
        ("COFACTOR_WEBAUTHN_ORIGINS", "https://*.mfa.example.com"),
        ("COFACTOR_WEBAUTHN_ORIGINS", "http://localhost:*"),
        ("COFACTOR_WEBAUTHN_ORIGINS", "android:apk-key-hash:hunter2"),
        ("COFACTOR_WEBAUTHN_USER_VERIFICATION", "hunter2"),
        ("COFACTOR_LOGIN_ATTEMPTS", "0"),
        ("COFACTOR_DISABLE_AFTER", "101"),
        ("COFACTOR_CLIENT_MESSAGES_AN_HOUR", "0"),
        ("COFACTOR_PUMPING_MESSAGES", "-1"),
        ("COFACTOR_PUMPING_VERIFIED", "1.5"),
        ("COFACTOR_PUMPING_DIGITS", "hunter2"),
        ("COFACTOR_WORKERS", "0"),
        ("COFACTOR_ACCESS_LOG", "hunter2"),
        ("COFACTOR_DRAIN_SECONDS", "-1"),
        ("COFACTOR_HOOK_TARGET", "hunter2"),
        ("COFACTOR_HOOK_TARGET", "dns:///hook.example.com"),
        ("COFACTOR_HOOK_TARGET", "https://hook.example.com:443/hunter2"),
        ("COFACTOR_HOOK_CA_FILE", "/etc/cofactor/hook-ca.pem"),
        ("COFACTOR_HOOK_CERT_FILE", "/etc/cofactor/hook.pem"),
        ("COFACTOR_TLS_CERT_FILE", "/etc/cofactor/cert.pem"),
        ("COFACTOR_TLS_KEY_FILE", "/etc/cofactor/key.pem"),
        ("COFACTOR_TLS_CLIENT_CA_FILE", "/etc/cofactor/ca.pem"),
        ("COFACTOR_PLAINTEXT_BEHIND_PROXY", "true"),
        ("COFACTOR_WORKER", "2"),
        ("COFACTOR_DEMO", "1"),
        ("COFACTOR_CONFIG_FILE", "/nowhere/cofactor.toml"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    line = refusal()
    assert name in line
    assert "\n" not in line
    assert "hunter2" not in line


def test_a_hook_on_this_machine_is_shown_no_certificate_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_HOOK_TARGET", "dns:///127.0.0.1:50052")
    assert load().hook() is not None
    for name in ("CERT", "KEY"):
        monkeypatch.setenv(f"COFACTOR_HOOK_{name}_FILE", "/etc/cofactor/hook.pem")
    assert "COFACTOR_HOOK_CA_FILE" in refusal()


@pytest.mark.requirement("S58")
def test_operators_who_call_from_elsewhere_show_a_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_MANAGEMENT_LISTEN", "0.0.0.0:8081")
    for name in ("CERT", "KEY"):
        monkeypatch.setenv(f"COFACTOR_TLS_{name}_FILE", "/etc/cofactor/tls.pem")
    assert "COFACTOR_MANAGEMENT_CLIENT_CA_FILE" in refusal()
    monkeypatch.setenv("COFACTOR_MANAGEMENT_CLIENT_CA_FILE", "/etc/cofactor/operators.pem")
    files = load().operators_tls("0.0.0.0:8081")
    assert files is not None
    assert files.client_ca == Path("/etc/cofactor/operators.pem")
    own = load().tls()
    assert own is not None
    assert own.client_ca is None
    for local in ("127.0.0.1:8081", "unix:/run/cofactor/management"):
        assert load().operators_tls(local) is None


def test_every_bad_setting_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COFACTOR_ISSUER")
    monkeypatch.setenv("COFACTOR_WORKERS", "many")
    assert "COFACTOR_ISSUER" in refusal()
    assert "COFACTOR_WORKERS" in refusal()


def test_the_database_url_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(URL + "\n")
    monkeypatch.delenv("COFACTOR_DATABASE_URL")
    monkeypatch.setenv("COFACTOR_DATABASE_URL_FILE", str(file))
    assert load().database() == URL


def test_the_database_url_stands_in_one_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COFACTOR_DATABASE_URL_FILE", str(tmp_path / "url"))
    assert refusal().startswith("COFACTOR_DATABASE_URL: ")


@pytest.mark.parametrize("content", [None, b"hunter2", b"\xff"])
def test_a_bad_file_of_the_database_url_is_named(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.delenv("COFACTOR_DATABASE_URL")
    monkeypatch.setenv("COFACTOR_DATABASE_URL_FILE", str(file))
    assert refusal().startswith("COFACTOR_DATABASE_URL_FILE: ")
    assert "hunter2" not in refusal()


def test_the_environment_overrides_the_file_and_the_command_line_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "cofactor.toml"
    file.write_text('factors = ["totp"]\nworkers = 2\nfriendly_name = "From file"\nmfa_policy = "always"\n')
    monkeypatch.setenv("COFACTOR_CONFIG_FILE", str(file))
    monkeypatch.setenv("COFACTOR_FRIENDLY_NAME", "From environment")
    settings = load(workers=3)
    assert (settings.friendly_name, settings.workers) == ("From environment", 3)
    assert (settings.factors, settings.mfa_policy) == (("totp",), "always")


@pytest.mark.parametrize("content", ["workers = [", "colour = 'hunter2'", "workers = 'hunter2'"])
def test_a_bad_file_is_one_line(content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "cofactor.toml"
    file.write_text(content)
    monkeypatch.setenv("COFACTOR_CONFIG_FILE", str(file))
    line = refusal()
    assert line.startswith("COFACTOR_")
    assert "\n" not in line
    assert "hunter2" not in line


def test_a_list_is_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_TRUSTED_PROXIES", "10.0.0.0/8, unix")
    monkeypatch.setenv("COFACTOR_FACTORS", "totp")
    assert (load().trusted_proxies, load().factors) == (("10.0.0.0/8", "unix"), ("totp",))


def test_settings_print_no_secret() -> None:
    assert "hunter2" not in repr(load())


def test_no_setting_turns_the_demo_on() -> None:
    assert not [name for name in Settings.model_fields if "demo" in name or "test" in name]


@pytest.mark.parametrize("content", ["postgresql://u@h/n", None, "sqlite:///hunter2"])
def test_where_signals_pass_may_stand_in_a_file(
    content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    if content is not None:
        file.write_text(content + "\n")
    monkeypatch.setenv("COFACTOR_LISTEN_URL_FILE", str(file))
    if content == "postgresql://u@h/n":
        assert load().listens() == content
        return
    with pytest.raises(SettingsInvalid, match=r"^COFACTOR_LISTEN_URL_FILE: ") as caught:
        load().listens()
    assert "hunter2" not in str(caught.value)


def test_signals_pass_over_postgresql_or_not_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load().listens() == ""
    monkeypatch.setenv("COFACTOR_LISTEN_URL", "postgresql://u@h/n")
    assert load().listens() == "postgresql://u@h/n"
    monkeypatch.setenv("COFACTOR_LISTEN_URL_FILE", str(tmp_path / "url"))
    assert refusal().startswith("COFACTOR_LISTEN_URL: ")
    monkeypatch.delenv("COFACTOR_LISTEN_URL_FILE")
    monkeypatch.setenv("COFACTOR_LISTEN_URL", "sqlite:///x")
    assert refusal().startswith("COFACTOR_LISTEN_URL: ")


LIMITS: dict[str, tuple[str, str, Any]] = {
    "COFACTOR_LOGIN_ATTEMPTS": ("5", "logins", Bucket(5, 6 * MINUTE)),
    "COFACTOR_DISABLE_AFTER": ("50", "disable_after", 50),
    "COFACTOR_CLIENT_MESSAGES_AN_HOUR": ("60", "client_sends", Bucket(60, MINUTE)),
    "COFACTOR_PUMPING_MESSAGES": ("0", "pumping", Pumping(messages=0)),
    "COFACTOR_PROFILE": ("strict", "strict", True),
    "COFACTOR_MFA_TOKEN_MINUTES": ("5", "mfa_token_life", 5 * MINUTE),
    "COFACTOR_HOTP_LOOK_AHEAD": ("3", "hotp_look_ahead", 3),
    "COFACTOR_EVENTS_RETENTION_DAYS": ("0", "events_retention", 0),
}


@pytest.mark.requirement("S197")
@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(LIMITS, 2)))
def test_setting_one_limit_moves_no_other(one: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load().deployment()
    monkeypatch.setenv(one, LIMITS[one][0])
    monkeypatch.setenv(other, LIMITS[other][0])

    moved = {name: value for _, name, value in (LIMITS[one], LIMITS[other])}
    assert load().deployment() == replace(before, **moved)


def test_keys_are_registered_for_the_issuers_own_host_and_pages_unless_others_are_named() -> None:
    relying_party = load().deployment().relying_party

    assert (relying_party.id, relying_party.origins) == ("mfa.example.com", ("https://mfa.example.com",))


@pytest.mark.parametrize(
    "origins",
    [
        "https://example.com",
        "https://shop.example.com,https://a.b.example.com:8443",
        f"android:apk-key-hash:{'x' * 43}",
    ],
)
def test_keys_may_be_registered_for_a_whole_domain(origins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_WEBAUTHN_RP_ID", "example.com")
    monkeypatch.setenv("COFACTOR_WEBAUTHN_ORIGINS", origins)
    monkeypatch.setenv("COFACTOR_WEBAUTHN_USER_VERIFICATION", "required")

    relying_party = load().deployment().relying_party

    assert (relying_party.id, relying_party.origins) == ("example.com", tuple(origins.split(",")))
    assert relying_party.user_verification == "required"


def test_a_domain_that_the_issuer_is_not_in_takes_origins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_WEBAUTHN_RP_ID", "example.org")
    assert refusal().startswith("COFACTOR_WEBAUTHN_ORIGINS: ")
    monkeypatch.setenv("COFACTOR_WEBAUTHN_ORIGINS", "https://example.org")
    assert load().deployment().relying_party.id == "example.org"


def test_on_an_address_keys_take_a_name_of_a_relying_party(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_ISSUER", "http://127.0.0.1:8080/")
    assert load().factors
    monkeypatch.setenv("COFACTOR_FACTORS", "totp,webauthn")
    assert refusal().startswith("COFACTOR_WEBAUTHN_RP_ID: ")
    monkeypatch.setenv("COFACTOR_WEBAUTHN_RP_ID", "localhost")
    monkeypatch.setenv("COFACTOR_WEBAUTHN_ORIGINS", "http://localhost:*")
    assert load().deployment().relying_party.accepts("http://localhost:3000")


def test_the_strict_profile_has_users_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COFACTOR_PROFILE", "strict")
    assert load().deployment().relying_party.user_verification == "required"


@pytest.mark.parametrize(
    ("profile", "keep", "kept"),
    [("compatible", "false", False), ("compatible", "true", True), ("strict", "false", True)],
)
def test_the_last_authenticator_is_kept_where_it_is_said_and_always_in_the_strict_profile(
    profile: str, keep: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not load().deployment().keeps_last_authenticator
    monkeypatch.setenv("COFACTOR_PROFILE", profile)
    monkeypatch.setenv("COFACTOR_KEEP_LAST_AUTHENTICATOR", keep)
    assert load().deployment().keeps_last_authenticator is kept


def test_whom_to_ask_is_shown_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().deployment().support_contact == ""
    monkeypatch.setenv("COFACTOR_SUPPORT_CONTACT", "https://help.example.com/mfa?from=login")
    assert load().deployment().support_contact == "https://help.example.com/mfa?from=login"
