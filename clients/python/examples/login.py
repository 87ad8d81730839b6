"""Jane enrolls an authenticator app and logs in with it; John pairs a device and approves a login on it."""

import asyncio
import threading
import uuid

from cofactor import aio
from cofactor.aio import MfaRequired, bearer
from cofactor.testing.devices import AuthenticatorApp, PushDevice
from cofactor.testing.servers import Server, joined
from cofactor.v1.authenticators_pb2 import (
    FACTOR_KIND_PUSH,
    EnrollAuthenticatorRequest,
    PushEnrollment,
    TotpEnrollment,
)
from cofactor.v1.challenges_pb2 import CreateChallengeRequest
from cofactor.v1.tokens_pb2 import IssueTokenRequest, MfaOtpGrant, VouchedGrant


async def log_in(mfa: aio.Client, server: Server, subject: str) -> str:
    """Say that a user showed a password just now; return what stands for the login."""
    vouched = VouchedGrant(realm=server.demo.realm, subject=subject, methods=["pwd"])
    vouched.authenticate_time.seconds = server.clock.now()  # yours is the time itself
    match await mfa.issue(IssueTokenRequest(vouched=vouched)):
        case MfaRequired(login):
            return login.mfa_token
    raise SystemExit("policy asks for no second factor")


async def main() -> None:
    jane, john = (f"{name}-{uuid.uuid4()}" for name in ("jane", "john"))
    with joined() as server:  # of tests; yours is aio.connect("mfa.example.com:443", Credentials(id, secret))
        async with aio.connect(server.demo.grpc, server.demo.credentials, server.transport) as mfa:
            login = await log_in(mfa, server, jane)
            app_wanted = EnrollAuthenticatorRequest(totp=TotpEnrollment())
            begun = await mfa.authenticators.EnrollAuthenticator(app_wanted, metadata=bearer(login))
            app = AuthenticatorApp(begun.otp_secret.barcode_uri, server.clock)  # she scans the code
            shown = MfaOtpGrant(mfa_token=login, otp=app.code())
            print("enrolled", await mfa.issue(IssueTokenRequest(mfa_otp=shown)))
            shown = MfaOtpGrant(mfa_token=await log_in(mfa, server, jane), otp=app.code())
            print("verified", await mfa.issue(IssueTokenRequest(mfa_otp=shown)))

            login = await log_in(mfa, server, john)
            device_wanted = EnrollAuthenticatorRequest(push=PushEnrollment())
            begun = await mfa.authenticators.EnrollAuthenticator(device_wanted, metadata=bearer(login))
            device = PushDevice(begun.pairing.barcode_uri, server)
            device.pair()
            print("paired", await mfa.await_tokens(login, begun.pairing.oob_code))
            login = await log_in(mfa, server, john)
            asked = CreateChallengeRequest(kinds=[FACTOR_KIND_PUSH])
            challenge = await mfa.challenges.CreateChallenge(asked, metadata=bearer(login))
            number = challenge.device.number  # the login page shows it, and John types it on the device
            threading.Thread(target=lambda: device.approve(device.prompt(), number)).start()
            print("approved", await mfa.await_tokens(login, challenge.oob_code))


asyncio.run(main())
