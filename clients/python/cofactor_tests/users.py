"""Somebody who logs in."""

import uuid
from typing import Any, TypeVar

from cofactor.client import MfaRequired, Outcome, Tokens
from cofactor.testing.devices import AuthenticatorApp
from cofactor.testing.servers import Server
from cofactor.v1 import authenticators_pb2, challenges_pb2, tokens_pb2

from cofactor_tests.twins import Twin

_Value = TypeVar("_Value")


def a(kind: type[_Value], value: object) -> _Value:
    """Return a value that has to be of a kind."""
    assert isinstance(value, kind), f"{value!r} is no {kind.__name__}"
    return value


class User:
    """Known to the client's own directory, and unknown to the server until the first login."""

    def __init__(self, server: Server, twin: Twin) -> None:
        self.server = server
        self.twin = twin
        self.subject = uuid.uuid4().hex

    async def log_in(self) -> MfaRequired:
        """Show the first factor, which the client vouches for."""
        grant = tokens_pb2.VouchedGrant(realm=self.server.demo.realm, subject=self.subject, methods=["pwd"])
        grant.authenticate_time.seconds = self.server.clock.now()
        return a(MfaRequired, await self.twin.issue(tokens_pb2.IssueTokenRequest(vouched=grant)))

    async def enroll(self, mfa_token: str, **kind: Any) -> authenticators_pb2.EnrollAuthenticatorResponse:
        """Begin an enrollment."""
        request = authenticators_pb2.EnrollAuthenticatorRequest(**kind)
        return a(
            authenticators_pb2.EnrollAuthenticatorResponse,
            await self.twin.call("authenticators", "EnrollAuthenticator", request, mfa_token),
        )

    async def challenge(self, mfa_token: str, *kinds: Any) -> challenges_pb2.CreateChallengeResponse:
        """Ask for a challenge."""
        request = challenges_pb2.CreateChallengeRequest(kinds=kinds)
        return a(
            challenges_pb2.CreateChallengeResponse,
            await self.twin.call("challenges", "CreateChallenge", request, mfa_token),
        )

    async def with_app(self) -> tuple[AuthenticatorApp, str]:
        """Enroll an authenticator app and log in with it; return it and the recovery code."""
        login = (await self.log_in()).message
        begun = await self.enroll(login.mfa_token, totp=authenticators_pb2.TotpEnrollment())
        app = AuthenticatorApp(begun.otp_secret.barcode_uri, self.server.clock)
        a(Tokens, await self.otp(login.mfa_token, app.code()))
        return app, begun.recovery_codes[0]

    async def otp(self, mfa_token: str, code: str) -> Outcome:
        """Show a code of an app."""
        grant = tokens_pb2.MfaOtpGrant(mfa_token=mfa_token, otp=code)
        return await self.twin.issue(tokens_pb2.IssueTokenRequest(mfa_otp=grant))
