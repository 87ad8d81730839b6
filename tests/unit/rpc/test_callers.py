"""Every RPC against every kind of caller (ADR-5)."""

import asyncio
import base64
from typing import Any

import pytest
from cofactor.v1 import authenticators_pb2, challenges_pb2, guardian_pb2, policies_pb2, tickets_pb2, tokens_pb2
from cofactor_server.domain.callers import Caller
from cofactor_server.rpc import testing
from cofactor_server.rpc.callers import RULES, RuleMissing, check_complete
from cofactor_server.rpc.server import HEALTH, SERVICES
from cofactor_server.rpc.transport.reflection import VERSIONS
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_health.v1 import health_pb2

from tests.unit.rpc.worlds import EDGE, PUBLIC, SECRET, SERVER, SUPPORT, Edge, bearer, by, in_process, refusal

Metadata = tuple[tuple[str, str], ...]

METHODS = [f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]
SIGNED = authenticators_pb2.SignedStatement(payload=b"{}", signature=b"s")
REQUESTS: dict[str, Any] = {
    "IssueToken": tokens_pb2.IssueTokenRequest(refresh_token=tokens_pb2.RefreshTokenGrant(refresh_token="rt")),
    "RevokeToken": tokens_pb2.RevokeTokenRequest(token="t"),
    "IntrospectToken": tokens_pb2.IntrospectTokenRequest(token="t"),
    "WatchChallenge": challenges_pb2.WatchChallengeRequest(oob_code="c"),
    "AnswerChallenge": challenges_pb2.AnswerChallengeRequest(oob_code="c", code="123456"),
    "EnrollAuthenticator": authenticators_pb2.EnrollAuthenticatorRequest(totp=authenticators_pb2.TotpEnrollment()),
    "GetAuthenticator": authenticators_pb2.GetAuthenticatorRequest(id="totp|dev_1"),
    "UpdateAuthenticator": authenticators_pb2.UpdateAuthenticatorRequest(
        authenticator=authenticators_pb2.Authenticator(id="totp|dev_1", name="n"), update_mask=FieldMask(paths=["name"])
    ),
    "DeleteAuthenticator": authenticators_pb2.DeleteAuthenticatorRequest(id="totp|dev_1"),
    "PairDevice": authenticators_pb2.PairDeviceRequest(pairing_secret="s", statement=SIGNED),
    "UpdateDevice": authenticators_pb2.UpdateDeviceRequest(statement=SIGNED),
    "RemoveDevice": authenticators_pb2.RemoveDeviceRequest(statement=SIGNED),
    "WatchDevice": challenges_pb2.WatchDeviceRequest(statement=SIGNED),
    "EnrollDeviceAccount": guardian_pb2.EnrollDeviceAccountRequest(
        ticket="t",
        identifier="i",
        name="n",
        push_credentials=guardian_pb2.PushCredentials(service=guardian_pb2.PUSH_SERVICE_APNS, token="rt"),
        public_key=guardian_pb2.RsaPublicKey(n="n", e="e"),
    ),
    "ResolveTransaction": guardian_pb2.ResolveTransactionRequest(transaction_token="t", challenge_response="r"),
    "UpdateDeviceAccount": guardian_pb2.UpdateDeviceAccountRequest(
        device_token="t",
        account=guardian_pb2.DeviceAccount(id="dev_1", name="n"),
        update_mask=FieldMask(paths=["name"]),
    ),
    "DeleteDeviceAccount": guardian_pb2.DeleteDeviceAccountRequest(device_token="t", id="dev_1"),
    "ExplainDecision": policies_pb2.ExplainDecisionRequest(subject="alice"),
    "GetEnrollmentTicket": tickets_pb2.GetEnrollmentTicketRequest(ticket="t"),
    "BeginEnrollment": tickets_pb2.BeginEnrollmentRequest(
        ticket="t", wanted=authenticators_pb2.EnrollAuthenticatorRequest(totp=authenticators_pb2.TotpEnrollment())
    ),
    "ConfirmEnrollment": tickets_pb2.ConfirmEnrollmentRequest(ticket="t", enrollment="e", code="123456"),
    "GetRichConsent": guardian_pb2.GetRichConsentRequest(id="c", transaction_token="t", proof="p"),
}

NOBODY: Metadata = ()
CALLERS: dict[str, Metadata] = {
    "nobody": NOBODY,
    "public client": by(PUBLIC),
    "confidential client": by(SERVER),
    "confidential client that manages users": by(SUPPORT),
    "confidential client without its secret": by(SERVER)[:1],
    "wrong secret": (*by(SERVER)[:1], ("cofactor-client-secret", "wrong")),
    "unknown client": (("cofactor-client-id", "unknown"),),
    "mfa_token": bearer("login-of-backend"),
    "expired mfa_token": bearer("expired"),
    "garbage": bearer("garbage"),
    "access token to enroll": bearer("backend.enroll.signed"),
    "access token to read": bearer("backend.read:authenticators.signed"),
    "access token to remove": bearer("backend.remove:authenticators.signed"),
    "access token to do something else": bearer("backend.openid.signed"),
    "forged access token": bearer("backend.enroll.forged"),
    "client and its mfa_token": (*by(SERVER), *bearer("login-of-backend")),
    "public client and its mfa_token": (*by(PUBLIC), *bearer("login-of-spa")),
    "client and another's mfa_token": (*by(SERVER), *bearer("login-of-spa")),
    "client and an expired mfa_token": (*by(SERVER), *bearer("expired")),
    "client and garbage": (*by(SERVER), *bearer("garbage")),
    "client and its access token": (*by(SERVER), *bearer("backend.enroll+read:authenticators.signed")),
    "client and another's access token": (*by(SERVER), *bearer("spa.enroll+read:authenticators.signed")),
    "wrong secret beside an mfa_token": (
        *by(SERVER)[:1],
        ("cofactor-client-secret", "wrong"),
        *bearer("login-of-backend"),
    ),
}

# By rule, what callers that are not listed get, then what those listed get; "" is admission.
CLIENTS = {
    "*": "INVALID_CLIENT",
    **{
        name: ""
        for name in CALLERS
        if name.startswith(("client and", "public client", "confidential client")) and "without" not in name
    },
}
LOGINS = {
    "*": "INVALID_CLIENT",
    "public client": "MISSING_PARAMETER",
    "confidential client": "MISSING_PARAMETER",
    "confidential client that manages users": "MISSING_PARAMETER",
    "client and its mfa_token": "",
    "public client and its mfa_token": "",
    "client and another's mfa_token": "MFA_TOKEN_FOREIGN",
    "client and an expired mfa_token": "MFA_TOKEN_EXPIRED",
    "client and garbage": "MFA_TOKEN_MALFORMED",
    "client and its access token": "MFA_TOKEN_MALFORMED",
    "client and another's access token": "MFA_TOKEN_MALFORMED",
}
_BEARERS = {
    "*": "BEARER_INVALID",
    "nobody": "BEARER_MISSING",
    "public client": "BEARER_MISSING",
    "confidential client": "BEARER_MISSING",
    "confidential client that manages users": "BEARER_MISSING",
    "confidential client without its secret": "BEARER_MISSING",
    "wrong secret": "BEARER_MISSING",
    "unknown client": "BEARER_MISSING",
    **{name: "INSUFFICIENT_SCOPE" for name in CALLERS if name.startswith("access token to")},
}
_LOGIN_TOO = {
    "mfa_token": "",
    "client and its mfa_token": "",
    "public client and its mfa_token": "",
    "client and another's mfa_token": "MFA_TOKEN_FOREIGN",
    "expired mfa_token": "MFA_TOKEN_EXPIRED",
    "client and an expired mfa_token": "MFA_TOKEN_EXPIRED",
    "wrong secret beside an mfa_token": "INVALID_CLIENT",
}
_SILENT = [name for name, answer in _BEARERS.items() if answer == "BEARER_MISSING"]
EXPECTED: dict[str, dict[str, str]] = {
    "GetJsonWebKeySet": {"*": ""},
    "IssueToken": CLIENTS,
    "RevokeToken": CLIENTS,
    "IntrospectToken": {
        **CLIENTS,
        "public client": "CALLER_NOT_ALLOWED",
        "public client and its mfa_token": "CALLER_NOT_ALLOWED",
    },
    "CheckOrigin": {"*": ""},
    "ExplainDecision": {
        **{name: "CALLER_NOT_ALLOWED" for name, answer in CLIENTS.items() if answer == ""},
        "*": "INVALID_CLIENT",
        "confidential client that manages users": "",
    },
    "GetUserInfo": {
        **{name: "INSUFFICIENT_SCOPE" for name in CALLERS if "access token" in name},
        **dict.fromkeys(_SILENT, "BEARER_MISSING"),
        "*": "ACCESS_TOKEN_INVALID",
        "forged access token": "ACCESS_TOKEN_INVALID",
        "access token to do something else": "",
    },
    "CreateChallenge": LOGINS,
    "WatchChallenge": LOGINS,
    "AnswerChallenge": {**LOGINS, "nobody": ""},
    "WatchDevice": {"*": ""},
    "PairDevice": {"*": ""},
    "CreateDeviceNonce": {"*": ""},
    "UpdateDevice": {"*": ""},
    "RemoveDevice": {"*": ""},
    "EnrollDeviceAccount": {"*": ""},
    "ResolveTransaction": {"*": ""},
    "UpdateDeviceAccount": {"*": ""},
    "DeleteDeviceAccount": {"*": ""},
    "GetRichConsent": {"*": ""},
    "GetEnrollmentTicket": {"*": ""},
    "BeginEnrollment": {"*": ""},
    "ConfirmEnrollment": {"*": ""},
    "EnrollAuthenticator": {
        **_BEARERS,
        **_LOGIN_TOO,
        "access token to enroll": "",
        "client and its access token": "",
    },
    "ListAuthenticators": {**_BEARERS, **_LOGIN_TOO, "access token to read": "", "client and its access token": ""},
    "GetAuthenticator": {**_BEARERS, "access token to read": "", "client and its access token": ""},
    "UpdateAuthenticator": {**_BEARERS, "access token to enroll": "", "client and its access token": ""},
    "DeleteAuthenticator": {
        **_BEARERS,
        "access token to remove": "",
        "client and its access token": "INSUFFICIENT_SCOPE",
        "client and another's access token": "INSUFFICIENT_SCOPE",
    },
}


def call(edge: Edge, method: str, metadata: Metadata) -> Any:
    _, service, name = method.split("/")
    stub = {
        "cofactor.v1.TokenService": edge.tokens,
        "cofactor.v1.ChallengeService": edge.challenges,
        "cofactor.v1.AuthenticatorService": edge.authenticators,
        "cofactor.v1.DeviceAccountService": edge.device_accounts,
        "cofactor.v1.PolicyService": edge.policies,
        "cofactor.v1.EnrollmentTicketService": edge.tickets,
    }[service]
    empty = {
        "GetJsonWebKeySet": tokens_pb2.GetJsonWebKeySetRequest,
        "GetUserInfo": tokens_pb2.GetUserInfoRequest,
        "CheckOrigin": lambda: tokens_pb2.CheckOriginRequest(origin="https://app.example"),
        "CreateChallenge": challenges_pb2.CreateChallengeRequest,
        "ListAuthenticators": authenticators_pb2.ListAuthenticatorsRequest,
        "CreateDeviceNonce": authenticators_pb2.CreateDeviceNonceRequest,
    }
    request = REQUESTS[name] if name in REQUESTS else empty[name]()
    return getattr(stub, name)(request, metadata=metadata)


@pytest.mark.requirement("S77", "S106")
@pytest.mark.parametrize("method", METHODS)
async def test_each_rpc_admits_the_callers_of_its_row_and_no_others(edge: Edge, method: str) -> None:
    name = method.rpartition("/")[2]
    answers: dict[str, str] = {}
    for caller, metadata in CALLERS.items():
        made = call(edge, method, metadata)
        try:
            if hasattr(made, "__aiter__"):
                await made.read()
            else:
                await made
            answers[caller] = ""
        except Exception:
            _, details = await refusal(call(edge, method, metadata))
            answers[caller] = details["ErrorInfo"].reason
    expected = {caller: EXPECTED[name].get(caller, EXPECTED[name]["*"]) for caller in CALLERS}
    assert answers == expected


def test_every_row_is_an_rpc_and_every_rpc_has_a_row() -> None:
    registered = [*SERVICES, *testing.SERVICES, HEALTH, *VERSIONS]
    check_complete(registered)
    assert set(RULES) == {f"/{s.full_name}/{m.name}" for s in registered for m in s.methods}


@pytest.mark.parametrize("missing", RULES)
def test_an_rpc_without_a_row_stops_the_start_and_is_named(missing: str) -> None:
    rows = {method: rule for method, rule in RULES.items() if method != missing}
    with pytest.raises(RuleMissing, match=missing):
        check_complete([*SERVICES, *testing.SERVICES, HEALTH, *VERSIONS], rows)


async def test_health_is_anyones(edge: Edge) -> None:
    check = edge.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    assert (await check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING


def basic(text: str) -> tuple[str, str]:
    return ("authorization", "Basic " + base64.b64encode(text.encode()).decode())


AUTHENTICATED: dict[str, Metadata] = {
    "metadata": by(SERVER),
    "the same twice": by(SERVER) * 2,
    "basic": (basic("backend:right+horse"),),
    "basic, percent-encoded": (basic("%62ackend:right%20horse"),),
    "basic beside a bearer": (basic("backend:right+horse"), *bearer("whatever")),
    "basic, whatever the case": (("authorization", basic("backend:right+horse")[1].replace("Basic", "bAsIc")),),
}
REFUSED: dict[str, Metadata] = {
    "both forms": (*by(SERVER), basic("backend:right+horse")),
    "two ids": (*by(SERVER), ("cofactor-client-id", "edge")),
    "two secrets": (*by(SERVER), ("cofactor-client-secret", "another")),
    "two basics": (basic("backend:right+horse"), basic("edge:right+horse")),
    "secret without id": by(SERVER)[1:],
    "empty id": (("cofactor-client-id", ""), *by(SERVER)[1:]),
    "empty secret": (*by(SERVER)[:1], ("cofactor-client-secret", "")),
    "basic, empty secret": (basic("backend:"),),
    "basic without a colon": (basic("backend"),),
    "basic, no base64": (("authorization", "Basic %%%"),),
    "basic, not UTF-8": (("authorization", "Basic " + base64.b64encode(b"\xff:\xff").decode()),),
    "basic, NUL": (basic("backend%00:right+horse"),),
    "basic, too long": (basic("backend:" + "x" * 3000),),
    "long id": (("cofactor-client-id", "x" * 129),),
    "long secret": (*by(SERVER)[:1], ("cofactor-client-secret", SECRET + "x" * 512)),
    "binary": (("cofactor-client-id-bin", b"backend"),),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("metadata", AUTHENTICATED.values(), ids=AUTHENTICATED)
async def test_a_client_authenticates_by_metadata_or_basic(edge: Edge, metadata: Metadata) -> None:
    await edge.tokens.IssueToken(REQUESTS["IssueToken"], metadata=metadata)
    assert edge.world.caller.client == SERVER


@pytest.mark.parametrize("metadata", REFUSED.values(), ids=REFUSED)
async def test_ambiguous_or_impossible_client_credentials_are_refused(edge: Edge, metadata: Metadata) -> None:
    code, details = await refusal(edge.tokens.IssueToken(REQUESTS["IssueToken"], metadata=metadata))
    assert (code, details["ErrorInfo"].reason, edge.world.asked) == ("UNAUTHENTICATED", "INVALID_CLIENT", [])


@pytest.mark.parametrize("token", ["x" * 4097, "two words", "a.b.c.d"])
async def test_a_bearer_that_can_be_no_token_is_garbage(edge: Edge, token: str) -> None:
    listing = edge.authenticators.ListAuthenticators
    _, listed = await refusal(listing(authenticators_pb2.ListAuthenticatorsRequest(), metadata=bearer(token)))
    creating = edge.challenges.CreateChallenge
    _, created = await refusal(
        creating(challenges_pb2.CreateChallengeRequest(), metadata=(*by(SERVER), *bearer(token)))
    )
    assert (listed["ErrorInfo"].reason, created["ErrorInfo"].reason) == ("BEARER_INVALID", "MFA_TOKEN_MALFORMED")


async def test_two_different_bearers_are_garbage(edge: Edge) -> None:
    metadata = (*bearer("login-of-backend"), *bearer("login-of-spa"))
    call = edge.authenticators.ListAuthenticators(authenticators_pb2.ListAuthenticatorsRequest(), metadata=metadata)
    assert (await refusal(call))[1]["ErrorInfo"].reason == "BEARER_INVALID"


async def test_the_missing_scope_is_named(edge: Edge) -> None:
    metadata = bearer("backend.openid.signed")
    _, details = await refusal(
        edge.authenticators.DeleteAuthenticator(REQUESTS["DeleteAuthenticator"], metadata=metadata)
    )
    assert details["ErrorInfo"].metadata == {"scopes": "remove:authenticators"}
    assert details["text"] == "Insufficient scope, expected any of: remove:authenticators"


async def test_a_caller_carries_its_authority_to_the_service(edge: Edge) -> None:
    await edge.authenticators.ListAuthenticators(
        authenticators_pb2.ListAuthenticatorsRequest(), metadata=bearer("backend.read:authenticators.signed")
    )
    caller: Caller = edge.world.caller
    assert (caller.user_id, caller.login_id, caller.client, caller.login) == ("usr_1", "jti", None, None)


async def test_callers_of_calls_at_the_same_time_are_kept_apart() -> None:
    async with in_process() as edge:
        calls = [
            edge.tokens.IssueToken(REQUESTS["IssueToken"], metadata=by(client))
            for client in (SERVER, EDGE, PUBLIC) * 10
        ]
        for made in calls:
            await made
        asked = [caller.client for _, caller, _ in edge.world.asked]
    assert sorted(c.id for c in asked if c) == sorted(["backend", "edge", "spa"] * 10)


async def test_a_deadline_reaches_the_service_as_loop_time(edge: Edge) -> None:
    await edge.tokens.IssueToken(REQUESTS["IssueToken"], metadata=by(SERVER), timeout=30)
    deadline = edge.world.caller.deadline
    assert deadline is not None
    assert 25 < deadline - asyncio.get_running_loop().time() < 31  # gRPC rounds a timeout up
    await edge.tokens.IssueToken(REQUESTS["IssueToken"], metadata=by(SERVER))
    assert edge.world.caller.deadline is None
