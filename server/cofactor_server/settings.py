"""Settings from the environment and an optional file; an invalid one stops the start with one line that names it."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from cofactor_server.delivery.settings import DeliverySettings
from cofactor_server.domain.authenticators.kinds import RECOVERY_CODE, TOTP, WEBAUTHN
from cofactor_server.domain.deployment import Deployment
from cofactor_server.domain.foundation.budgets import CLIENT_SENDS, DISABLE_AFTER, LOGINS, Bucket, Pumping
from cofactor_server.domain.foundation.events import EVENTS_RETENTION
from cofactor_server.domain.foundation.values import replace
from cofactor_server.domain.parties.relying_party import UserVerification, is_domain, is_origin_of
from cofactor_server.domain.parties.users import MfaPolicy
from cofactor_server.hooks.target import HookTarget, check_address
from cofactor_server.origin import is_loopback
from cofactor_server.rpc.source import UNIX, Sources
from cofactor_server.rpc.transport.tls import TlsFiles
from cofactor_server.seams import DAY, HOUR, MINUTE, SECOND

PREFIX = "COFACTOR_"
CONFIG_FILE = "COFACTOR_CONFIG_FILE"
CLIENT_VARIABLES = frozenset({"COFACTOR_CLIENT_ID", "COFACTOR_CLIENT_SECRET", "COFACTOR_TARGET"})
"""Read by `cofactor authenticators`, a client that may run in the server's environment."""

_DATABASES = ("sqlite:///", "postgresql://")
_LISTENING = "postgresql://"


class SettingsInvalid(Exception):
    """The settings are invalid. The text names the variables, and never contains a value that may be secret."""


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[::1]:port`.

    Raises:
        ValueError: It is neither.
    """
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or (":" in bare) != host.startswith("[") or not (port.isascii() and port.isdigit()):
        raise ValueError("must be host:port, [address]:port or unix:/path")
    if int(port) > 65_535:
        raise ValueError("the port must be at most 65535")
    return bare, int(port)


def _listen(address: str) -> str:
    if address.startswith("unix:"):
        if not address.startswith("unix:/"):
            raise ValueError("a unix socket is unix:/path, from the root")
        return address
    split_address(address)
    return address


def is_local(address: str) -> bool:
    """Whether an address can be reached from this machine only."""
    return address.startswith("unix:") or is_loopback(split_address(address)[0])


def _loopback(address: str) -> str:
    if not is_loopback(split_address(address)[0]):
        raise ValueError("must be an address of loopback, such as 127.0.0.1:9464")
    return address


def _base_url(base: str) -> str:
    try:
        url = urlsplit(base)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise ValueError("must be a URL") from None
    if url.scheme not in ("https", "http") or not host or url.query or url.fragment or "@" in url.netloc:
        raise ValueError("must be a URL such as https://mfa.example.com/, without user, query and fragment")
    if url.scheme == "http" and not is_loopback(host):
        raise ValueError("must be https unless its host is loopback")
    return base if base.endswith("/") else base + "/"


def _domain(name: str) -> str:
    if not is_domain(name):
        raise ValueError("must be a domain such as example.com, without scheme and port")
    return name


def _proxies(proxies: tuple[str, ...]) -> tuple[str, ...]:
    try:
        Sources(proxies)
    except ValueError:
        raise ValueError(f"must be addresses, networks such as 10.0.0.0/8, or `{UNIX}`") from None
    return proxies


def _contact(contact: str) -> str:
    if not all(" " <= letter <= "~" and letter not in '"\\<>' for letter in contact):
        raise ValueError("must be printable ASCII, without quotation marks, backslashes and angle brackets")
    return contact


def _words(value: Any) -> Any:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Listen = Annotated[str, AfterValidator(_listen)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
"""Comma-separated in the environment, a list in the file."""


class Settings(BaseSettings, DeliverySettings):
    """The operator's settings. No default is unsafe; secrets are given as paths of files."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True, env_ignore_empty=True
    )

    config_file: Path | None = None
    issuer: Annotated[str, AfterValidator(_base_url)]
    keyring_file: Path
    database_url: SecretStr | None = None
    database_url_file: Path | None = None
    """The file to read the URL from, since it may contain a password."""

    listen_url: SecretStr | None = None
    listen_url_file: Path | None = None
    """The file to read `listen_url` from, since it may contain a password."""

    friendly_name: str = Field("Cofactor", min_length=1, max_length=64)
    default_realm: str = Field("default", min_length=1, max_length=64)
    support_contact: Annotated[str, AfterValidator(_contact)] = Field("", max_length=128)
    """The contact for users who can't enroll; shown exactly as set."""
    mfa_policy: MfaPolicy = MfaPolicy.WHEN_ENROLLED
    keep_last_authenticator: bool = False
    """Always on in the strict profile."""
    factors: Words = (TOTP, RECOVERY_CODE)
    profile: Literal["compatible", "strict"] = "compatible"
    push_rejected: Literal["access_denied", "invalid_grant"] = "access_denied"
    refresh_reuse_leeway: int = Field(0, ge=0, le=10)
    """Seconds."""
    hotp_look_ahead: int = Field(9, ge=0, le=50)
    guardian_url: Annotated[str, AfterValidator(_base_url)] | None = None
    """The URL of a host that also reaches this server, and that Guardian apps are built to call."""
    login_attempts: int = Field(10, ge=3, le=100)
    """Wrong passwords for one name: the size of a token bucket that regains one token every six minutes."""
    disable_after: int = Field(DISABLE_AFTER, ge=5, le=DISABLE_AFTER)
    """Consecutive failures; NIST SP 800-63B-4 section 3.2.2 allows no more."""
    client_messages_an_hour: int = Field(CLIENT_SENDS.size, ge=1, le=1_000_000)
    pumping_messages: int = Field(50, ge=0, le=1_000_000)
    pumping_verified: float = Field(0.1, ge=0, le=1)
    pumping_digits: int = Field(3, ge=0, le=10)
    mfa_token_minutes: int = Field(10, ge=1, le=60)
    events_retention_days: int = Field(EVENTS_RETENTION // DAY, ge=0, le=36_500)
    """0 keeps events forever."""
    webauthn_rp_id: Annotated[str, AfterValidator(_domain)] | None = None
    webauthn_origins: Words = ()
    webauthn_user_verification: UserVerification = UserVerification.PREFERRED

    http_listen: Listen = "127.0.0.1:8080"
    grpc_listen: Listen = "127.0.0.1:50051"
    metrics_listen: Annotated[str, AfterValidator(_loopback)] | None = None
    management_listen: Listen | None = None
    admin_listen: Listen | None = None
    management_client_ca_file: Path | None = None
    """Default: `tls_client_ca_file`."""
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    plaintext_behind_proxy: bool = False
    trusted_proxies: Annotated[Words, AfterValidator(_proxies)] = ()
    hook_target: Annotated[str, AfterValidator(check_address)] | None = None
    hook_ca_file: Path | None = None
    hook_cert_file: Path | None = None
    hook_key_file: Path | None = None
    workers: int = Field(1, ge=1, le=256)
    reflection: bool = False
    access_log: bool = True
    drain_seconds: float = Field(10, ge=0, le=600)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is the interface's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence: command line, environment, file."""
        path = os.environ.get(CONFIG_FILE)
        file = (TomlConfigSettingsSource(settings_cls, Path(path)),) if path else ()
        return (init_settings, env_settings, *file)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.database_url is None) == (self.database_url_file is None):
            raise ValueError("COFACTOR_DATABASE_URL: give this or COFACTOR_DATABASE_URL_FILE, and not both")
        if self.database_url is not None and not self.database_url.get_secret_value().startswith(_DATABASES):
            raise ValueError(f"COFACTOR_DATABASE_URL: must begin with {' or '.join(_DATABASES)}")
        if self.listen_url is not None and self.listen_url_file is not None:
            raise ValueError("COFACTOR_LISTEN_URL: give this or COFACTOR_LISTEN_URL_FILE, and not both")
        if self.listen_url is not None and not self.listen_url.get_secret_value().startswith(_LISTENING):
            raise ValueError(f"COFACTOR_LISTEN_URL: must begin with {_LISTENING}")
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("COFACTOR_TLS_CERT_FILE: a certificate takes COFACTOR_TLS_KEY_FILE, and a key this")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("COFACTOR_TLS_CLIENT_CA_FILE: needs COFACTOR_TLS_CERT_FILE and COFACTOR_TLS_KEY_FILE")
        if self.plaintext_behind_proxy and not self.trusted_proxies:
            raise ValueError("COFACTOR_PLAINTEXT_BEHIND_PROXY: needs COFACTOR_TRUSTED_PROXIES")
        self._check_hook()
        self._check_webauthn()
        self._check_management()
        return self

    def _check_management(self) -> None:
        places = {"MANAGEMENT": self.management_listen, "ADMIN": self.admin_listen}
        if self.management_client_ca_file is not None and not any(places.values()):
            raise ValueError(
                "COFACTOR_MANAGEMENT_CLIENT_CA_FILE: needs COFACTOR_MANAGEMENT_LISTEN or COFACTOR_ADMIN_LISTEN"
            )
        for name, address in places.items():
            tls = self.operators_tls(address)
            if address is not None and not is_local(address) and (tls is None or tls.client_ca is None):
                raise ValueError(
                    f"COFACTOR_{name}_LISTEN: an address that others reach needs COFACTOR_TLS_CERT_FILE, "
                    "COFACTOR_TLS_KEY_FILE and COFACTOR_MANAGEMENT_CLIENT_CA_FILE; give a unix socket or loopback else"
                )

    def _check_hook(self) -> None:
        files = {"CA": self.hook_ca_file, "CERT": self.hook_cert_file, "KEY": self.hook_key_file}
        if self.hook_target is None and (given := [name for name, file in files.items() if file is not None]):
            raise ValueError(f"COFACTOR_HOOK_{given[0]}_FILE: needs COFACTOR_HOOK_TARGET")
        if (self.hook_cert_file is None) != (self.hook_key_file is None):
            raise ValueError("COFACTOR_HOOK_CERT_FILE: a certificate takes COFACTOR_HOOK_KEY_FILE, and a key this")
        hook = self.hook()
        if hook is not None and hook.is_local and hook.ca_file is None and hook.certificate_file is not None:
            raise ValueError("COFACTOR_HOOK_CERT_FILE: there is no TLS to this machine without COFACTOR_HOOK_CA_FILE")

    def _check_webauthn(self) -> None:
        relying_party = self.deployment().relying_party
        if self.webauthn_rp_id is None and not is_domain(relying_party.id):
            if WEBAUTHN in self.factors or self.webauthn_origins:
                raise ValueError("COFACTOR_WEBAUTHN_RP_ID: is required, since the issuer's host is an address")
            return
        if self.webauthn_rp_id is None and not self.webauthn_origins:
            return
        for origin in relying_party.origins:
            if not is_origin_of(origin, relying_party.id):
                raise ValueError(
                    "COFACTOR_WEBAUTHN_ORIGINS: each must be like https://app.example.com, at the domain of"
                    " COFACTOR_WEBAUTHN_RP_ID (default: the issuer's host) or below it"
                )

    def database(self) -> str:
        """Return the database's URL.

        Raises:
            SettingsInvalid: Its file can't be read, or does not contain such a URL.
        """
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        assert self.database_url_file is not None  # noqa: S101 - for mypy: one of the two is set
        return _url_in(self.database_url_file, "COFACTOR_DATABASE_URL_FILE", *_DATABASES)

    def listens(self) -> str:
        """Return the URL of the PostgreSQL that carries signals between replicas; empty for none.

        Raises:
            SettingsInvalid: Its file can't be read, or does not contain such a URL.
        """
        if self.listen_url is not None:
            return self.listen_url.get_secret_value()
        if self.listen_url_file is not None:
            return _url_in(self.listen_url_file, "COFACTOR_LISTEN_URL_FILE", _LISTENING)
        return ""

    def deployment(self) -> Deployment:
        """Return the part of the settings that applies to all users and clients."""
        return Deployment(
            issuer=self.issuer,
            friendly_name=self.friendly_name,
            default_realm=self.default_realm,
            support_contact=self.support_contact,
            keep_last_authenticator=self.keep_last_authenticator,
            mfa_policy=self.mfa_policy,
            kinds=frozenset(self.factors),
            mfa_token_life=self.mfa_token_minutes * MINUTE,
            refresh_reuse_leeway=self.refresh_reuse_leeway * SECOND,
            hotp_look_ahead=self.hotp_look_ahead,
            strict=self.profile == "strict",
            webauthn_rp_id=self.webauthn_rp_id or "",
            webauthn_origins=self.webauthn_origins,
            user_verification=self.webauthn_user_verification,
            guardian_url=self.guardian_url or "",
            logins=replace(LOGINS, size=self.login_attempts),
            client_sends=Bucket(self.client_messages_an_hour, HOUR // self.client_messages_an_hour),
            pumping=Pumping(messages=self.pumping_messages, verified=self.pumping_verified, digits=self.pumping_digits),
            disable_after=self.disable_after,
            events_retention=self.events_retention_days * DAY,
        )

    def hook(self) -> HookTarget | None:
        """Return the target of the operator's decision hook; None for none."""
        if self.hook_target is None:
            return None
        return HookTarget(self.hook_target, self.hook_ca_file, self.hook_cert_file, self.hook_key_file)

    def operators_tls(self, address: str | None) -> TlsFiles | None:
        """Return the TLS files of an operators' address, which requires client certificates.

        None without TLS, or for an address that is local to this machine.
        """
        files = self.tls()
        if files is None or address is None or is_local(address):
            return None
        return TlsFiles(files.certificate, files.key, self.management_client_ca_file or files.client_ca)

    def tls(self) -> TlsFiles | None:
        """Return the TLS files; None without TLS."""
        if self.tls_cert_file is None or self.tls_key_file is None:
            return None
        return TlsFiles(self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file)


def load(**overrides: Any) -> Settings:
    """Return the settings of this process.

    Args:
        overrides: Settings from the command line; None leaves a setting to the environment and the file.

    Raises:
        SettingsInvalid: A setting is missing, invalid or unknown.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields} | CLIENT_VARIABLES
    if unknown := sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known):
        raise SettingsInvalid("; ".join(f"{name}: no such setting" for name in unknown))
    path = os.environ.get(CONFIG_FILE)
    if path and not Path(path).is_file():  # pydantic-settings treats a missing file as empty
        raise SettingsInvalid(f"{CONFIG_FILE}: {path} is no file")
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsInvalid("; ".join(_line(problem) for problem in error.errors(include_input=False))) from None
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        # A TOML error contains the position; for an unreadable file, the system gives the reason.
        raise SettingsInvalid(f"{CONFIG_FILE}: {path}: {getattr(error, 'strerror', None) or error}") from None


def _url_in(file: Path, name: str, *beginnings: str) -> str:
    try:
        url = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise SettingsInvalid(f"{name}: {file}: {reason}") from None
    if not url.startswith(beginnings):
        raise SettingsInvalid(f"{name}: must hold what begins with {' or '.join(beginnings)}")
    return url


def _line(problem: Any) -> str:
    text = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return str(text)  # a rule over several settings, whose message names them
    name = str(problem["loc"][0])
    match problem["type"]:
        case "missing":
            return f"{PREFIX}{name.upper()}: is required"
        case "extra_forbidden":
            return f"{CONFIG_FILE}: there is no setting {name}"
    return f"{PREFIX}{name.upper()}: {text[:1].lower()}{text[1:]}"
