"""Who may do what with which token (ADR-5), over HTTP and over gRPC."""

import io
from typing import Any

import grpc
import pytest
from cofactor.admin.v1 import enrollments_pb2, factors_pb2, methods_pb2
from cofactor.admin.v1.enrollments_pb2_grpc import EnrollmentServiceStub
from cofactor.admin.v1.factors_pb2_grpc import FactorServiceStub
from cofactor.admin.v1.methods_pb2_grpc import AuthenticationMethodServiceStub
from cofactor_server.domain.parties.operators import LONGEST_TOKEN, SCOPES_OF, SHORTEST_TOKEN, Role
from cofactor_server.errors import InvalidRequest
from cofactor_server.rpc.admin.server import SERVICES
from cofactor_server.rpc.callers import ADMIN_RULES, RULES, ByOperator, RuleMissing, check_complete
from cofactor_server.rpc.server import build_server, listen
from cofactor_server.seams import HOUR, SystemEntropy
from cofactor_server.services.callers.operator_tokens import OperatorTokens
from cofactor_server.vault.tokens import TokenSealer
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_health.v1 import health

from tests.support.flows.api import call
from tests.support.flows.steps import logged_in_to_mfa, mfa_access_token, reason
from tests.support.flows.ticketed import Holder
from tests.support.world import World
from tests.unit.management.desk import APP_SECRET, MAIL, Desk

METHODS = [f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods]
U = "/users/usr_nobody"
APP = {"type": "totp", "totp_secret": APP_SECRET}
ROUTES: list[tuple[str, str, Any, str, bool]] = [
    ("GET", "/guardian/factors", None, "read:guardian_factors", False),
    ("PUT", "/guardian/factors/email", {"enabled": True}, "update:guardian_factors", False),
    ("GET", "/guardian/factors/phone/message-types", None, "read:guardian_factors", False),
    ("PUT", "/guardian/factors/phone/message-types", {"message_types": ["sms"]}, "update:guardian_factors", False),
    ("GET", "/guardian/policies", None, "read:mfa_policies", False),
    ("PUT", "/guardian/policies", [], "update:mfa_policies", False),
    ("POST", "/guardian/enrollments/ticket", {"user_id": "usr_x"}, "create:guardian_enrollment_tickets", True),
    ("GET", "/guardian/enrollments/dev_1", None, "read:guardian_enrollments", False),
    ("DELETE", "/guardian/enrollments/dev_1", None, "delete:guardian_enrollments", False),
    ("GET", f"{U}/enrollments", None, "read:users", False),
    ("DELETE", f"{U}/authenticators", None, "delete:guardian_enrollments", False),
    ("POST", f"{U}/multifactor/actions/invalidate-remember-browser", None, "update:users", False),
    ("POST", f"{U}/recovery-code-regeneration", None, "update:users", True),
    ("GET", f"{U}/authentication-methods", None, "read:authentication_methods", False),
    ("POST", f"{U}/authentication-methods", APP, "create:authentication_methods", True),
    ("PUT", f"{U}/authentication-methods", [APP], "update:authentication_methods", True),
    ("DELETE", f"{U}/authentication-methods", None, "delete:authentication_methods", False),
    ("GET", f"{U}/authentication-methods/x", None, "read:authentication_methods", False),
    ("PATCH", f"{U}/authentication-methods/x", {"name": "n"}, "update:authentication_methods", False),
    ("DELETE", f"{U}/authentication-methods/x", None, "delete:authentication_methods", False),
]
"""Method, path, body, scope, and whether it shows or picks a secret."""


async def test_every_route_takes_its_scope_and_no_other(desk: Desk) -> None:
    every = SCOPES_OF[Role.ADMIN]
    for method, path, body, scope, _ in ROUTES:
        without = desk.token(Role.ADMIN, *(every - {scope}))
        response = await desk.send(method, path, body, token=without)
        assert (response.status_code, response.json()["errorCode"]) == (403, "insufficient_scope"), path
        assert response.json()["message"] == f"Insufficient scope, expected any of: {scope}"
        response = await desk.send(method, path, body, token=desk.token(Role.ADMIN, scope))
        assert response.status_code in (200, 404), (path, response.text)


@pytest.mark.requirement("S86")
async def test_only_an_admin_sees_or_picks_a_secret_and_only_readers_change_nothing(desk: Desk) -> None:
    for method, path, body, scope, secret in ROUTES:
        for role in Role:
            status = (await desk.send(method, path, body, role=role)).status_code
            allowed = scope in SCOPES_OF[role] and (not secret or role is Role.ADMIN)
            assert (status in (200, 404)) is allowed, (role, method, path, status)
            assert role is not Role.READ or method == "GET" or status == 403


async def test_a_provider_of_the_past_needs_a_scope_too(desk: Desk) -> None:
    response = await desk.send("DELETE", f"{U}/multifactor/duo", token=desk.token(Role.ADMIN, "read:mfa_policies"))
    assert response.json()["message"] == "Insufficient scope, expected any of: read:users, update:users"


async def test_without_a_token_nothing_is_said(desk: Desk) -> None:
    for method, path, body, _, _ in ROUTES:
        response = await desk.send(method, path, body, token="")
        assert response.status_code == 401, path
        assert response.json() == {
            "statusCode": 401,
            "error": "Unauthorized",
            "message": "Missing authentication",
            "attributes": {"error": "Missing authentication"},
        }
        assert response.headers["www-authenticate"] == "Bearer"


async def test_tokens_of_other_kinds_are_none(desk: Desk) -> None:
    client = await desk.shop()
    user, alice = await desk.with_app(client)
    login = await logged_in_to_mfa(desk.api, client)
    ticket = (await desk.said("POST", "/guardian/enrollments/ticket", {"user_id": user.id}))["ticket_id"]
    others = [
        login.mfa_token,
        await mfa_access_token(desk.api, desk.world, client, alice),
        alice.tokens.access_token,
        ticket,
        client[1] or "",
        "garbage",
        "a.b.c",
        "é",
        "x" * 5_000,
        desk.token()[:-1],
        desk.token() + "A",
    ]
    for other in others:
        response = await desk.send(
            "GET", "/guardian/factors", token=None, headers={"authorization": f"Bearer {other}".encode()}
        )
        assert (response.status_code, response.json()["message"]) == (401, "Invalid token"), other[:20]
        assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_a_token_of_another_issuer_is_none(desk: Desk) -> None:
    there = OperatorTokens(
        TokenSealer(desk.world.keyring, "https://elsewhere.example.test/"), desk.world.clock, SystemEntropy()
    )
    response = await desk.send("GET", "/guardian/factors", token=there.mint(Role.ADMIN, HOUR)[0])
    assert response.json()["message"] == "Invalid token"


async def test_a_tokens_time_is_bounded(desk: Desk) -> None:
    token = desk.world.app.operator_tokens.mint(Role.READ, SHORTEST_TOKEN)[0]
    desk.world.clock.advance(59)
    await desk.said("GET", "/guardian/factors", token=token)
    desk.world.clock.advance(1)
    response = await desk.send("GET", "/guardian/factors", token=token)
    expected = (401, "Expired token received for JSON Web Token validation")
    assert (response.status_code, response.json()["message"]) == expected
    for life in (SHORTEST_TOKEN - 1, LONGEST_TOKEN + 1, 0, -1):
        with pytest.raises(InvalidRequest):
            desk.world.app.operator_tokens.mint(Role.READ, life)


async def test_no_token_has_more_than_its_role(desk: Desk) -> None:
    for role, scope in (
        (Role.READ, "update:users"),
        (Role.SUPPORT, "create:authentication_methods"),
        (Role.ADMIN, "x"),
    ):
        with pytest.raises(InvalidRequest):
            desk.world.app.operator_tokens.mint(role, HOUR, [scope])


async def test_an_operators_token_is_nothing_to_applications(desk: Desk, world: World) -> None:
    client, token = await desk.shop(), desk.token()
    await desk.user()
    assert await reason(desk.api.list(token)) == "BEARER_INVALID"
    assert await reason(desk.api.enroll(token)) == "BEARER_INVALID"
    assert await reason(desk.api.otp(client, token, "123456")) == "MFA_TOKEN_MALFORMED"
    assert await reason(desk.api.challenge(client, token)) == "MFA_TOKEN_MALFORMED"
    assert await reason(Holder(desk.api, token[:64]).offer()) == "TICKET_INVALID"


async def test_the_log_says_which_operator_did_what(desk: Desk, log: io.StringIO) -> None:
    token, operator = desk.world.app.operator_tokens.mint(Role.ADMIN, HOUR)
    await desk.said("PUT", "/guardian/factors/email", {"enabled": False}, token=token)
    (line,) = [line for line in log.getvalue().splitlines() if "FactorService/SetFactor" in line]
    assert operator.id in line
    assert token not in log.getvalue()


# What arrives


async def test_a_body_with_a_member_twice_is_refused(desk: Desk) -> None:
    user = await desk.user()
    path = f"/users/{user.id}/authentication-methods"
    for text in (
        b'{"type": "email", "email": "a@example.com", "email": "b@example.com"}',
        b'{"type": "email", "type": "totp"}',
        b'{"type": ' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"type": NaN}',
        b"\xff",
    ):
        headers = {"content-type": "application/json"}
        assert await desk.refused("POST", path, content=text, headers=headers) == (400, "invalid_body")
        assert await desk.refused("PUT", path, content=b"[" + text + b"]", headers=headers) == (400, "invalid_body")
    form = b"type=email&email=a%40example.com&email=b%40example.com"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert await desk.refused("POST", path, content=form, headers=headers) == (400, "invalid_body")
    assert await desk.refused("PUT", path, content=form, headers=headers) == (400, "invalid_body")
    assert await desk.methods(user) == []


async def test_a_huge_body_is_refused_unread(desk: Desk) -> None:
    response = await desk.send("PUT", "/guardian/policies", ["x" * 70_000])
    assert (response.status_code, response.json()["errorCode"]) == (413, "invalid_body")
    assert response.headers["connection"] == "close"


async def test_two_tokens_are_none(desk: Desk) -> None:
    headers = [("authorization", f"Bearer {desk.token()}"), ("authorization", "Bearer x")]
    response = await desk.http.get("/api/v2/guardian/factors", headers=headers)
    assert response.status_code == 400


async def test_what_is_not_served_is_not_there(desk: Desk) -> None:
    for path in (
        "/guardian/factors/phone/templates",
        "/guardian/factors/sms/selected-provider",
        "/guardian/factors/push-notification/providers/apns",
        "/guardian/factors/duo/settings",
        "/users/usr_1",
        "/clients",
        "",
    ):
        response = await desk.send("GET", path)
        assert response.json() == {"statusCode": 404, "error": "Not Found", "message": "Not Found"}, path
    response = await desk.send("POST", "/guardian/factors")
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert (await desk.http.get("/openapi.json")).status_code == 404
    assert (await desk.http.post("/oauth/token")).status_code == 404


async def test_an_id_that_can_be_none_is_refused(desk: Desk) -> None:
    for name in ("%00", "a%20b", "%C3%A9", "x" * 129, "a%0Ab"):
        assert await desk.refused("GET", f"/users/{name}/authentication-methods") == (400, "invalid_uri")
        assert await desk.refused("DELETE", f"/users/usr_1/authentication-methods/{name}") == (400, "invalid_uri")


# gRPC


async def test_every_call_has_a_row_and_every_row_admits_operators_alone() -> None:
    assert set(ADMIN_RULES) == set(METHODS)
    assert not set(ADMIN_RULES) & set(RULES)
    assert all(isinstance(rule, ByOperator) and rule.scopes for rule in ADMIN_RULES.values())
    for missing in ADMIN_RULES:
        with pytest.raises(RuleMissing, match=missing):
            check_complete(SERVICES, {method: rule for method, rule in ADMIN_RULES.items() if method != missing})


@pytest.mark.parametrize("engine", ["sqlite"])
async def test_no_server_on_a_socket_has_what_operators_call(desk: Desk) -> None:
    app, metadata = desk.world.app, (("authorization", f"Bearer {desk.token()}"),)
    server = build_server(app.services, app.interceptor(), health_servicer=health.aio.HealthServicer(), reflect=True)
    port = listen(server, "127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as public:
            channels: tuple[Any, ...] = (public, app.local_channel())
            for channel in channels:
                for method in METHODS:
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await channel.unary_unary(method)(b"", metadata=metadata, timeout=5)
                    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED, method
    finally:
        await server.stop(0)


async def test_the_calls_of_applications_are_not_where_operators_call(desk: Desk) -> None:
    channel = desk.world.app.admin_channel()
    for method in RULES:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(method)(b"", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED, method


async def test_operators_are_served_over_grpc(desk: Desk) -> None:
    user = await desk.user()
    channel, by = desk.world.app.admin_channel(), (("authorization", f"Bearer {desk.token()}"),)
    factors, enrollments = FactorServiceStub(channel), EnrollmentServiceStub(channel)
    methods = AuthenticationMethodServiceStub(channel)
    listed = await factors.ListFactors(factors_pb2.ListFactorsRequest(), metadata=by)
    assert [factor.name for factor in listed.factors] == [1, 2, 3, 4, 5, 6, 7]
    new = methods_pb2.NewAuthenticationMethod(email=methods_pb2.NewEmail(address=MAIL))
    made = await methods.AddAuthenticationMethod(
        methods_pb2.AddAuthenticationMethodRequest(user_id=user.id, method=new), metadata=by
    )
    assert (made.method.address, made.method.masked_address) == ("", "chuc*@exam*******")
    found = await enrollments.GetEnrollment(
        enrollments_pb2.GetEnrollmentRequest(id=made.method.id.partition("|")[2]), metadata=by
    )
    assert (found.user_id, found.method.id) == (user.id, made.method.id)


async def test_bad_messages_are_refused_over_grpc(desk: Desk) -> None:
    channel, by = desk.world.app.admin_channel(), (("authorization", f"Bearer {desk.token()}"),)
    factors, methods = FactorServiceStub(channel), AuthenticationMethodServiceStub(channel)
    enrollments = EnrollmentServiceStub(channel)
    nothing = methods_pb2.NewAuthenticationMethod()
    odd = methods_pb2.NewAuthenticationMethod(phone=methods_pb2.NewPhone(number="+1", preferred="fax"))
    changed = methods_pb2.UpdateAuthenticationMethodRequest(
        user_id="u", method=methods_pb2.AuthenticationMethod(id="x"), update_mask=FieldMask(paths=["type"])
    )
    for made, expected in (
        (factors.SetFactor(factors_pb2.SetFactorRequest(enabled=True), metadata=by), "INVALID_REQUEST"),
        (
            factors.SetMessageTypes(
                factors_pb2.SetMessageTypesRequest(types=[factors_pb2.MESSAGE_TYPE_UNSPECIFIED]), metadata=by
            ),
            "INVALID_REQUEST",
        ),
        (
            factors.SetPolicies(factors_pb2.SetPoliciesRequest(policies=[factors_pb2.POLICY_UNSPECIFIED]), metadata=by),
            "INVALID_REQUEST",
        ),
        (
            methods.AddAuthenticationMethod(
                methods_pb2.AddAuthenticationMethodRequest(user_id="u", method=nothing), metadata=by
            ),
            "MISSING_PARAMETER",
        ),
        (
            methods.AddAuthenticationMethod(
                methods_pb2.AddAuthenticationMethodRequest(user_id="u", method=odd), metadata=by
            ),
            "INVALID_REQUEST",
        ),
        (methods.UpdateAuthenticationMethod(changed, metadata=by), "INVALID_REQUEST"),
        (
            methods.ListAuthenticationMethods(methods_pb2.ListAuthenticationMethodsRequest(), metadata=by),
            "MISSING_PARAMETER",
        ),
        (enrollments.GetUser(enrollments_pb2.GetUserRequest(user_id="u\0"), metadata=by), "INVALID_REQUEST"),
        (enrollments.GetEnrollment(enrollments_pb2.GetEnrollmentRequest(), metadata=by), "MISSING_PARAMETER"),
        (enrollments.GetUser(enrollments_pb2.GetUserRequest(user_id="u")), "BEARER_MISSING"),
    ):
        assert await reason(call(made)) == expected
