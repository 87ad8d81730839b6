"""The catalogue of errors, W8: one table over both edges, every literal spelled out.

The table of the server is not looked at: what stands here is what the contract says, reached as a caller reaches it.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from tests.support.flows.api import (
    AUTH0,
    Api,
    ClientCredentials,
    Enrollment,
    GrpcApi,
    MfaRequired,
    Pending,
    RestApi,
)
from tests.support.flows.keys import with_key
from tests.support.flows.phones import Owned, Shop, phone_shop, prompted
from tests.support.flows.steps import (
    ALICE,
    MFA_SCOPE,
    Enrolled,
    a,
    enrolled,
    logged_in_to_mfa,
    mfa_access_token,
    refusal,
    shop,
)
from tests.support.world import API, PASSWORD, World
from tests.unit.factors.security_key import SecurityKey

NUMBER = "+442071838750"
JUNK = "Fe26.2*junk"
UNENROLLED = "User is not enrolled. You can use /mfa/associate endpoint to enroll the first authenticator."
UNUSABLE = "The mfa_token provided is invalid. Try getting a new token."
REJECTED = "MFA Authorization rejected."
MINUTE = 60

Row: TypeAlias = tuple[int, str, str, str, str]
"""HTTP status, `error`, the text of both edges; reason and code over gRPC."""


@dataclass
class Stage:
    """A deployment as a scenario finds it: a client, Alice with a password, phones in a drawer."""

    api: Api
    world: World
    client: ClientCredentials
    phones: Shop

    async def token(self) -> str:
        """Log Alice in with her password, up to the second factor."""
        return (await logged_in_to_mfa(self.api, self.client)).mfa_token

    async def app(self) -> Enrolled:
        """Have Alice enroll an authenticator app."""
        return await enrolled(self.api, self.world, self.client, create=False)

    async def manager(self, scope: str = MFA_SCOPE) -> str:
        """Return an access token with which Alice, who has an app now, manages authenticators."""
        return await mfa_access_token(self.api, self.world, self.client, await self.app(), scope=scope)

    async def telephone(self) -> tuple[str, Enrollment]:
        """Have Alice begin to enroll a telephone."""
        token = await self.token()
        return token, await self.api.enroll(token, "sms", destination=NUMBER)

    async def pushed(self) -> tuple[Owned, str, str, str]:
        """Have Alice prompted on a device; return it, her mfa_token, the oob_code and the number."""
        user = await self.app()
        phone = await self.phones.added(self.api, self.client, user)
        token, challenge = await prompted(self.api, self.client, phone)
        return phone, token, challenge.oob_code, challenge.number

    def code(self) -> str:
        """Return the code that was sent last."""
        return self.world.outbox.sent[-1].code

    def wrong(self) -> str:
        """Return a code that was not sent last."""
        return f"{(int(self.code()) + 1) % 10**6:06d}"


Scenario: TypeAlias = Callable[[Stage], Awaitable[Any]]
CATALOGUE: dict[str, tuple[Row, Scenario]] = {}


def row(http: int, error: str, text: str, reason: str, code: str) -> Callable[[Scenario], Scenario]:
    """Put a scenario into the catalogue, under the name of its function."""

    def put(scenario: Scenario) -> Scenario:
        assert scenario.__name__ not in CATALOGUE
        CATALOGUE[scenario.__name__] = (http, error, text, reason, code), scenario
        return scenario

    return put


# --- before the first factor --------------------------------------------------------------------------------------


@row(403, "invalid_grant", "Wrong email or password.", "INVALID_CREDENTIALS", "UNAUTHENTICATED")
async def wrong_password(on: Stage) -> None:
    await on.api.password(on.client, ALICE, "wrong")


@row(403, "invalid_grant", "Wrong email or password.", "INVALID_CREDENTIALS", "UNAUTHENTICATED")
async def unknown_user(on: Stage) -> None:
    await on.api.password(on.client, "nobody@example.test", PASSWORD)


@row(
    429,
    "too_many_attempts",
    "Your account has been blocked after multiple consecutive login attempts. Try again later.",
    "TOO_MANY_ATTEMPTS",
    "RESOURCE_EXHAUSTED",
)
async def eleventh_wrong_password(on: Stage) -> None:
    for _ in range(10):
        assert (await refusal(on.api.password(on.client, ALICE, "wrong"))).reason == "INVALID_CREDENTIALS"
    await on.api.password(on.client, ALICE, PASSWORD)


@row(401, "unauthorized", "user is blocked", "USER_BLOCKED", "PERMISSION_DENIED")
async def blocked_user(on: Stage) -> None:
    await on.world.app.operators.set_blocked("default", ALICE, blocked=True)
    await on.api.password(on.client, ALICE, PASSWORD)


@row(401, "invalid_client", "Client authentication failed.", "INVALID_CLIENT", "UNAUTHENTICATED")
async def wrong_secret(on: Stage) -> None:
    await on.api.password((on.client[0], "somebody else's"), ALICE, PASSWORD)


@row(401, "invalid_client", "Client authentication failed.", "INVALID_CLIENT", "UNAUTHENTICATED")
async def unknown_client(on: Stage) -> None:
    await on.api.password(("cli_unknown", "secret"), ALICE, PASSWORD)


@row(
    403,
    "unauthorized_client",
    f"Grant type '{AUTH0}mfa-otp' not allowed for the client.",
    "UNAUTHORIZED_CLIENT",
    "PERMISSION_DENIED",
)
async def grant_not_given(on: Stage) -> None:
    await on.api.otp(await shop(on.world, grant_types=frozenset()), JUNK, "123456")


@row(400, "unsupported_grant_type", "The grant type is unknown.", "UNSUPPORTED_GRANT_TYPE", "INVALID_ARGUMENT")
async def unknown_grant(on: Stage) -> None:
    match on.api:
        case RestApi() as rest:
            await rest.issue(on.client, "client_credentials")
        case GrpcApi() as grpc:
            await grpc.issue(on.client)


@row(400, "invalid_request", "Missing required parameter: otp", "MISSING_PARAMETER", "INVALID_ARGUMENT")
async def missing_parameter(on: Stage) -> None:
    await on.api.otp(on.client, JUNK, "")


@row(400, "invalid_request", "The realm is unknown.", "REALM_UNKNOWN", "INVALID_ARGUMENT")
async def unknown_realm(on: Stage) -> None:
    await on.api.password(on.client, ALICE, PASSWORD, realm="nowhere")


@row(429, "too_many_requests", "Rate limit exceeded.", "TOO_MANY_REQUESTS", "RESOURCE_EXHAUSTED")
async def call_of_a_client_that_has_too_many_waiting(on: Stage) -> None:
    token = await on.token()
    queue = on.world.app._group_commit
    queue._per_client[on.client[0]] = queue._limits.queue
    try:
        await on.api.challenge(on.client, token)
    finally:
        queue._per_client.clear()


# --- tokens that stand for a login --------------------------------------------------------------------------------


@row(403, "invalid_grant", "Malformed mfa_token", "MFA_TOKEN_MALFORMED", "UNAUTHENTICATED")
async def malformed_mfa_token_at_a_challenge(on: Stage) -> None:
    await on.api.challenge(on.client, JUNK)


@row(403, "invalid_grant", "Malformed mfa_token", "MFA_TOKEN_MALFORMED", "UNAUTHENTICATED")
async def malformed_mfa_token_at_the_token_endpoint(on: Stage) -> None:
    await on.api.otp(on.client, JUNK, "123456")


@row(403, "invalid_grant", "Malformed mfa_token", "MFA_TOKEN_MALFORMED", "UNAUTHENTICATED")
async def access_token_at_a_challenge(on: Stage) -> None:
    await on.api.challenge(on.client, await on.manager())


@row(401, "expired_token", "mfa_token is expired", "MFA_TOKEN_EXPIRED", "UNAUTHENTICATED")
async def expired_mfa_token_at_a_challenge(on: Stage) -> None:
    token = await on.token()
    on.world.clock.advance(10 * MINUTE + 1)
    await on.api.challenge(on.client, token)


@row(401, "expired_token", "mfa_token is expired", "MFA_TOKEN_EXPIRED", "UNAUTHENTICATED")
async def expired_mfa_token_at_the_token_endpoint(on: Stage) -> None:
    token = await on.token()
    on.world.clock.advance(10 * MINUTE + 1)
    await on.api.otp(on.client, token, "123456")


@row(403, "expired_token", "mfa_token is invalid", "MFA_TOKEN_STALE", "UNAUTHENTICATED")
async def used_mfa_token(on: Stage) -> None:
    user = await on.app()
    await on.api.otp(on.client, user.mfa_token, on.world.otp(user.secret))


@row(400, "invalid_request", "mfa_token not issued to this client", "MFA_TOKEN_FOREIGN", "PERMISSION_DENIED")
async def mfa_token_of_another_client(on: Stage) -> None:
    await on.api.challenge(await shop(on.world, name="Other"), await on.token())


@row(401, "invalid_grant", UNUSABLE, "BEARER_INVALID", "UNAUTHENTICATED")
async def unusable_bearer_at_the_list(on: Stage) -> None:
    await on.api.list(JUNK)


@row(401, "invalid_grant", UNUSABLE, "BEARER_INVALID", "UNAUTHENTICATED")
async def unusable_bearer_at_an_enrollment(on: Stage) -> None:
    await on.api.enroll(JUNK)


@row(401, "invalid_grant", UNUSABLE, "BEARER_INVALID", "UNAUTHENTICATED")
async def mfa_token_at_a_removal(on: Stage) -> None:
    await on.app()
    await on.api.remove(await on.token(), "totp|dev_0000000000000000")


@row(
    403,
    "insufficient_scope",
    "Insufficient scope, expected any of: enroll",
    "INSUFFICIENT_SCOPE",
    "PERMISSION_DENIED",
)
async def access_token_that_may_not_enroll(on: Stage) -> None:
    await on.api.enroll(await on.manager("read:authenticators"))


# --- enrolling, listing, removing ---------------------------------------------------------------------------------


@row(403, "access_denied", "User is already enrolled.", "ALREADY_ENROLLED", "FAILED_PRECONDITION")
async def enrollment_during_a_later_login(on: Stage) -> None:
    await on.app()
    await on.api.enroll(await on.token())


@row(400, "invalid_request", "The phone number is invalid.", "PHONE_NUMBER_INVALID", "INVALID_ARGUMENT")
async def telephone_number_that_is_none(on: Stage) -> None:
    await on.api.enroll(await on.token(), "sms", destination="+1")


@row(404, "invalid_authenticator", "Authenticator not found", "AUTHENTICATOR_NOT_FOUND", "NOT_FOUND")
async def removal_of_what_is_not_there(on: Stage) -> None:
    await on.api.remove(await on.manager(), "totp|dev_0000000000000000")


# --- challenges ---------------------------------------------------------------------------------------------------


@row(401, "association_required", UNENROLLED, "ASSOCIATION_REQUIRED", "FAILED_PRECONDITION")
async def challenge_for_who_has_nothing(on: Stage) -> None:
    await on.api.challenge(on.client, await on.token())


@row(
    401,
    "unsupported_challenge_type",
    "The user does not support the requested challenge type (oob). Supported type: otp.",
    "CHALLENGE_TYPE_UNSUPPORTED",
    "FAILED_PRECONDITION",
)
async def challenge_of_a_type_that_nothing_answers(on: Stage) -> None:
    await on.app()
    await on.api.challenge(on.client, await on.token(), types=["oob"])


@row(
    401,
    "unsupported_challenge_type",
    "The user does not support any of the requested challenge types (oob, webauthn). Supported type: otp.",
    "CHALLENGE_TYPE_UNSUPPORTED",
    "FAILED_PRECONDITION",
)
async def challenge_of_types_that_nothing_answers(on: Stage) -> None:
    await on.app()
    await on.api.challenge(on.client, await on.token(), types=["oob", "webauthn"])


@row(404, "invalid_authenticator", "Authenticator not found", "AUTHENTICATOR_NOT_FOUND", "NOT_FOUND")
async def challenge_of_what_is_not_there(on: Stage) -> None:
    await on.app()
    await on.api.challenge(on.client, await on.token(), authenticator_id="totp|dev_0000000000000000")


@row(
    400,
    "invalid_request",
    "Too many SMS sent by the user. Wait for some minutes before retrying.",
    "TOO_MANY_MESSAGES",
    "RESOURCE_EXHAUSTED",
)
async def eleventh_text_message(on: Stage) -> None:
    token, begun = await on.telephone()
    await on.api.oob(on.client, token, begun.oob_code, on.code())
    token = await on.token()
    for _ in range(10):
        await on.api.challenge(on.client, token, types=["oob"])


# --- proofs -------------------------------------------------------------------------------------------------------


@row(401, "unsupported_challenge_type", UNENROLLED, "NOT_ENROLLED", "FAILED_PRECONDITION")
async def code_from_who_has_nothing(on: Stage) -> None:
    await on.api.otp(on.client, await on.token(), "123456")


@row(403, "invalid_grant", "Invalid otp_code.", "INVALID_OTP", "UNAUTHENTICATED")
async def wrong_code_of_an_app(on: Stage) -> None:
    user = await on.app()
    await on.api.otp(on.client, await on.token(), on.world.otp(user.secret, steps=-30))


@row(
    400,
    "invalid_request",
    "Too many failed codes. Wait for some minutes before retrying.",
    "TOO_MANY_FAILED_CODES",
    "RESOURCE_EXHAUSTED",
)
async def eleventh_wrong_code(on: Stage) -> None:
    user = await on.app()
    token = await on.token()
    for _ in range(10):
        assert (
            await refusal(on.api.otp(on.client, token, on.world.otp(user.secret, steps=-30)))
        ).reason == "INVALID_OTP"
    await on.api.otp(on.client, token, on.world.otp(user.secret))


@row(403, "invalid_grant", "Invalid binding_code.", "INVALID_BINDING_CODE", "UNAUTHENTICATED")
async def wrong_code_of_a_message(on: Stage) -> None:
    token, begun = await on.telephone()
    await on.api.oob(on.client, token, begun.oob_code, on.wrong())


@row(400, "invalid_request", "binding_code is required", "BINDING_CODE_REQUIRED", "INVALID_ARGUMENT")
async def no_code_of_a_message(on: Stage) -> None:
    token, begun = await on.telephone()
    await on.api.oob(on.client, token, begun.oob_code)


@row(403, "invalid_grant", "Malformed oob_code", "OOB_CODE_MALFORMED", "INVALID_ARGUMENT")
async def malformed_oob_code(on: Stage) -> None:
    token, _ = await on.telephone()
    await on.api.oob(on.client, token, JUNK, on.code())


@row(403, "expired_token", "oob_code is expired", "OOB_CODE_EXPIRED", "FAILED_PRECONDITION")
async def expired_oob_code(on: Stage) -> None:
    token, begun = await on.telephone()
    on.world.clock.advance(5 * MINUTE + 1)
    await on.api.oob(on.client, token, begun.oob_code, on.code())


@row(403, "invalid_grant", REJECTED, "INVALID_RECOVERY_CODE", "UNAUTHENTICATED")
async def wrong_recovery_code(on: Stage) -> None:
    await on.app()
    await on.api.recovery(on.client, await on.token(), "A" * 24)


@row(
    403,
    "unsupported_challenge_type",
    "User does not have a recovery-code.",
    "RECOVERY_CODE_ABSENT",
    "FAILED_PRECONDITION",
)
async def recovery_without_a_code(on: Stage) -> None:
    await on.api.recovery(on.client, await on.token(), "A" * 24)


@row(400, "access_denied", REJECTED, "CHALLENGE_DENIED", "PERMISSION_DENIED")
async def denied_push(on: Stage) -> None:
    phone, token, oob_code, _ = await on.pushed()
    await phone.answer(decision="deny")
    await on.api.oob(on.client, token, oob_code)


@row(
    429,
    "slow_down",
    "You are polling faster than allowed. Try again in 10 seconds.",
    "SLOW_DOWN",
    "RESOURCE_EXHAUSTED",
)
async def poll_that_comes_too_soon(on: Stage) -> None:
    _, token, oob_code, _ = await on.pushed()
    a(Pending, await on.api.oob(on.client, token, oob_code))
    await on.api.oob(on.client, token, oob_code)


# --- refresh tokens -----------------------------------------------------------------------------------------------


@row(403, "invalid_grant", "Unknown or invalid refresh token.", "REFRESH_TOKEN_INVALID", "UNAUTHENTICATED")
async def unknown_refresh_token(on: Stage) -> None:
    await on.api.refresh(on.client, JUNK)


@row(
    403,
    "invalid_grant",
    "The refresh_token was generated for a user who doesn't exist anymore.",
    "REFRESH_TOKEN_ORPHANED",
    "UNAUTHENTICATED",
)
async def refresh_token_of_a_deleted_user(on: Stage) -> None:
    user = await enrolled(on.api, on.world, on.client, scope="openid offline_access", create=False)
    await on.world.app.operators.delete_user("default", ALICE)
    await on.api.refresh(on.client, user.tokens.refresh_token)


@pytest.fixture
def given() -> dict[str, Any]:
    return {"kinds": frozenset({"totp", "sms", "push", "webauthn", "recovery-code"})}


@pytest.fixture
def engine() -> str:
    """One is enough: what is asked here is how a refusal looks."""
    return "sqlite"


# --- security keys, which are ours ---------------------------------------------------------------------------------


@row(403, "invalid_grant", "Invalid credential.", "INVALID_PUBLIC_KEY_CREDENTIAL", "UNAUTHENTICATED")
async def credential_for_another_page(on: Stage) -> None:
    token = await on.token()
    begun = await on.api.enroll(token, "webauthn")
    key = SecurityKey(origin="https://evil.test")
    await on.api.webauthn(on.client, token, begun.oob_code, key.take(begun.public_key))


@row(
    409,
    "invalid_request",
    "This security key, passkey or device is registered already.",
    "AUTHENTICATOR_REGISTERED",
    "ALREADY_EXISTS",
)
async def credential_of_somebody_else(on: Stage) -> None:
    key = SecurityKey()
    await with_key(on.api, on.world, on.client, key, "mallory@example.test")
    token = await on.token()
    begun = await on.api.enroll(token, "webauthn")
    client_data = key._client_data("webauthn.create", begun.public_key["challenge"])
    again = key.attested(key.made[0], begun.public_key["rp"]["id"], client_data)
    await on.api.webauthn(on.client, token, begun.oob_code, json.dumps(again))


@pytest.fixture
async def stage(api: Api, world: World) -> AsyncIterator[Stage]:
    await world.user()
    async with phone_shop(world) as phones:
        yield Stage(api, world, await shop(world), phones)


@pytest.mark.requirement("S144", "S148", "S202")
@pytest.mark.parametrize("name", CATALOGUE)
async def test_a_refusal_looks_as_the_catalogue_says(stage: Stage, name: str) -> None:
    (http, error, text, reason, code), scenario = CATALOGUE[name]

    refused = await refusal(scenario(stage))

    if isinstance(stage.api, RestApi):
        assert (refused.http_status, refused.oauth, refused.text) == (http, error, text)
    else:
        assert refused.grpc_code is not None
        assert (refused.grpc_code.name, refused.reason, refused.text) == (code, reason, text)


@pytest.mark.requirement("S202")
@pytest.mark.parametrize("name", ["poll_that_comes_too_soon", "call_of_a_client_that_has_too_many_waiting"])
async def test_a_refusal_that_waiting_helps_says_how_long_in_whole_seconds(stage: Stage, name: str) -> None:
    refused = await refusal(CATALOGUE[name][1](stage))

    assert refused.retry_after is not None
    assert refused.retry_after == int(refused.retry_after)
    assert refused.retry_after > 0


async def test_mfa_required_is_a_403_of_four_members(rest_api: RestApi, world: World) -> None:
    client_id, secret = await shop(world)
    await world.user()
    grant = {"grant_type": "password", "username": ALICE, "password": PASSWORD, "audience": API}

    response = await rest_api.http.post("/oauth/token", json={**grant, "client_id": client_id, "client_secret": secret})

    said = response.json()
    assert response.status_code == 403
    assert said.pop("mfa_token")
    assert said == {
        "error": "mfa_required",
        "error_description": "Multifactor authentication required",
        "mfa_requirements": {"enroll": [{"type": kind} for kind in ("otp", "phone", "push-notification", "webauthn")]},
    }
    assert "www-authenticate" not in response.headers


async def test_over_grpc_a_factor_that_is_missing_is_an_outcome_and_no_error(grpc_api: GrpcApi, world: World) -> None:
    await world.user()

    required = a(MfaRequired, await grpc_api.password(await shop(world), ALICE, PASSWORD))

    assert (required.wants, required.types) == ("enroll", ("otp", "phone", "push-notification", "webauthn"))


async def test_an_answer_that_is_awaited_is_a_400_with_its_own_text(rest_api: RestApi, world: World) -> None:
    client = await shop(world)
    await world.user()
    login = await logged_in_to_mfa(rest_api, client)
    begun = await rest_api.enroll(login.mfa_token, "push")
    grant = {"grant_type": f"{AUTH0}mfa-oob", "mfa_token": login.mfa_token, "oob_code": begun.oob_code}

    response = await rest_api.http.post(
        "/oauth/token", json={**grant, "client_id": client[0], "client_secret": client[1]}
    )

    assert (response.status_code, response.json()) == (
        400,
        {
            "error": "authorization_pending",
            "error_description": "Authorization pending: please repeat the request in a few seconds.",
        },
    )


@pytest.mark.parametrize("types", [["duo"], "push", ["magic", "otp"]])
async def test_an_authenticator_type_that_is_unknown_is_refused(rest_api: RestApi, world: World, types: Any) -> None:
    await world.user()
    login = await logged_in_to_mfa(rest_api, await shop(world))

    response = await rest_api.http.post(
        "/mfa/associate",
        json={"authenticator_types": types},
        headers={"authorization": f"Bearer {login.mfa_token}"},
    )

    assert (response.status_code, response.json()["error"]) == (400, "unsupported_authenticator_type")


@pytest.mark.parametrize(("method", "path"), [("GET", "/mfa/authenticators"), ("POST", "/mfa/associate")])
async def test_a_request_without_a_token_is_unauthorized(rest_api: RestApi, method: str, path: str) -> None:
    response = await rest_api.http.request(method, path, json={} if method == "POST" else None)

    assert (response.status_code, response.json()) == (
        401,
        {"error": "access_denied", "error_description": "Unauthorized"},
    )
    assert "www-authenticate" not in response.headers
