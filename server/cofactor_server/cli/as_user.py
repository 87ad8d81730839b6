"""A user's authority over their authenticators, as a client of the gRPC API has it."""

import contextlib
import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from cofactor_server.cli.output import Problem, ask_password

if TYPE_CHECKING:
    import grpc
    from cofactor.v1 import tokens_pb2

SCOPE = "enroll read:authenticators remove:authenticators"
DEADLINE = 30.0
"""Seconds."""

DemoState = Annotated[
    Path | None,
    typer.Option("--demo", help="Use the demo of this state folder, and its client and user unless others are named."),
]
Target = Annotated[str, typer.Option(envvar="COFACTOR_TARGET", help="The server, such as mfa.example.com:443.")]
Issuer = Annotated[str, typer.Option(envvar="COFACTOR_ISSUER", help="Such as https://mfa.example.com/.")]
ClientId = Annotated[str, typer.Option(envvar="COFACTOR_CLIENT_ID", help="The client that asks.")]
SecretFile = Annotated[
    Path | None, typer.Option(help="Holds the client's secret. Otherwise COFACTOR_CLIENT_SECRET does.")
]
Username = Annotated[str, typer.Option("--username", help="Whose authenticators. Asked for if it is not given.")]
Realm = Annotated[str, typer.Option(help="Default: the deployment's.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
CaFile = Annotated[Path | None, typer.Option(help="Trust the authorities in this file, for TLS.")]


Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]


class AsUser:
    """A user's authority over their authenticators."""

    def __init__(self, channel: "grpc.Channel", metadata: Metadata, issuer: str) -> None:
        from cofactor.v1.authenticators_pb2_grpc import AuthenticatorServiceStub
        from cofactor.v1.tokens_pb2_grpc import TokenServiceStub

        self._tokens = TokenServiceStub(channel)
        self._client = metadata
        self._audience = issuer.rstrip("/") + "/mfa/"
        self.authenticators = AuthenticatorServiceStub(channel)
        self.access_token = ""

    def log_in(self, username: str, password: str, realm: str) -> None:
        """Get a token for the MFA audience; a user who is enrolled shows a second factor for it."""
        from cofactor.v1 import tokens_pb2

        target = tokens_pb2.TokenTarget(audience=self._audience, scope=SCOPE)
        names: Any = {"username": username, "password": password, "target": target}
        request = (
            tokens_pb2.IssueTokenRequest(password_realm=tokens_pb2.PasswordRealmGrant(realm=realm, **names))
            if realm
            else tokens_pb2.IssueTokenRequest(password=tokens_pb2.PasswordGrant(**names))
        )
        response = self._issue(request)
        if response.HasField("mfa_required"):
            if not response.mfa_required.challenge.kinds:
                raise Problem("nothing that you enrolled can be used here: ask an operator")
            code = ask("Code of an authenticator app you have, or a recovery code")
            response = self._issue(_redemption(response.mfa_required.mfa_token, code))
        self.access_token = response.tokens.access_token
        if response.tokens.recovery_code:
            typer.echo(f"Your new recovery code, shown only now: {response.tokens.recovery_code}", err=True)

    def confirm(self, authenticator_id: str, code: str) -> None:
        """Give the first code of what was enrolled."""
        from cofactor.v1 import tokens_pb2

        self._issue(
            tokens_pb2.IssueTokenRequest(
                mfa_otp=tokens_pb2.MfaOtpGrant(mfa_token=self.access_token, otp=code, authenticator_id=authenticator_id)
            )
        )

    def bearer(self) -> Metadata:
        """Return metadata with the user's token."""
        return (*self._client, ("authorization", f"Bearer {self.access_token}"))

    def _issue(self, request: "tokens_pb2.IssueTokenRequest") -> "tokens_pb2.IssueTokenResponse":
        return self._tokens.IssueToken(request, metadata=self._client, timeout=DEADLINE)


@contextlib.contextmanager
def _logged_in(
    demo: DemoState = None,
    target: Target = "",
    issuer: Issuer = "",
    client_id: ClientId = "",
    client_secret_file: SecretFile = None,
    username: Username = "",
    realm: Realm = "",
    password_stdin: FromStdin = False,
    ca_file: CaFile = None,
) -> Iterator[AsUser]:
    """Log in, and yield the user's authority; a refusal is one line."""
    import grpc

    secret = os.environ.get("COFACTOR_CLIENT_SECRET", "")
    if client_secret_file is not None:
        secret = client_secret_file.read_text().strip()
    password = ""
    if demo is not None:
        from cofactor_server.demo import read

        known = read(demo)
        # The environment may speak of another deployment, whose settings stand there.
        target, issuer = known.grpc, known.issuer
        if client_id in ("", known.client_id):
            client_id, secret = known.client_id, known.client_secret
        if username in ("", known.username):
            username, password = known.username, known.password
    missing = {"--target": target, "--issuer": issuer, "--client-id": client_id}
    if absent := [option for option, value in missing.items() if not value]:
        raise typer.BadParameter(f"{', '.join(absent)} must be given")
    username = username or str(typer.prompt("Name", err=True))
    password = password or ask_password(from_stdin=password_stdin)
    metadata = (("cofactor-client-id", client_id), *((("cofactor-client-secret", secret),) if secret else ()))
    try:
        with open_channel(target, ca_file) as channel:
            user = AsUser(channel, metadata, issuer)
            user.log_in(username, password, realm)
            yield user
    except grpc.RpcError as error:
        raise Problem(refusal_text(error, target)) from None


def as_user(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `_logged_in`, and the user as its first argument."""
    shared = inspect.signature(_logged_in).parameters
    own = list(inspect.signature(command).parameters.values())[1:]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        with _logged_in(**{name: given.pop(name) for name in shared}) as user:
            command(user, **given)

    parameters = [*own, *shared.values()]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # this is what typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def open_channel(target: str, ca_file: Path | None) -> "grpc.Channel":
    """Return a channel to a server: over TLS, unless it is on this machine and no authorities are named."""
    import grpc

    from cofactor_server.origin import is_loopback

    local = target.startswith("unix:") or is_loopback(target.rpartition(":")[0].strip("[]"))
    if ca_file is None and local:
        return grpc.insecure_channel(target)
    roots = ca_file.read_bytes() if ca_file is not None else None
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots))


def refusal_text(error: Any, target: str) -> str:
    """Return one line about a call that a server refused, or that did not reach it."""
    import grpc

    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return f"{target} can't be reached"
    return f"refused: {error.details()}"


def _redemption(mfa_token: str, code: str) -> "tokens_pb2.IssueTokenRequest":
    from cofactor.v1 import tokens_pb2

    if re.fullmatch(r"[0-9]{6,8}", code):
        return tokens_pb2.IssueTokenRequest(mfa_otp=tokens_pb2.MfaOtpGrant(mfa_token=mfa_token, otp=code))
    return tokens_pb2.IssueTokenRequest(
        mfa_recovery_code=tokens_pb2.MfaRecoveryCodeGrant(mfa_token=mfa_token, recovery_code=code)
    )


def ask(what: str) -> str:
    """Return a typed code without its blanks; the question goes to standard error."""
    return "".join(str(typer.prompt(what, err=True)).split())
